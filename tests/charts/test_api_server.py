"""Every object that a chart renders is accepted by a real API server, field for field (nothing is stored)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.charts.services import Charted

from kubernaut_testing.controlplane import ControlPlane

FOREIGN = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
"""Kinds whose CRDs belong to the Prometheus operator."""


@pytest.mark.parametrize("everything", [False, True], ids=["defaults", "everything"])
def test_the_api_server_knows_every_field(
    control_plane: ControlPlane, namespace: str, service: Charted, render: Any, everything: bool
) -> None:
    for (kind, name), thing in render(service.everything if everything else {}).items():
        if kind in FOREIGN:
            continue
        meta = thing["metadata"]
        if "namespace" in meta:
            meta["namespace"] = namespace
        for subject in thing.get("subjects", []):
            subject["namespace"] = namespace
        path = control_plane.api.path(thing["apiVersion"], kind, meta.get("namespace"), name)
        query = "?dryRun=All&fieldValidation=Strict&fieldManager=test&force=true"
        control_plane.api.request("PATCH", path + query, thing, content_type="application/apply-patch+yaml")


def test_a_field_that_does_not_exist_is_refused_by_this_check(
    control_plane: ControlPlane, namespace: str, service: Charted, render: Any
) -> None:
    thing = render()["Deployment", service.controller]
    thing["metadata"]["namespace"] = namespace
    thing["spec"]["template"]["spec"]["containers"][0]["argz"] = []
    path = control_plane.api.path("apps/v1", "Deployment", namespace, service.controller)
    with pytest.raises(RuntimeError, match="argz"):
        control_plane.api.request(
            "PATCH",
            f"{path}?dryRun=All&fieldValidation=Strict&fieldManager=test",
            thing,
            content_type="application/apply-patch+yaml",
        )

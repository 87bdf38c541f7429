"""What helm tells after an installation: how it is set up, as the values say, and what would not work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.helm import Helm

from .services import FLEET, NOTIFICATION, SIGNALPROCESSING, Charted, merged

Notes = Callable[..., dict[str, str]]


@pytest.fixture
def notes(service: Charted, control_plane: ControlPlane) -> Notes:
    """The lines of the notes' overview by their first word."""
    helm = Helm(control_plane.kubeconfig)  # Helm 3 asks the cluster for its version even here

    def notes(**values: Any) -> dict[str, str]:
        whole = merged(service.needed, values)
        text = helm.run("install", "n", str(service.chart), "--dry-run=client", values=whole)
        return dict(
            re.findall(r"^  ([a-zA-Z]+|) {2,}(.+)$", text.partition("NOTES:")[2].partition("\nCheck")[0], re.MULTILINE)
        )

    return notes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "the pod's log, one JSON object a line"),
        ({"audit": {"file": "/var/audit/a.jsonl"}}, "/var/audit/a.jsonl in the pod, one JSON object a line"),
        ({"datastorage": {"url": "https://ds:8080"}}, "https://ds:8080"),
        ({"config": {"datastorage": {"url": "https://ds:8080"}}}, "https://ds:8080"),
    ],
    ids=["stdout", "file", "datastorage", "config"],
)
def test_the_notes_tell_where_the_audit_trail_goes(notes: Notes, values: dict[str, Any], words: str) -> None:
    told = notes(**values)
    assert told["audit"] == words
    assert "metrics" not in told


POD_MONITORS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "podmonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {
            "kind": "PodMonitor",
            "listKind": "PodMonitorList",
            "plural": "podmonitors",
            "singular": "podmonitor",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""As far as Helm 3 wants to know the kind before it tells anything."""


def test_the_notes_tell_that_the_network_policy_keeps_prometheus_out(notes: Notes, control_plane: ControlPlane) -> None:
    control_plane.apply(POD_MONITORS)
    monitor = {"podMonitor": {"enabled": True}}
    assert "set networkPolicy.monitoring.namespace" in notes(metrics=monitor)["metrics"]
    for policy in ({"monitoring": {"namespace": "m"}}, {"enabled": False}, {"extraIngress": [{}]}):
        assert "metrics" not in notes(metrics=monitor, networkPolicy=policy)


def test_the_notes_tell_the_image_and_where_it_must_be(notes: Notes, service: Charted) -> None:
    image = f"{service.program}:0.1.0"
    alone = notes()
    assert (alone["image"], alone[""]) == (
        image,
        "must be on the nodes, for none is published: else push yours and set image.registry",
    )
    pushed = notes(**{"global": {"image": {"registry": "registry.example.com/team/"}}})
    assert pushed["image"] == f"registry.example.com/team/{image}"
    assert "" not in pushed


@pytest.mark.parametrize(
    ("service", "values", "word", "told"),
    [
        (NOTIFICATION, {}, "routing", "everything to the console, which is the pod's log"),
        (NOTIFICATION, {"slack": {"secretName": "s"}}, "routing", "everything to Slack and the console"),
        (NOTIFICATION, {"routing": {"existingConfigMap": "ours"}}, "routing", "ConfigMap ours"),
        (SIGNALPROCESSING, {}, "policy", "as given"),
        (SIGNALPROCESSING, {"policies": {"existingConfigMap": "ours"}}, "policy", "ConfigMap ours"),
        (SIGNALPROCESSING, {}, "proactive", "none: all signals are reactive"),
        (SIGNALPROCESSING, {"proactiveSignalMappings": {"content": "{}"}}, "proactive", "as given"),
        (
            SIGNALPROCESSING,
            {"fleet": FLEET},
            "fleet",
            "not supported: signals with a clusterID end Failed",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_the_notes_tell_where_the_followed_files_come_from(
    notes: Notes, service: Charted, values: dict[str, Any], word: str, told: str
) -> None:
    assert notes(**values)[word] == told

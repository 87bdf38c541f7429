"""The administrator's client over a transport that is given to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.rest import ADMIN_AGENT, ApiError, RestClient


def test_a_client_works_over_any_transport(control_plane: ControlPlane, namespace: str) -> None:
    sent: list[tuple[str, str, Mapping[str, str]]] = []

    def transport(method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
        sent.append((method, path, headers))
        try:
            kind = headers.get("Content-Type", "application/json")
            return 200, control_plane.api.request(method, path, body, content_type=kind)
        except ApiError as error:
            return error.status, error.body

    client = RestClient(transport)
    meta = {"namespace": namespace, "name": "given"}
    client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "1"}})
    assert client.get("v1", "ConfigMap", namespace, "given")["data"] == {"a": "1"}
    assert client.find("v1", "ConfigMap", namespace, "none") is None
    with pytest.raises(ApiError, match=r"cannot GET .*configmaps/none: 404 NotFound"):
        client.get("v1", "ConfigMap", namespace, "none")
    typed = [headers.get("Content-Type") for method, _, headers in sent if method == "PATCH"]
    assert typed == ["application/apply-patch+yaml"]
    assert {method for method, _, _ in sent} == {"GET", "PATCH"}


def test_an_answer_that_is_no_object_is_told_as_it_came() -> None:
    client = RestClient(lambda method, path, body, headers: (502, "bad gateway"))
    with pytest.raises(ApiError, match="cannot GET /version: 502 : bad gateway"):
        client.request("GET", "/version")


def test_the_own_client_names_itself(control_plane: ControlPlane) -> None:
    ledger = control_plane.ledger()
    mark = ledger.mark()
    control_plane.api.request("GET", "/api/v1/namespaces/default")
    ledger.settle()
    assert ledger.entries(user_agent=ADMIN_AGENT, resource="namespaces", name="default", since=mark)

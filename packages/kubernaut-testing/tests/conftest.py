"""One small kind, ``Widget`` in example.com, on which the parts are tried."""

from __future__ import annotations

from typing import Any

import pytest

from kubernaut_testing import ControlPlane

WIDGET_CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer"}, "target": {"type": "string"}},
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


class Widgets:
    """Makes widgets and writes their status, as the administrator."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.namespace = namespace

    def create(self, name: str, **spec: Any) -> dict[str, Any]:
        meta = {"namespace": self.namespace, "name": name}
        return self.control_plane.api.create(
            {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta, "spec": spec}
        )

    def get(self, name: str) -> dict[str, Any]:
        return self.control_plane.api.get("example.com/v1", "Widget", self.namespace, name)

    def status(self, name: str, **status: Any) -> dict[str, Any]:
        return self.control_plane.api.patch(
            "example.com/v1", "Widget", self.namespace, name, {"status": status}, subresource="status"
        )

    def delete(self, name: str) -> None:
        self.control_plane.api.delete("example.com/v1", "Widget", self.namespace, name)


@pytest.fixture(scope="session")
def widget_crd(control_plane: ControlPlane) -> None:
    control_plane.apply(WIDGET_CRD)


@pytest.fixture
def widgets(control_plane: ControlPlane, namespace: str, widget_crd: None) -> Widgets:
    return Widgets(control_plane, namespace)

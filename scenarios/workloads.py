"""Workloads that signals are about: objects on a real API server, of which nothing runs.

Enrichment needs no more: metadata and owner references are all that is read of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernaut_testing.controlplane import ControlPlane

POD: dict[str, Any] = {"containers": [{"name": "app", "image": "example.com/app"}]}
"""The spec of a Pod."""

_CHAIN = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod"))


def create_object(
    control_plane: ControlPlane,
    api_version: str,
    kind: str,
    namespace: str | None,
    name: str,
    *,
    spec: Mapping[str, Any] | None = None,
    owner: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Create an object and return it as stored; `owner` is the stored object, or as much of one, that controls it."""
    owners = []
    if owner is not None:
        reference = {key: owner[key] for key in ("apiVersion", "kind")}
        owners = [reference | {key: owner["metadata"][key] for key in ("name", "uid")} | {"controller": True}]
    manifest: dict[str, Any] = {"apiVersion": api_version, "kind": kind}
    manifest["metadata"] = {"namespace": namespace, "name": name, "ownerReferences": owners, **metadata}
    return control_plane.api.create(manifest | ({} if spec is None else {"spec": spec}))


def replicated(labels: Mapping[str, str]) -> dict[str, Any]:
    """The spec of a Deployment, ReplicaSet, StatefulSet or DaemonSet (which has no `replicas`) of Pods with `labels`.

    Nobody wants a Pod more: a controller manager, where one runs, has nothing to do.
    """
    template = {"metadata": {"labels": labels}, "spec": POD}
    return {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}


def create_workload(control_plane: ControlPlane, namespace: str, name: str) -> dict[str, dict[str, str]]:
    """Create a Deployment, the ReplicaSet that it owns, and the Pod that this one owns, in an existing namespace.

    Returns the `targetResource` of a signal about each, by kind. The objects are called `<name>-<kind in lower case>`.
    """
    labels = {"app": name}
    targets: dict[str, dict[str, str]] = {}
    owner: dict[str, Any] | None = None
    for api_version, kind in _CHAIN:
        spec = POD if kind == "Pod" else replicated(labels)
        called = f"{name}-{kind.lower()}"
        owner = create_object(
            control_plane, api_version, kind, namespace, called, spec=spec, owner=owner, labels=labels
        )
        targets[kind] = {"kind": kind, "name": called, "namespace": namespace}
    return targets

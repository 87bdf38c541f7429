"""The workloads that the signals are about: real Deployments in labelled namespaces, and the Pods that come of them.

Where the cluster's own controllers run, they make ReplicaSets and Pods. Where they do not, those are made here as
controllers would; enrichment reads their metadata alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from demo.ground import DemoError, Ground
from kubernaut_testing.waiting import eventually

__all__ = ["Targets"]

_CONTROLLERS_WITHIN = 3.0
"""Seconds until which a controller must have seen a Deployment; else there is none."""

_POD_WITHIN = 30.0
"""Seconds until which a Deployment that a controller has seen must have a Pod."""


class Targets:
    """What the manifests in `file` describe, made on this ground when `create` is called."""

    def __init__(self, ground: Ground, file: Path) -> None:
        self._ground = ground
        self._file = file
        self._deployments: list[dict[str, Any]] = []
        self._namespaces: dict[str, Mapping[str, str]] = {}

    def create(self) -> None:
        """Make the namespaces with their labels, the Deployments, and what no controller here would make of them."""
        for document in yaml.safe_load_all(self._file.read_text(encoding="utf-8")):
            meta = document["metadata"]
            if document["kind"] == "Namespace":
                self._namespaces[meta["name"]] = meta["labels"]
                self._ground.namespace(meta["name"], meta["labels"])
            else:
                placed = {**document, "metadata": {**meta, "namespace": self._ground.namespace(meta["namespace"])}}
                self._deployments.append(self._ground.cluster.api.create(placed))
        if not self._controllers_act():
            for deployment in self._deployments:
                self._make_pod(deployment)

    def namespace(self, name: str) -> str:
        """What the namespace is called here."""
        return self._ground.namespace(name)

    def labels(self, name: str) -> Mapping[str, str]:
        """The labels that a namespace was given."""
        return self._namespaces[name]

    def pod(self, namespace: str, deployment: str) -> str:
        """The name of a Deployment's Pod; waits until there is one. Raises DemoError if there never is."""
        api, where = self._ground.cluster.api, self.namespace(namespace)
        try:
            pods = eventually(lambda: api.list("v1", "Pod", where, selector=f"app={deployment}"), timeout=_POD_WITHIN)
        except AssertionError:
            raise DemoError(
                f"cannot show a signal about a Pod: Deployment {deployment} in namespace {where} has none after "
                f"{_POD_WITHIN:g} s; kubectl describe replicaset -n {where} says why"
            ) from None
        return str(pods[0]["metadata"]["name"])

    def _controllers_act(self) -> bool:
        meta = self._deployments[0]["metadata"]

        def seen() -> bool:
            found = self._ground.cluster.api.get("apps/v1", "Deployment", meta["namespace"], meta["name"])
            return bool((found.get("status") or {}).get("observedGeneration"))

        if self._ground.kubelet is not None:
            return True
        try:
            eventually(seen, timeout=_CONTROLLERS_WITHIN if self._ground.ledger is None else 0)
        except AssertionError:
            return False
        return True

    def _make_pod(self, deployment: dict[str, Any]) -> None:
        template, name = deployment["spec"]["template"], deployment["metadata"]["name"]
        spec = {"replicas": 1, "selector": deployment["spec"]["selector"], "template": template}
        replica_set = self._owned(deployment, "apps/v1", "ReplicaSet", f"{name}-7c9d8b5f64", spec)
        self._owned(replica_set, "v1", "Pod", f"{name}-7c9d8b5f64-x2k8q", template["spec"])

    def _owned(
        self, owner: dict[str, Any], api_version: str, kind: str, name: str, spec: dict[str, Any]
    ) -> dict[str, Any]:
        meta = owner["metadata"]
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
        reference |= {"name": meta["name"], "uid": meta["uid"]}
        labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
        metadata = {"namespace": meta["namespace"], "name": name, "labels": labels, "ownerReferences": [reference]}
        made = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
        return self._ground.cluster.api.create(made)

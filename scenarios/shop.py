"""A namespace with a target of each kind that signals are about, and their owners, on a real API server.

Pod web-pod       <- ReplicaSet web-replicaset <- Deployment web-deployment
Pod db-0          <- StatefulSet db
Pod agent-x       <- DaemonSet agent
Pod report-1-x    <- Job report-1 <- CronJob report
Pod canary-x      <- Rollout canary, of an API that the server does not have
Pod static        <- Node
Pod bare, Pod leaving (being deleted), Pod lost (on a Node that does not exist), Pod a...a (253 characters)
Service front, Node
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernaut_testing.controlplane import ControlPlane
from scenarios.workloads import POD, create_object, create_workload, replicated

LABELS = {"app": "web", "version": "2"}
"""Labels of all objects but of the web Pod's line."""

LONG_NAME = "a" * 253

PRODUCTION = {
    f"kubernaut.ai/{name}": value
    for name, value in {"environment": "production", "team": "payments", "tier": "gold", "cost-center": "cc-1"}.items()
}


class Shop:
    """The objects in `namespace`, which gets `labels`. `node` is the Node's name; `close` removes what would stay."""

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        labels: Mapping[str, str],
        *,
        node: Mapping[str, str] | None = None,
    ) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        control_plane.api.patch("v1", "Namespace", None, namespace, {"metadata": {"labels": dict(labels)}})
        create_workload(control_plane, namespace, "web")
        owned = create_object(control_plane, "v1", "Node", None, f"node-{namespace}"[:63], labels=dict(node or LABELS))
        self.node: str = owned["metadata"]["name"]
        self.pod("static", owned)
        self.pod("db-0", self.create("apps/v1", "StatefulSet", "db", replicated(LABELS) | {"serviceName": "db"}))
        daemons = {key: value for key, value in replicated(LABELS).items() if key != "replicas"}
        self.pod("agent-x", self.create("apps/v1", "DaemonSet", "agent", daemons, annotations={"contact": "ops"}))
        jobs = {"template": {"spec": POD | {"restartPolicy": "Never"}}}
        cron_job = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": jobs}}
        nightly = self.create("batch/v1", "CronJob", "report", cron_job)
        self.pod("report-1-x", self.create("batch/v1", "Job", "report-1", jobs | {"suspend": True}, nightly))
        rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "canary", "uid": "r"}}
        self.pod("canary-x", rollout)
        self.create("v1", "Service", "front", {"ports": [{"port": 80}]})
        for name in ("bare", LONG_NAME):
            self.pod(name)
        self.create("v1", "Pod", "lost", POD | {"nodeName": "no-such-node"})
        self.create("v1", "Pod", "leaving", POD, finalizers=["example.org/keep"])
        control_plane.api.delete("v1", "Pod", namespace, "leaving")
        control_plane.api.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": "plain"}, "spec": POD}
        )

    def create(
        self,
        api_version: str,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
        owner: Mapping[str, Any] | None = None,
        **metadata: Any,
    ) -> dict[str, Any]:
        """Create an object in the namespace."""
        given = {"labels": LABELS, **metadata}
        return create_object(
            self.control_plane, api_version, kind, self.namespace, name, spec=spec, owner=owner, **given
        )

    def pod(self, name: str, owner: Mapping[str, Any] | None = None) -> None:
        """Create a Pod."""
        self.create("v1", "Pod", name, POD, owner)

    def target(self, kind: str, name: str) -> dict[str, str]:
        """The `targetResource` of a signal about an object of the namespace, or about one that it does not have."""
        return {"kind": kind, "name": name, "namespace": self.namespace}

    def close(self) -> None:
        """Remove the Node, and let the Pod go that is being deleted."""
        self.control_plane.api.delete("v1", "Node", None, self.node)
        without = {"metadata": {"finalizers": None}}
        self.control_plane.api.patch("v1", "Pod", self.namespace, "leaving", without)

"""The chart in a cluster: a namespace with its release, a receiver in Slack's place, and what tests ask of them."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernaut_testing import eventually
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.helm import Helm
from kubernaut_testing.receivers import WebhookReceiver

CHART = Path(__file__).parents[2] / "charts" / "notification"
API_VERSION, KIND = "kubernaut.ai/v1alpha1", "NotificationRequest"
NAME = "notification-controller"
LEASE = "notification.kubernaut.ai"

QUICK: dict[str, Any] = {
    "readinessProbe": {"initialDelaySeconds": 0, "periodSeconds": 1},
    "controller": {"leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"},
}
"""Values with which a rollout and a change of leader take seconds."""


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over each other, as helm does it."""
    whole: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            mapping = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
            whole[key] = merged(whole[key], value) if mapping else value
    return whole


class Installed:
    """One release in one namespace. `release` is its name, `receiver` stands for Slack."""

    def __init__(self, cluster: Cluster, namespace: str, receiver: WebhookReceiver, release: str = "notification"):
        self.cluster, self.namespace, self.receiver, self.release = cluster, namespace, receiver, release
        self.helm = Helm(cluster.kubeconfig, timeout=60)
        self._numbers = itertools.count(1)

    # The release ------------------------------------------------------------------------------------------

    def install(self, *values: Mapping[str, Any], wait: bool = True) -> str:
        """Install with `QUICK` and these values."""
        return self.helm.install(
            self.release, CHART, namespace=self.namespace, values=merged(QUICK, *values), wait=wait
        )

    def upgrade(self, *values: Mapping[str, Any]) -> str:
        """Upgrade to `QUICK` and these values."""
        return self.helm.upgrade(self.release, CHART, namespace=self.namespace, values=merged(QUICK, *values))

    # What it uses -----------------------------------------------------------------------------------------

    def secret(self, name: str, **data: str) -> None:
        """Create or change a Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self._source("Secret", name, encoded)

    def config_map(self, name: str, data: Mapping[str, str]) -> None:
        """Create or change a ConfigMap."""
        self._source("ConfigMap", name, data)

    def _source(self, kind: str, name: str, data: Mapping[str, str]) -> None:
        meta = {"namespace": self.namespace, "name": name}
        self.cluster.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, "data": dict(data)})

    # Notifications ----------------------------------------------------------------------------------------

    def create(self, name: str = "", **spec: Any) -> str:
        """Create a notification whose subject is its name; returns the name."""
        name = name or f"nr-{next(self._numbers)}"
        whole = {"type": "Simple", "priority": "Low", "subject": name, "body": "Something happened.", **spec}
        meta = {"namespace": self.namespace, "name": name}
        self.cluster.api.create({"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": whole})
        return name

    def status(self, name: str) -> dict[str, Any]:
        """A notification's status."""
        found: dict[str, Any] = self.cluster.api.get(API_VERSION, KIND, self.namespace, name).get("status") or {}
        return found

    def sent(self, name: str) -> dict[str, Any]:
        """Wait until a notification is sent; its status."""
        eventually(lambda: self.status(name).get("phase") == "Sent", timeout=40, message=lambda: str(self.status(name)))
        return self.status(name)

    def arrived(self, subject: str, path: str = "") -> int:
        """How many messages with this subject came in, below any path or this one."""
        messages = self.receiver.to(path) if path else self.receiver.requests
        return sum(subject in message.body.decode() for message in messages)

    # Pods -------------------------------------------------------------------------------------------------

    def pods(self) -> dict[str, int]:
        """The controller's pods that are not ending: name -> restarts."""
        found = self.cluster.api.list("v1", "Pod", self.namespace, selector=f"app={NAME}")
        return {
            pod["metadata"]["name"]: sum(c["restartCount"] for c in pod["status"].get("containerStatuses", []))
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    def log(self, pod: str) -> str:
        """A pod's output."""
        return self.cluster.kubelet.logs(self.namespace, pod)

    def holder(self) -> str:
        """The pod that holds the Lease, empty if none does."""
        lease = self.cluster.api.find("coordination.k8s.io/v1", "Lease", self.namespace, LEASE)
        identity = ((lease or {}).get("spec") or {}).get("holderIdentity") or ""
        return str(identity).rpartition("_")[0]

    def config(self) -> str:
        """The config file as it is stored."""
        stored = self.cluster.api.get("v1", "ConfigMap", self.namespace, f"{NAME}-config")
        return str(stored["data"]["config.yaml"])

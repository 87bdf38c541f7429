"""Pods whose containers run ``tiny_container.py`` or one line of Python, and how a test talks to them."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from kubernaut_testing import eventually
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.kubelet import Image

IMAGES = {
    "tiny": Image(["python", "-c", (Path(__file__).with_name("tiny_container.py")).read_text()]),
    "python": Image(["python", "-c"]),
    "rooted": Image(["python", "-c", "pass"], user=0),
}


class Pods:
    """Makes pods in one namespace, waits for them, calls the program inside."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        cluster.kubelet.images.update(IMAGES)

    def create(self, name: str, /, *, pod: dict[str, Any] | None = None, **container: Any) -> str:
        spec = {
            "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "main", "image": "example.com/tiny:1", **container}],
            **(pod or {}),
        }
        meta = {"namespace": self.namespace, "name": name}
        self.cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        return name

    def source(self, kind: str, name: str, /, **data: str) -> None:
        meta = {"namespace": self.namespace, "name": name}
        field = "stringData" if kind == "Secret" else "data"
        self.cluster.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, field: data})

    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.api.get("v1", "Pod", self.namespace, name)

    def delete(self, name: str) -> None:
        self.cluster.api.delete("v1", "Pod", self.namespace, name)

    def gone(self, name: str) -> bool:
        return self.cluster.api.find("v1", "Pod", self.namespace, name) is None

    def container(self, name: str, index: int = 0) -> dict[str, Any]:
        statuses: list[dict[str, Any]] = self.get(name).get("status", {}).get("containerStatuses") or [{}]
        return statuses[index]

    def condition(self, name: str, kind: str) -> str:
        conditions = self.get(name)["status"].get("conditions", [])
        return next((item["status"] for item in conditions if item["type"] == kind), "")

    def ready(self, name: str, *, timeout: float = 30) -> str:
        """Wait until it is ready; its name."""

        def explain() -> str:
            return f"pod {name}: {self.get(name)['status']}; logs: {self.logs(name)}"

        eventually(lambda: self.condition(name, "Ready") == "True", timeout=timeout, message=explain)
        # Without a probe ready means started, and the program inside takes a moment to listen.
        eventually(lambda: "hello" in self.logs(name), timeout=timeout)
        return name

    def waits(self, name: str, reason: str) -> str:
        """Wait until its container waits for this reason; the message."""

        def message() -> str:
            waiting = self.container(name).get("state", {}).get("waiting", {})
            return str(waiting.get("message") or "?") if waiting.get("reason") == reason else ""

        return eventually(message, message=lambda: f"{reason}: {self.container(name)}")

    def logs(self, name: str, *, previous: bool = False) -> str:
        return self.cluster.kubelet.logs(self.namespace, name, previous=previous)

    def call(self, name: str, function: str, **arguments: str) -> Any:
        """Call a function of ``tiny_container.py`` in the pod."""
        query = urllib.parse.urlencode(arguments)
        url = f"http://{self.cluster.kubelet.address(self.namespace, name)}:8080/{function}?{query}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.loads(answer.read())

    def events(self, name: str) -> list[str]:
        events = self.cluster.api.list("v1", "Event", self.namespace)
        return [f"{event['reason']}: {event['message']}" for event in events if event["involvedObject"]["name"] == name]

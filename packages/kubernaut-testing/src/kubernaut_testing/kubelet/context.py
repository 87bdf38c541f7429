"""What all pods of one kubelet share: the API, the children, known ConfigMaps and Secrets, Events, settings."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kubernaut_testing.children import Children
from kubernaut_testing.kubelet.api import KUBELET_AGENT, KubeApi, Object
from kubernaut_testing.kubelet.fields import NodeFacts
from kubernaut_testing.kubelet.images import Image

__all__ = ["ApiRoute", "Context", "Settings", "now"]

_ROOT_CA = "kube-root-ca.crt"

_LOG = logging.getLogger("kubernaut_testing.kubelet")


def now() -> str:
    """The time as the API writes it: RFC 3339, UTC, whole seconds."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ApiRoute(Protocol):
    """A way to the API server; a ``ControlPlane`` and a ``FaultProxy`` are such."""

    @property
    def url(self) -> str:
        """``https://host:port``."""

    @property
    def ca_file(self) -> Path | None:
        """The authority (PEM) that pods must trust there, in place of the cluster's own."""


@dataclass(frozen=True)
class Settings:
    """How this kubelet differs from a node's, so that tests need not wait.

    Attributes:
        restart_backoff: seconds before the second restart of a container, and the most that doubling leads to. The
            first restart is immediate, as on a node, where these are 10 and 300.
        token_refresh: renew projected tokens after so many seconds; None is 80 % of their life.
        probe_speedup: divides the probes' delays and periods, not their timeouts and thresholds.
        hosts: further host names that pods can resolve, name -> address (there is no DNS).
        api: another way to the API server, such as a ``FaultProxy``; None is the server itself.
    """

    restart_backoff: tuple[float, float] = (0.5, 10.0)
    token_refresh: float | None = None
    probe_speedup: float = 1.0
    hosts: Mapping[str, str] = field(default_factory=dict)
    api: ApiRoute | None = None


@dataclass
class Context:
    """Shared by all pods of a kubelet; lives in its loop.

    Attributes:
        api: the API server.
        children: owns every container.
        folder: for logs.
        volumes: for the volumes, private and temporary: they hold Secrets.
        images: what is "in the registry".
        node_name: the node.
        node: its resources.
        url: of the API server.
        settings: gives the settings of this moment.
        objects: ConfigMaps and Secrets by (kind, namespace, name).
    """

    api: KubeApi
    children: Children
    folder: Path
    volumes: Path
    images: MutableMapping[str, Image | Sequence[str]]
    node_name: str
    node: NodeFacts
    url: str
    settings: Callable[[], Settings]
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    _told: set[tuple[str, str, str]] = field(default_factory=set)
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    def finder(self, namespace: str) -> Callable[[str, str], Object | None]:
        """A lookup of ("ConfigMap" | "Secret", name) in a namespace."""

        def find(kind: str, name: str) -> Object | None:
            found = self.objects.get((kind, namespace, name))
            route = self.settings().api
            if found and route and route.ca_file and (kind, name) == ("ConfigMap", _ROOT_CA):
                return {**found, "data": {"ca.crt": route.ca_file.read_text()}}
            return found

        return find

    def server(self) -> tuple[str, str]:
        """Host and port at which pods reach the API server."""
        route = self.settings().api
        host, _, port = (route.url if route else self.url).removeprefix("https://").rpartition(":")
        return host, port

    def event(self, pod: Object, kind: str, reason: str, message: str) -> None:
        """Record an Event ("Normal" | "Warning") on a pod, once per reason and message; never waits, never fails."""
        meta = pod["metadata"]
        key = (meta["uid"], reason, message)
        if key not in self._told:
            self._told.add(key)
            task = asyncio.create_task(self._send(meta, kind, reason, message))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, meta: Object, kind: str, reason: str, message: str) -> None:
        reference = {key: meta[key] for key in ("namespace", "name", "uid")}
        at = now()
        body = {
            "metadata": {"namespace": meta["namespace"], "name": f"{meta['name'][:200]}.{uuid.uuid4().hex[:16]}"},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", **reference},
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "source": {"component": KUBELET_AGENT, "host": self.node_name},
        }
        try:
            await self.api.request("POST", f"/api/v1/namespaces/{meta['namespace']}/events", body)
        except Exception as error:  # noqa: BLE001 - an Event is worth no pod
            _LOG.info("no Event %s on %s: %r", reason, meta["name"], error)

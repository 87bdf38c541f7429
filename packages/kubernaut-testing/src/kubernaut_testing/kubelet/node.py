"""The node: registered, kept alive by its Lease, and the scheduler that knows no other node."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
import os
import platform
from collections.abc import Collection, Iterator
from typing import Any

from kubernaut_testing.kubelet.api import KUBELET_AGENT, KubeApi, KubeError, Object
from kubernaut_testing.kubelet.context import Context, now
from kubernaut_testing.kubelet.fields import NodeFacts

__all__ = ["Scheduler", "capacity", "free_address", "keep_alive", "register"]

_LOG = logging.getLogger("kubernaut_testing.kubelet")
_LEASE_SECONDS = 40


def capacity() -> NodeFacts:
    """The node's resources: this machine's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    return NodeFacts(cpu=str(os.cpu_count() or 1), memory=f"{memory}Ki", pods="250")


def free_address(port: int, numbers: Iterator[int], taken: Collection[str]) -> str:
    """The next pod's address on loopback: one of 254, those that live pods have left out.

    Args:
        port: of the control plane; it tells kubelets that run side by side apart.
        numbers: counts up from 1.
        taken: the addresses of the pods that live.

    Raises RuntimeError if there is none: the node announces room for fewer pods.
    """
    for number in itertools.islice(numbers, 254):
        address = f"127.{64 + (port >> 8) % 128}.{port & 255}.{1 + (number - 1) % 254}"
        if address not in taken:
            return address
    raise RuntimeError("cannot give a pod an address: 254 pods live")


async def register(api: KubeApi, name: str, node: NodeFacts, port: int) -> None:
    """Create the Node if it is missing, and make it Ready; ``port`` is where it serves logs."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch}
    try:
        await api.insist("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    except KubeError as error:
        if error.reason != "AlreadyExists":
            raise
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the local kubelet runs"}
    status: dict[str, Any] = {
        "capacity": dict(node),
        "allocatable": dict(node),
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "conditions": [{**ready, "lastHeartbeatTime": now(), "lastTransitionTime": now()}],
        "nodeInfo": {"operatingSystem": "linux", "architecture": arch, "kubeletVersion": KUBELET_AGENT},
    }
    await api.insist("PATCH", f"/api/v1/nodes/{name}/status", {"status": status})


async def keep_alive(api: KubeApi, name: str) -> None:
    """Renew the node's Lease for ever, so that the node lifecycle controller leaves it Ready."""
    folder = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    spec = {"holderIdentity": name, "leaseDurationSeconds": _LEASE_SECONDS}
    while True:
        renewed = {**spec, "renewTime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        try:
            await api.insist("PATCH", f"{folder}/{name}", {"spec": renewed})
        except KubeError as error:
            if error.status != 404:
                _LOG.warning("cannot renew the node's Lease: %s", error)
            else:
                # The namespace is the API server's own and may come a moment after its first answer.
                try:
                    await api.insist("POST", folder, {"metadata": {"name": name}, "spec": renewed})
                except KubeError as refusal:
                    _LOG.info("no Lease yet: %s", refusal)
                    await asyncio.sleep(0.2)
                    continue
        await asyncio.sleep(_LEASE_SECONDS / 4)


class Scheduler:
    """Binds each pending pod to the one node, if its nodeSelector allows that; nothing else is weighed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: set[str] = set()
        self.labels: dict[str, str] = {}
        """The node's labels."""
        self.cordoned = False
        """Whether the node takes no new pods."""

    def consider(self, pod: Object) -> None:
        """Bind a pod that has no node yet."""
        meta, spec = pod["metadata"], pod["spec"]
        if spec.get("nodeName") or meta.get("deletionTimestamp") or spec.get("schedulingGates"):
            return
        if meta["uid"] in self._seen:
            return
        self._seen.add(meta["uid"])
        self._do(self._place(pod))

    def _do(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _place(self, pod: Object) -> None:
        meta, spec = pod["metadata"], pod["spec"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        told = False
        while True:
            selector: dict[str, str] = spec.get("nodeSelector") or {}
            wrong = [f"{key}={value}" for key, value in selector.items() if self.labels.get(key) != value]
            if not wrong and not self.cordoned:
                break
            if not told:
                why = f"node(s) didn't match Pod's node selector ({', '.join(wrong)})" if wrong else "unschedulable"
                await self._refuse(path, pod, f"0/1 nodes are available: 1 {why}.")
                told = True
            await asyncio.sleep(1.0)
        target = {"apiVersion": "v1", "kind": "Node", "name": self._context.node_name}
        try:
            await self._context.api.insist(
                "POST", f"{path}/binding", {"metadata": {"name": meta["name"]}, "target": target}
            )
        except KubeError as error:
            if error.status not in (404, 409):
                _LOG.warning("cannot bind %s: %s", path, error)
                self._seen.discard(meta["uid"])

    async def _refuse(self, path: str, pod: Object, message: str) -> None:
        self._context.event(pod, "Warning", "FailedScheduling", message)
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        conditions = [{**condition, "lastTransitionTime": now()}]
        try:
            await self._context.api.insist("PATCH", f"{path}/status", {"status": {"conditions": conditions}})
        except KubeError as error:
            _LOG.info("cannot say that %s is unschedulable: %s", path, error)

"""``LocalKubelet``: the kubelet's life, its thread, and what a test asks of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal as signals
from collections.abc import Callable, Coroutine, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Self

from kubernaut_testing.children import Children
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.kubelet import node
from kubernaut_testing.kubelet.api import KubeApi, Object
from kubernaut_testing.kubelet.context import Context, Settings
from kubernaut_testing.kubelet.images import Image
from kubernaut_testing.kubelet.pod import PodWorker
from kubernaut_testing.kubelet.sandbox import isolation_available
from kubernaut_testing.kubelet.server import LogServer
from kubernaut_testing.loopthread import LoopThread

__all__ = ["LocalKubelet"]

_LOG = logging.getLogger("kubernaut_testing.kubelet")


class LocalKubelet:
    """A node for a control plane: runs its pods as isolated local processes; a context manager.

    Args:
        control_plane: must run with ``controller_manager=True`` for Deployments and Jobs, and for ServiceAccounts.
        images: what image names stand for: an ``Image``, or the words of its entrypoint. Keys are names without tag,
            whole or only their last part. It may be changed while the kubelet runs.
        folder: for logs; default is a private temporary folder that goes with the kubelet.
        node_name: the name of the node.
        settings: restart delays, probe speed and so on.

    Raises (from ``start``): RuntimeError with the reason if containers cannot be isolated here.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        images: MutableMapping[str, Image | Sequence[str]] | None = None,
        *,
        folder: Path | None = None,
        node_name: str = "local",
        settings: Settings | None = None,
    ) -> None:
        self.control_plane = control_plane
        self.images: MutableMapping[str, Image | Sequence[str]] = images if images is not None else {}
        self.node_name = node_name
        self._folder = folder.resolve() if folder else None
        self.settings = settings or Settings()
        """May be replaced while the kubelet runs, for the pods that come after."""
        self._loop: LoopThread | None = None
        self._children: Children | None = None
        self._context: Context | None = None
        self._server: LogServer | None = None
        self._workers: dict[str, PodWorker] = {}
        self._names: dict[tuple[str, str], PodWorker] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._numbers = itertools.count(1)

    # Life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Register the node and begin to run its pods."""
        isolated, reason = isolation_available()
        if not isolated:
            raise RuntimeError(f"cannot start the local kubelet: {reason}")
        self._children = Children("kubelet")
        self._loop = LoopThread("local-kubelet")
        try:
            self._loop.run(self._begin(), timeout=60)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill every container and leave; the pods stay in the API server as they were. Harmless when repeated."""
        loop, self._loop = self._loop, None
        children, self._children = self._children, None
        if loop is not None:
            with contextlib.suppress(Exception):
                loop.run(self._finish())
        if children is not None:
            children.close()
        if loop is not None:
            loop.close()

    async def _begin(self) -> None:
        assert self._children is not None
        plane = self.control_plane
        api = KubeApi(plane.url, plane.admin_token, plane.ca_file)
        folder = self._folder or self._children.folder / "pods"
        self._context = context = Context(
            api=api,
            children=self._children,
            folder=folder,
            volumes=self._children.folder / "volumes",
            images=self.images,
            node_name=self.node_name,
            node=node.capacity(),
            url=plane.url,
            settings=lambda: self.settings,
        )
        self._scheduler = node.Scheduler(context)
        self._server = LogServer(
            lambda namespace, pod, name: self._worker(namespace, pod).container(name), self._children.folder
        )
        await node.register(api, self.node_name, context.node, await self._server.start())
        follows: Mapping[str, Callable[[str, Object], None]] = {
            f"/api/v1/nodes?fieldSelector=metadata.name%3D{self.node_name}": self._node_event,
            "/api/v1/configmaps": lambda kind, item: self._source_event("ConfigMap", kind, item),
            "/api/v1/secrets": lambda kind, item: self._source_event("Secret", kind, item),
            "/api/v1/pods": self._pod_event,
        }
        self._spawn(node.keep_alive(api, self.node_name))
        for path, tell in follows.items():
            synced = asyncio.Event()
            self._spawn(api.follow(path, tell, synced))
            await synced.wait()

    async def _finish(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()
        if self._context is not None:
            await self._context.api.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a part of the kubelet has ended", exc_info=error)

    # What the API server tells ---------------------------------------------------------------------------

    def _node_event(self, kind: str, item: Object) -> None:
        self._scheduler.labels = item["metadata"].get("labels") or {}
        self._scheduler.cordoned = bool(item["spec"].get("unschedulable"))

    def _source_event(self, source: str, kind: str, item: Object) -> None:
        assert self._context is not None
        meta = item["metadata"]
        key = (source, meta["namespace"], meta["name"])
        if kind == "DELETED":
            self._context.objects.pop(key, None)
        else:
            self._context.objects[key] = item
        for worker in self._workers.values():
            if worker.pod["metadata"]["namespace"] == meta["namespace"]:
                worker.nudge()

    def _pod_event(self, kind: str, pod: Object) -> None:
        assert self._context is not None
        uid = pod["metadata"]["uid"]
        if (worker := self._workers.get(uid)) is not None:
            worker.tell(kind, pod)
        elif kind != "DELETED":
            self._scheduler.consider(pod)
            over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            known = self._names.get((pod["metadata"]["namespace"], pod["metadata"]["name"]))
            ended = known is not None and known.pod["metadata"]["uid"] == uid
            if pod["spec"].get("nodeName") == self.node_name and not ended and (not over or _deleting(pod)):
                worker = PodWorker(self._context, pod, self._address())
                self._workers[uid] = worker
                self._names[pod["metadata"]["namespace"], pod["metadata"]["name"]] = worker
                worker.tell(kind, pod)
                self._spawn(self._keep(uid, worker))

    async def _keep(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            self._workers.pop(uid, None)

    def _address(self) -> str:
        port = int(self.control_plane.url.rpartition(":")[2])
        return node.free_address(port, self._numbers, {worker.address for worker in self._workers.values()})

    # What a test asks ------------------------------------------------------------------------------------

    def logs(self, namespace: str, pod: str, container: str | None = None, *, previous: bool = False) -> str:
        """A container's output, both streams; kept after the pod's end, until another pod takes its name.

        Args:
            namespace: of the pod.
            pod: its name.
            container: default is the first one.
            previous: of the start before the last.

        Raises LookupError if the pod never ran here.
        """
        path = self._worker(namespace, pod).container(container).log_path(previous=previous)
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, namespace: str, pod: str, signal: int = signals.SIGKILL, *, container: str | None = None) -> None:
        """Send a signal to a container's process 1, as a fault: the kubelet was not asked and restarts it.

        Raises LookupError if it does not run.
        """
        os.kill(self.pid(namespace, pod, container=container), signal)

    def pid(self, namespace: str, pod: str, *, container: str | None = None) -> int:
        """The process id, on this machine, of a container's process 1; LookupError if it does not run."""
        process = self._worker(namespace, pod).container(container).process
        if process is None or not process.running or not process.pid:  # 0 while the container is being made
            raise LookupError(f"cannot find a process of pod {namespace}/{pod}: its container does not run")
        return process.pid

    def address(self, namespace: str, pod: str) -> str:
        """The pod's own address, on which its ports are reached from here."""
        return self._worker(namespace, pod).address

    def _worker(self, namespace: str, pod: str) -> PodWorker:
        try:
            return self._names[namespace, pod]
        except KeyError:
            raise LookupError(f"cannot find the pod {namespace}/{pod}: it never ran on {self.node_name}") from None


def _deleting(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))

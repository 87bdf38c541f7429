"""One pod from its binding to its end: volumes, init containers, containers, status, graceful deletion.

Four tasks: its life (what runs, in which order), its volumes (brought up to date whenever something in its namespace
changes), its reports (the newest status, written when it differs from the last one written), and one that waits for
its deletion and then ends the other three.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from typing import Any

from kubernaut_testing.kubelet.api import KubeError, Object
from kubernaut_testing.kubelet.container import Container
from kubernaut_testing.kubelet.context import Context, now
from kubernaut_testing.kubelet.status import Conditions, phase_of, pod_conditions
from kubernaut_testing.kubelet.volumes import MountError, PodVolumes

__all__ = ["PodWorker"]

_LOG = logging.getLogger("kubernaut_testing.kubelet")
_COALESCE = 0.02


class PodWorker:
    """Runs one pod; ``run`` returns when the pod is gone from the API server.

    Args:
        context: the kubelet's.
        pod: as bound to the node.
        address: its own, on loopback.
    """

    def __init__(self, context: Context, pod: Object, address: str) -> None:
        self.context = context
        self.pod = pod
        self.address = address
        meta = pod["metadata"]
        self.path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self.folder = context.folder / f"{meta['namespace']}_{meta['name']}_{meta['uid'][:8]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.volumes = PodVolumes(
            context.volumes / meta["uid"],
            context.finder(meta["namespace"]),
            context.api,
            context.node,
            address,
            context.settings().token_refresh,
        )
        spec = pod["spec"]
        waiting = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        self.init = [Container(self, item, waiting) for item in spec.get("initContainers") or []]
        self.main = [Container(self, item, waiting) for item in spec["containers"]]
        self._conditions = Conditions()
        self._start_time = (pod.get("status") or {}).get("startTime") or now()
        self._initialized = not self.init
        self._init_failed = False
        self._finished = False
        self._mounted = asyncio.Event()
        self._dirty = asyncio.Event()
        self._news = asyncio.Event()
        self._ending = asyncio.Event()
        self._gone = asyncio.Event()
        self._reported: Object = {}
        self._sidecars: list[asyncio.Task[int]] = []

    # What it is told -------------------------------------------------------------------------------------

    def tell(self, kind: str, pod: Object) -> None:
        """A watch event of this pod."""
        self.pod = pod
        if kind == "DELETED":
            self._gone.set()
        if kind == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            self._ending.set()
        self.nudge()

    def nudge(self) -> None:
        """Something that the pod may depend on has changed."""
        self._news.set()

    def changed(self) -> None:
        """A container's status has changed."""
        self._dirty.set()

    async def news(self, seconds: float) -> None:
        """Wait for the next nudge, but not longer than that."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def container(self, name: str | None) -> Container:
        """A container by name; without a name the first one. LookupError if there is none."""
        if name is None:
            return self.main[0]
        for container in (*self.main, *self.init):
            if container.name == name:
                return container
        raise LookupError(f"cannot find the container {name} in pod {self.pod['metadata']['name']}")

    # Life ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until deleted, and end in order."""
        parts = (self._keep_volumes(), self._live(), self._report())
        tasks = [asyncio.create_task(self._guarded(part)) for part in parts]
        try:
            self.changed()
            await self._ending.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()
        finally:
            for task in tasks:
                task.cancel()
            for sidecar in self._sidecars:
                sidecar.cancel()
            shutil.rmtree(self.volumes.folder, ignore_errors=True)

    async def _guarded(self, part: Any) -> None:
        try:
            await part
        except Exception:  # noqa: BLE001 - one pod's trouble must not end the others
            _LOG.exception("cannot go on with pod %s", self.path)

    async def _keep_volumes(self) -> None:
        failures = 0
        while True:
            try:
                await self.volumes.sync(self.pod)
                self._mounted.set()
                failures = 0
            except MountError as error:
                failures += 1
                if not self._mounted.is_set():
                    # The ConfigMap may just be on its way here by another watch: no Event for the first miss.
                    self._say_waiting(str(error))
                if failures > 1:
                    self.context.event(self.pod, "Warning", "FailedMount", str(error))
            await self.news(1.0)

    def _say_waiting(self, message: str) -> None:
        for container in (*self.init, *self.main):
            container.state = {"waiting": {**container.state["waiting"], "message": message}}
        self.changed()

    async def _live(self) -> None:
        await self._mounted.wait()
        policy = self.pod["spec"].get("restartPolicy", "Always")
        for container in self.init:
            if container.spec.get("restartPolicy") == "Always":
                self._sidecars.append(asyncio.create_task(container.run("Always")))
                await container.started.wait()
                continue
            if await container.run("Never" if policy == "Never" else "OnFailure") != 0:
                self._init_failed = True
                break
            container.ready = True
        else:
            self._initialized = True
            self.changed()
            await asyncio.gather(*(container.run(policy) for container in self.main))
        await self._stop_sidecars()
        self._finished = self._initialized
        self.changed()

    async def _stop_sidecars(self) -> None:
        for task in self._sidecars:
            task.cancel()
        await asyncio.gather(*self._sidecars, return_exceptions=True)
        for container in reversed(self.init):
            await container.stop(self._grace, self._gone)

    async def _end(self) -> None:
        running = [container for container in self.main if container.process and container.process.running]
        for container in running:
            self.context.event(self.pod, "Normal", "Killing", f"Stopping container {container.name}")
        await asyncio.gather(*(container.stop(self._grace, self._gone) for container in running))
        await self._stop_sidecars()
        if self._gone.is_set():
            return
        await self._write_status()
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.pod["metadata"]["uid"]}}
        with contextlib.suppress(KubeError):
            await self.context.api.insist("DELETE", self.path, body)
        # Finalizers may keep the object (a Job's pods have one); what ran is over in any case.

    @property
    def _grace(self) -> float:
        meta = self.pod["metadata"]
        if self._gone.is_set():
            return 0.0
        spec_grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        return float(meta.get("deletionGracePeriodSeconds") or spec_grace)

    # Status ----------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_COALESCE)
            self._dirty.clear()
            await self._write_status()

    async def _write_status(self) -> None:
        status = self._status()
        if status == self._reported:
            return
        try:
            await self.context.api.insist("PATCH", f"{self.path}/status", {"status": status})
            self._reported = status
        except KubeError as error:
            if error.status != 404:
                _LOG.warning("cannot write the status of pod %s: %s", self.path, error)

    def _status(self) -> Object:
        phase = phase_of(self._initialized, self._init_failed, self._finished, self.main)
        status: Object = {
            "phase": phase,
            "conditions": self._conditions.merged(pod_conditions(phase, self._initialized, self.main), self.pod),
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._start_time,
            "containerStatuses": [_copied(container.status()) for container in self.main],
        }
        if self.init:
            status["initContainerStatuses"] = [_copied(container.status()) for container in self.init]
        return status


def _copied(status: Object) -> Object:
    # What was written must not change with the container.
    return {key: dict(value) if isinstance(value, dict) else value for key, value in status.items()}

"""One container of a pod: made, watched, probed, restarted, stopped; and what its status says meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kubernaut_testing.kubelet import recipes
from kubernaut_testing.kubelet.api import Object
from kubernaut_testing.kubelet.context import Context, now
from kubernaut_testing.kubelet.environment import ConfigError
from kubernaut_testing.kubelet.images import find_image
from kubernaut_testing.kubelet.probes import check, verdicts
from kubernaut_testing.kubelet.sandbox import Recipe, SandboxProcess, StartError
from kubernaut_testing.kubelet.volumes import MountError, PodVolumes

__all__ = ["Container", "Frame"]

_MESSAGE_BYTES = 4096
_LOG_LINES, _LOG_BYTES = 80, 2048


class Frame(Protocol):
    """What a container needs of its pod."""

    context: Context
    pod: Object
    address: str
    folder: Path
    volumes: PodVolumes

    def changed(self) -> None:
        """A status has changed and wants to be written."""

    async def news(self, seconds: float) -> None:
        """Wait until something in the cluster has changed, but not longer than that."""


class Container:
    """A container; ``run`` is its life, ``status`` is the ``containerStatuses`` entry of this moment.

    Args:
        frame: its pod.
        spec: the container's spec.
        waiting: the reason it waits for before its turn comes.
    """

    def __init__(self, frame: Frame, spec: Mapping[str, Any], waiting: str) -> None:
        self._frame = frame
        self.spec = spec
        self.name: str = spec["name"]
        self.state: Object = {"waiting": {"reason": waiting}}
        self.last_state: Object = {}
        self.restarts = 0
        self.ready = False
        self.started = asyncio.Event()
        self.process: SandboxProcess | None = None
        self._recipe: Recipe | None = None
        self._id = ""
        self._image_failures = 0
        self._stopping: asyncio.Task[None] | None = None

    # Life ------------------------------------------------------------------------------------------------

    async def run(self, restart: str) -> int:
        """Run until it is not to be restarted; the last exit code.

        Args:
            restart: the restart policy, "Always" | "OnFailure" | "Never".
        """
        first, most = self._frame.context.settings().restart_backoff
        delay = 0.0
        while True:
            begun = time.monotonic()
            code = await self._run_once()
            if restart == "Never" or (restart == "OnFailure" and code == 0):
                return code
            if time.monotonic() - begun > 2 * most:
                delay = 0.0
            if delay:
                words = f"back-off {delay:g}s restarting failed container={self.name} pod={self._place}"
                self._event("Warning", "BackOff", f"Back-off restarting failed container {self.name}")
                self._wait_for("CrashLoopBackOff", words)
                await asyncio.sleep(delay)
            delay = min(2 * delay, most) if delay else first
            # Together, so that no status counts a restart without telling how the last start ended.
            self._enter({"waiting": {"reason": "ContainerCreating"}})
            self.restarts += 1

    async def _run_once(self) -> int:
        try:
            process = await self._start()
            return await self._supervise(process)
        except StartError as error:
            self._event("Warning", "Failed", f"Error: {error}")
            self._terminated(128, "StartError", f"failed to create containerd task: {error}")
            return 128

    async def _start(self) -> SandboxProcess:
        """Make it; waits, and says for what, as long as something is missing."""
        frame = self._frame
        while True:
            image = find_image(frame.context.images, self.spec["image"])
            if image is None:
                self._refuse_image()
            else:
                try:
                    self._recipe = recipes.recipe(
                        self.spec,
                        image,
                        frame.pod,
                        frame.context,
                        frame.volumes,
                        address=frame.address,
                        folder=frame.folder,
                    )
                    break
                except (ConfigError, MountError) as error:
                    self._event("Warning", "Failed", f"Error: {error}")
                    self._wait_for("CreateContainerConfigError", str(error))
            await frame.news(1.0)
        self._id = f"local://{uuid.uuid4().hex}"
        self.process = process = SandboxProcess.spawn(self._recipe, frame.context.children, self._log(self.restarts))
        await process.begun()
        self._enter({"running": {"startedAt": now()}})
        self._event("Normal", "Started", f"Started container {self.name}")
        if "startupProbe" not in self.spec:
            self.started.set()
            self.ready = "readinessProbe" not in self.spec
        frame.changed()
        return process

    async def _supervise(self, process: SandboxProcess) -> int:
        probing = asyncio.create_task(self._probe())
        try:
            code = await process.wait()
        finally:
            probing.cancel()
        self._ended(code)
        return code

    async def stop(self, grace: float, hurry: asyncio.Event | None = None) -> None:
        """preStop, SIGTERM, and SIGKILL when ``grace`` seconds are over or ``hurry`` is set."""
        process = self.process
        if process is None or not process.running:
            return
        with contextlib.suppress(StartError):
            await process.begun()
        end = asyncio.ensure_future(process.wait())
        hurried = asyncio.ensure_future((hurry or asyncio.Event()).wait())
        try:
            deadline = time.monotonic() + grace
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._pre_stop()
            process.send(signal.SIGTERM)
            left = max(deadline - time.monotonic(), 0.0)
            await asyncio.wait({end, hurried}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            process.send(signal.SIGKILL)
            with contextlib.suppress(StartError):
                self._ended(await end)
        finally:
            hurried.cancel()

    async def _pre_stop(self) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        if "sleep" in hook:
            await asyncio.sleep(float(hook["sleep"]["seconds"]))
        elif hook:
            failure = await check({**hook, "timeoutSeconds": 3600}, self.spec, self._frame.address, self._execute)
            if failure:
                self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {failure}")

    # Probes ----------------------------------------------------------------------------------------------

    async def _probe(self) -> None:
        if "startupProbe" in self.spec:
            async for passed, failure in self._verdicts("startupProbe"):
                if passed:
                    break
                await self._unhealthy("startup", "startupProbe", failure)
                return
            self.started.set()
            self.ready = "readinessProbe" not in self.spec
            self._frame.changed()
        await asyncio.gather(self._probe_liveness(), self._probe_readiness())

    async def _probe_liveness(self) -> None:
        if "livenessProbe" in self.spec:
            async for passed, failure in self._verdicts("livenessProbe"):
                if not passed:
                    await self._unhealthy("liveness", "livenessProbe", failure)
                    return

    async def _probe_readiness(self) -> None:
        if "readinessProbe" in self.spec:
            async for passed, failure in self._verdicts("readinessProbe"):
                if not passed:
                    self._event("Warning", "Unhealthy", f"Readiness probe failed: {failure}")
                if passed is not self.ready:
                    self.ready = passed
                    self._frame.changed()

    def _verdicts(self, kind: str) -> Any:
        probe = self.spec[kind]
        return verdicts(
            probe,
            lambda: check(probe, self.spec, self._frame.address, self._execute),
            speedup=self._frame.context.settings().probe_speedup,
        )

    async def _unhealthy(self, word: str, kind: str, failure: str) -> None:
        self._event("Warning", "Unhealthy", f"{word.capitalize()} probe failed: {failure}")
        self._event("Normal", "Killing", f"Container {self.name} failed {word} probe, will be restarted")
        pod_grace = self._frame.pod["spec"].get("terminationGracePeriodSeconds", 30)
        # A task of its own: the end of the process cancels the probes, and must not cancel its own cause.
        self._stopping = asyncio.create_task(
            self.stop(float(self.spec[kind].get("terminationGracePeriodSeconds", pod_grace)))
        )
        await asyncio.shield(self._stopping)

    async def _execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command beside the container: with its mounts and environment, in a sandbox of its own."""
        assert self._recipe is not None
        log = self._log(self.restarts).with_name(f"exec-{uuid.uuid4().hex[:8]}.log")
        process: SandboxProcess | None = None
        try:
            beside = recipes.beside(self._recipe, command)
            process = SandboxProcess.spawn(beside, self._frame.context.children, log)
            code = await process.wait()
            return code, log.read_text(errors="replace")[-1000:]
        except (StartError, ConfigError) as error:
            return 126, str(error)
        finally:
            if process is not None:
                process.kill()
            log.unlink(missing_ok=True)

    # Status ----------------------------------------------------------------------------------------------

    def status(self) -> Object:
        """The entry of this moment in ``containerStatuses``."""
        running = "running" in self.state
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": f"local/{self.spec['image']}" if self._id else "",
            **({"containerID": self._id} if self._id else {}),
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": running and self.started.is_set(),
            "state": self.state,
            "lastState": self.last_state,
        }

    @property
    def exit_code(self) -> int | None:
        """The exit code if it has ended and is not waiting for a restart."""
        return int(self.state["terminated"]["exitCode"]) if "terminated" in self.state else None

    def log_path(self, *, previous: bool = False) -> Path:
        """The log of this start, or of the one before."""
        newest = self.restarts
        while newest and not self._log(newest).exists():
            newest -= 1
        return self._log(max(newest - 1, 0) if previous else newest)

    def _log(self, start: int) -> Path:
        folder = self._frame.folder / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{start}.log"

    def _ended(self, code: int) -> None:
        if "running" in self.state:
            self._terminated(code, "Completed" if code == 0 else "Error", self._last_words(code))

    def _terminated(self, code: int, reason: str, message: str) -> None:
        begun = self.state.get("running", {}).get("startedAt", now())
        ended: Object = {"exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": now()}
        ended["containerID"] = self._id
        if message:
            ended["message"] = message
        self.state = {"terminated": ended}
        self.ready = False
        self.started.clear()
        self._frame.changed()

    def _last_words(self, code: int) -> str:
        path = recipes.termination_log(self._frame.folder, self.name)
        message = path.read_bytes()[:_MESSAGE_BYTES].decode(errors="replace") if path.exists() else ""
        if not message and code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            lines = self._log(self.restarts).read_bytes().splitlines(keepends=True)[-_LOG_LINES:]
            message = b"".join(lines)[-_LOG_BYTES:].decode(errors="replace")
        return message

    def _refuse_image(self) -> None:
        image = self.spec["image"]
        known = ", ".join(sorted(self._frame.context.images)) or "none"
        words = f'Failed to pull image "{image}": not among the images that the local kubelet was given ({known})'
        self._event("Warning", "Failed", words)
        self._image_failures += 1
        if self._image_failures == 1:
            self._wait_for("ErrImagePull", words)
        else:
            self._wait_for("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {words}')

    def _wait_for(self, reason: str, message: str) -> None:
        state = {"waiting": {"reason": reason, "message": message}}
        if state != self.state:
            self._enter(state)
            self._frame.changed()

    def _enter(self, state: Object) -> None:
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = state

    @property
    def _place(self) -> str:
        meta = self._frame.pod["metadata"]
        return f"{meta['name']}_{meta['namespace']}({meta['uid']})"

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._frame.context.event(self._frame.pod, kind, reason, message)

"""How a process ends: passes reach a safe point, what was buffered is flushed, and faults end it with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubernaut_runtime.app import Operator, Process
from kubernaut_runtime.config import LoadedConfig
from kubernaut_runtime.controller import Result
from kubernaut_runtime.flags import Arguments, StartError, controller_namespace, process_identity
from kubernaut_runtime.leader import LEASE
from kubernaut_runtime.runtime import Runtime
from kubernaut_runtime.sections import ControllerConfig, ControllerSection
from kubernaut_runtime.sweep import HistoryRewoundError
from kubernaut_status import ObjectKey, Resource
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.files import replace_file

CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
Sample = Runtime[ControllerConfig]
Setup = Callable[[Sample], Awaitable[None]]


class Room:
    """Starts processes on a control plane, in the test's own loop."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane, self.namespace = control_plane, namespace

    def process(self, setup: Setup, *, election: bool = False) -> Process[ControllerConfig]:
        section = ControllerSection(
            metrics_addr="127.0.0.1:0", health_probe_addr="127.0.0.1:0", leader_election=election
        )
        loaded = LoadedConfig(ControllerConfig(controller=section), Path("none"), (), "")
        arguments = Arguments(None, self.control_plane.kubeconfig, None, False)
        operator = Operator(name="sample", version="1", config=ControllerConfig, setup=setup)
        return Process(operator, arguments, loaded)

    @asynccontextmanager
    async def running(self, process: Process[ControllerConfig]) -> AsyncIterator[asyncio.Task[int]]:
        task = asyncio.create_task(process.run())
        try:
            yield task
        finally:
            process.stop()
            await asyncio.gather(task, return_exceptions=True)

    def create(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        self.control_plane.api.request("POST", CONFIG_MAPS.collection_path(self.namespace), body)


@pytest.fixture
def room(control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setenv("KUBERNAUT_CONTROLLER_NAMESPACE", namespace)
    return Room(control_plane, namespace)


class Slow:
    """A reconciler whose pass takes until a test lets it end."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.diary: list[str] = []

    async def reconcile(self, key: ObjectKey) -> Result:
        if key.name != "one":
            return Result()
        self.began.set()
        await self.go_on.wait()
        self.diary.append("pass ended")
        return Result()


async def test_a_pass_under_way_reaches_its_end_before_the_lease_is_released_and_callbacks_run(room: Room) -> None:
    slow = Slow()
    path = LEASE.object_path(ObjectKey(room.namespace, "sample.kubernaut.ai"))

    def holder() -> str:
        found = room.control_plane.api.request("GET", path)
        return str(found["spec"].get("holderIdentity") or "nobody")

    async def setup(runtime: Sample) -> None:
        runtime.add_kind(CONFIG_MAPS, slow)
        runtime.on_shutdown(lambda: slow.diary.append(f"flushed, lease of {holder()}"))

    room.create("one")
    process = room.process(setup, election=True)
    async with room.running(process) as task:
        async with asyncio.timeout(60):
            await slow.began.wait()
            assert process.runtime.fence()
            process.stop()
            while "the process is ending" not in process.probes.readiness.report("readyz")[1]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (slow.diary, task.done()) == ([], False)
        assert holder() != "nobody", "held while a pass is under way"
        assert not process.runtime.fence(), "and what the pass has not begun it begins no more"
        slow.go_on.set()
        async with asyncio.timeout(60):
            assert await task == 0
    assert slow.diary == ["pass ended", "flushed, lease of nobody"]


async def test_a_failing_shutdown_callback_is_exit_code_1_and_the_others_still_run(room: Room) -> None:
    diary: list[str] = []

    async def fail() -> None:
        raise RuntimeError("3 audit events were dropped")

    async def setup(runtime: Sample) -> None:
        runtime.add_kind(CONFIG_MAPS)
        runtime.on_shutdown(fail)
        runtime.on_shutdown(lambda: diary.append("other"))

    process = room.process(setup)
    async with room.running(process) as task:
        process.stop()
        async with asyncio.timeout(60):
            assert await task == 1
    assert diary == ["other"]


async def test_a_rewound_history_ends_the_process_with_that_reason(room: Room) -> None:
    async def rewound() -> None:
        raise HistoryRewoundError(CONFIG_MAPS, 5, 10)

    async def setup(runtime: Sample) -> None:
        runtime.add_kind(CONFIG_MAPS)
        runtime.add_task("what the sweep would find", rewound)

    async with room.running(room.process(setup)) as task, asyncio.timeout(60):
        with pytest.raises(HistoryRewoundError, match="etcd was restored"):
            await task


@pytest.mark.parametrize("how", ["returns", "raises"])
async def test_a_task_that_ends_ends_the_process_by_name(room: Room, how: str) -> None:
    async def short() -> None:
        if how == "raises":
            raise ValueError("out of paper")

    async def setup(runtime: Sample) -> None:
        runtime.add_kind(CONFIG_MAPS)
        runtime.add_task("printer", short)

    async with room.running(room.process(setup)) as task, asyncio.timeout(60):
        with pytest.raises(StartError, match=r"cannot go on: printer (ended by itself|failed: ValueError: out of)"):
            await task


async def test_a_failing_setup_leaves_nothing_running(room: Room) -> None:
    async def setup(runtime: Sample) -> None:
        raise StartError("cannot start: /etc/routing.yaml: no receivers; add one")

    before = asyncio.all_tasks()
    with pytest.raises(StartError, match="no receivers"):
        await room.process(setup).run()
    assert asyncio.all_tasks() == before


async def test_a_watched_file_must_be_good_at_the_start_and_is_followed_later(room: Room, tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    seen: list[bytes] = []

    async def setup(runtime: Sample) -> None:
        runtime.add_kind(CONFIG_MAPS)
        await runtime.watch_file(path, seen.append)

    with pytest.raises(OSError, match=r"routing\.yaml"):
        await room.process(setup).run()
    path.write_bytes(b"one")
    async with room.running(room.process(setup)), asyncio.timeout(60):
        while not seen:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        replace_file(path, b"two")
        while seen[-1] != b"two":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert seen == [b"one", b"two"]


def test_the_namespace_comes_from_the_environment_then_the_pod_then_the_kubeconfig(tmp_path: Path) -> None:
    assert controller_namespace("context", {"KUBERNAUT_CONTROLLER_NAMESPACE": "env"}, tmp_path) == "env"
    assert controller_namespace("context", {}, tmp_path) == "context"
    (tmp_path / "namespace").write_text("pod\n")
    assert controller_namespace("context", {}, tmp_path) == "pod"
    with pytest.raises(StartError, match="set but empty"):
        controller_namespace("context", {"KUBERNAUT_CONTROLLER_NAMESPACE": ""}, tmp_path)
    with pytest.raises(StartError, match="set KUBERNAUT_CONTROLLER_NAMESPACE"):
        controller_namespace(None, {}, tmp_path / "none")


def test_two_processes_of_one_pod_have_two_identities() -> None:
    first, second = process_identity({"POD_NAME": "p"}), process_identity({"POD_NAME": "p"})
    assert first.startswith("p_")
    assert first != second

"""Where Events wait, those of several objects are sent side by side, those of one object in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime.connection import Connection
from kubernaut_runtime.events import AT_ONCE, EventMetrics, EventRecorder, ObjectReference
from kubernaut_status import Request, Response, StatusClient
from kubernaut_testing.controlplane import ControlPlane


class Gate:
    """Holds every request until it is let through, and remembers what came and how many were there at once."""

    def __init__(self, client: StatusClient) -> None:
        self._client = client
        self.held: dict[str, asyncio.Event] = {}
        self.came: list[tuple[str, str]] = []
        self.most = 0

    async def send(self, request: Request) -> Response:
        assert request.body is not None
        name = request.body["involvedObject"]["name"]
        self.came.append((name, request.body["reason"] if name not in self.held else "TOGETHER"))
        self.held[name] = asyncio.Event()
        self.most = max(self.most, len(self.held))
        try:
            await self.held[name].wait()
        finally:
            del self.held[name]
        return await self._client.send(request)

    async def until(self, condition: Callable[[], bool], *, hold: Callable[[str], bool]) -> None:
        """Let through what need not be held, until the condition is met."""
        async with asyncio.timeout(60):
            while not condition():
                for name, held in self.held.items():
                    if not hold(name):
                        held.set()
                await asyncio.sleep(0.005)


@pytest.fixture
async def gate(control_plane: ControlPlane) -> AsyncIterator[Gate]:
    async with Connection.from_kubeconfig(control_plane.kubeconfig).client("sample/1") as client:
        yield Gate(client)


@asynccontextmanager
async def running(gate: Gate, registry: CollectorRegistry, **options: int) -> AsyncIterator[EventRecorder]:
    metrics = EventMetrics(registry)
    recorder = EventRecorder(gate, component="sample", instance="pod-1", metrics=metrics, **options)
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_where_many_wait_those_of_different_objects_are_sent_side_by_side_and_those_of_one_in_their_order(
    control_plane: ControlPlane, namespace: str, gate: Gate
) -> None:
    """The first object's first Event hangs: its others wait, and nobody else's."""
    names = [f"o{number}" for number in range(AT_ONCE + 2)]
    things = [ObjectReference("v1", "ConfigMap", namespace, name) for name in names]
    reasons = ["First", "Second", "Third"]
    registry = CollectorRegistry()
    async with running(gate, registry, buffer=20) as recorder:
        for reason in reasons:
            for thing in things:
                recorder.normal(thing, reason, "text")
        await gate.until(lambda: set(gate.held) == set(names[:AT_ONCE]), hold=lambda name: True)
        assert not await recorder.flush(0.01)
        all_others = len(reasons) * (len(names) - 1)
        await gate.until(lambda: len(gate.came) == all_others + 1, hold=lambda name: name == names[0])
        assert [reason for name, reason in gate.came if name == names[0]] == ["First"]
        await gate.until(lambda: len(gate.came) == all_others + len(reasons), hold=lambda name: False)
        gate.held[names[0]].set()
        assert await recorder.flush()
    assert gate.most == AT_ONCE
    assert {name: [reason for of, reason in gate.came if of == name] for name in names} == dict.fromkeys(names, reasons)
    stored = control_plane.api.list("v1", "Event", namespace)
    assert len(stored) == len(names) * len(reasons)
    labels = {"component": "sample", "result": "created"}
    assert registry.get_sample_value("kubernetes_events_total", labels) == len(stored)


async def test_where_few_wait_they_are_sent_one_after_another_so_that_passes_have_the_server(
    namespace: str, gate: Gate
) -> None:
    async with running(gate, CollectorRegistry()) as recorder:
        for number in range(10):
            recorder.normal(ObjectReference("v1", "ConfigMap", namespace, f"o{number}"), "Reason", "text")
        await gate.until(lambda: len(gate.came) == 10, hold=lambda name: False)
    assert gate.most == 1


async def test_at_the_end_of_the_process_what_waits_is_sent_side_by_side(namespace: str, gate: Gate) -> None:
    async with running(gate, CollectorRegistry()) as recorder:
        for number in range(AT_ONCE + 1):
            recorder.normal(ObjectReference("v1", "ConfigMap", namespace, f"o{number}"), "Reason", "text")
        flushing = asyncio.create_task(recorder.flush(20))
        await gate.until(lambda: len(gate.held) == AT_ONCE, hold=lambda name: True)
        await gate.until(flushing.done, hold=lambda name: False)
        assert await flushing


async def test_cancelled_it_leaves_nothing_on_its_way(namespace: str, gate: Gate) -> None:
    async with running(gate, CollectorRegistry(), buffer=20) as recorder:
        for number in range(AT_ONCE + 3):
            recorder.normal(ObjectReference("v1", "ConfigMap", namespace, f"o{number}"), "Reason", "text")
        await gate.until(lambda: len(gate.held) == AT_ONCE, hold=lambda name: True)
    assert gate.held == {}

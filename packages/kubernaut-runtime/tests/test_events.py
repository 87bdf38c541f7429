"""Events: stored as client-go stores them, repeated by count, bounded, and never in the way of a pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime import events
from kubernaut_runtime.connection import Connection
from kubernaut_runtime.events import EventMetrics, EventRecorder, ObjectReference
from kubernaut_status import Request, Resource, Response, StatusClient, TransportError
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane

CONFIG_MAP = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")


class Room:
    """A recorder on the real API server, an object to talk about, and what the server has stored about it."""

    def __init__(self, control_plane: ControlPlane, namespace: str, client: StatusClient) -> None:
        self.api, self.namespace, self.client = control_plane.api, namespace, client
        self.clock = FakeClock()
        self.registry = CollectorRegistry()
        self.metrics = EventMetrics(self.registry)

    def object(self, name: str) -> dict[str, Any]:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace}}
        made: dict[str, Any] = self.api.request("POST", CONFIG_MAP.collection_path(self.namespace), body)
        return made

    def stored(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.api.request("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return sorted(items, key=lambda event: (event["firstTimestamp"], event["metadata"]["name"]))

    def count(self, result: str) -> float:
        labels = {"component": "sample-controller", "result": result}
        return self.registry.get_sample_value("kubernetes_events_total", labels) or 0

    @asynccontextmanager
    async def recorder(self, client: StatusClient | None = None, **options: Any) -> AsyncIterator[EventRecorder]:
        recorder = EventRecorder(
            client or self.client,
            component="sample-controller",
            instance="pod-1",
            metrics=self.metrics,
            clock=self.clock,
            **options,
        )
        task = asyncio.create_task(recorder.run())
        try:
            yield recorder
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Scripted:
    """Answers by a script before it lets requests through."""

    def __init__(self, client: StatusClient, *script: Response | Exception) -> None:
        self._client, self._script = client, list(script)
        self.sent: list[Request] = []

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        if self._script:
            answer = self._script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return await self._client.send(request)


@pytest.fixture
async def room(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Room]:
    async with Connection.from_kubeconfig(control_plane.kubeconfig).client("sample/1") as client:
        yield Room(control_plane, namespace, client)


async def test_counters_are_there_from_0_on_so_that_the_first_of_each_is_seen_as_an_increase(room: Room) -> None:
    async with room.recorder():
        for fate in ("created", "repeated", "rate_limited", "overflowed", "refused", "failed"):
            labels = {"component": "sample-controller", "result": fate}
            assert room.registry.get_sample_value("kubernetes_events_total", labels) == 0


async def test_an_event_is_stored_as_kubectl_describe_wants_it(room: Room) -> None:
    obj = room.object("thing")
    async with room.recorder() as recorder:
        recorder.warning(obj, "NotificationFailed", "All delivery attempts failed")
        assert await recorder.flush()
    (event,) = room.stored()
    assert event["involvedObject"]["uid"] == obj["metadata"]["uid"]
    assert event["involvedObject"]["kind"] == "ConfigMap"
    assert event["metadata"]["name"].startswith("thing.")
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "NotificationFailed", 1)
    assert event["source"]["component"] == event["reportingComponent"] == "sample-controller"
    assert event["reportingInstance"] == "pod-1"


async def test_a_repeat_is_one_patch_of_count_and_time(room: Room) -> None:
    obj = room.object("thing")
    wire = Scripted(room.client)
    async with room.recorder(wire) as recorder:
        for _ in range(3):
            recorder.normal(obj, "NotificationRetrying", "Retrying failed channels")
            await recorder.flush()
            await room.clock.advance(60)
        recorder.normal(obj, "NotificationRetrying", "another message")
        await recorder.flush()
    assert [request.verb for request in wire.sent] == ["create", "patch", "patch", "create"]
    first, second = sorted(room.stored(), key=lambda event: -event["count"])
    assert (first["count"], second["count"]) == (3, 1)
    assert first["lastTimestamp"] > first["firstTimestamp"]


@pytest.mark.parametrize("expired", [False, True])
async def test_a_repeat_is_stored_though_others_pushed_it_out_of_memory_meanwhile(room: Room, expired: bool) -> None:
    obj = room.object("thing")

    class Crowded:
        async def send(self, request: Request) -> Response:
            if request.verb == "patch":
                for number in range(5000):  # what other senders remember while this one waits for its answer
                    events._remember(recorder._sent, (str(number),), {}, limit=events._REMEMBERED)
                if expired:
                    return Response(404, {})
            return await room.client.send(request)

    async with room.recorder(Crowded()) as recorder:
        for _ in range(2):
            recorder.normal(obj, "Found", "all is well")
            assert await recorder.flush()
    assert [event["count"] for event in room.stored()] == ([1, 1] if expired else [2])
    assert room.count("failed") == 0


async def test_a_repeat_of_an_event_that_expired_on_the_server_makes_a_new_one(room: Room) -> None:
    obj = room.object("thing")
    async with room.recorder() as recorder:
        recorder.normal(obj, "Reason", "text")
        await recorder.flush()
        (old,) = room.stored()
        room.api.request("DELETE", f"/api/v1/namespaces/{room.namespace}/events/{old['metadata']['name']}")
        recorder.normal(obj, "Reason", "text")
        await recorder.flush()
    (new,) = room.stored()
    assert (new["count"], new["metadata"]["name"] != old["metadata"]["name"]) == (1, True)


async def test_one_object_has_a_burst_of_25_and_then_one_per_300_seconds(room: Room) -> None:
    noisy, quiet = room.object("noisy"), room.object("quiet")
    async with room.recorder() as recorder:
        for number in range(40):
            recorder.normal(noisy, "Spam", f"number {number}")
        recorder.normal(quiet, "Fine", "still heard")
        await recorder.flush()
        assert room.count("rate_limited") == 15
        assert len(room.stored()) == 26
        await room.clock.advance(300)
        recorder.normal(noisy, "Spam", "one more")
        recorder.normal(noisy, "Spam", "too many")
        await recorder.flush()
    assert len(room.stored()) == 27


async def test_a_full_buffer_drops_the_oldest_and_counts_it(room: Room) -> None:
    objects = [room.object(f"o{number}") for number in range(4)]
    async with room.recorder(buffer=2) as recorder:
        for obj in objects:  # nothing is sent while this does not await
            recorder.normal(obj, "Reason", "text")
        await recorder.flush()
    assert {event["involvedObject"]["name"] for event in room.stored()} == {"o2", "o3"}
    assert room.count("overflowed") == 2


async def test_a_busy_or_silent_server_is_asked_again_at_least_as_late_as_it_said(room: Room) -> None:
    obj = room.object("thing")
    wire = Scripted(room.client, TransportError("cut"), Response(429, {}, retry_after=5.0), Response(503, {}))
    async with room.recorder(wire) as recorder:
        recorder.normal(obj, "Reason", "text")
        assert not await recorder.flush(0.05)
        await room.clock.advance(0.6)
        assert len(wire.sent) == 2
        await room.clock.advance(4.8)
        assert len(wire.sent) == 2
        await room.clock.advance(0.2)
        assert len(wire.sent) == 3
        await room.clock.advance(2.1)
        assert await recorder.flush()
    assert len(room.stored()) == 1
    assert room.count("created") == 1


@pytest.mark.parametrize("answer", [TransportError("away"), Response(503, {}), Response(401, {})])
async def test_a_server_that_is_away_or_does_not_know_us_is_asked_for_two_minutes(room: Room, answer: Any) -> None:
    obj = room.object("thing")
    wire = Scripted(room.client, *[answer] * 9)
    async with room.recorder(wire) as recorder:
        recorder.normal(obj, "Reason", "text")
        assert not await recorder.flush(0.05)
        while len(wire.sent) < 10:
            await room.clock.advance(0.5)
        assert await recorder.flush()
    assert len({request.body["metadata"]["name"] for request in wire.sent}) == 1, "sent again under the same name"
    assert len(room.stored()) == 1


async def test_what_cannot_be_sent_for_two_minutes_is_given_up_and_counted(room: Room) -> None:
    wire = Scripted(room.client, *[TransportError("away")] * 10)
    async with room.recorder(wire) as recorder:
        recorder.normal(room.object("thing"), "Reason", "text")
        assert not await recorder.flush(0.05)
        began = room.clock.monotonic()
        while len(wire.sent) < 10:
            await room.clock.advance(0.5)
        assert await recorder.flush()
    assert 120 <= room.clock.monotonic() - began <= 123
    assert (len(wire.sent), room.count("failed")) == (10, 1)


@pytest.mark.behaviour(98, service="signalprocessing")
async def test_a_refusal_is_counted_and_not_repeated(room: Room) -> None:
    obj = room.object("thing")
    wire = Scripted(room.client, Response(403, {"message": "no"}))
    async with room.recorder(wire) as recorder:
        recorder.normal(obj, "Reason", "text")
        await recorder.flush()
        recorder.normal({"metadata": {}}, "NoKind", "not even a name")
        await recorder.flush()
    assert len(wire.sent) == 1
    assert room.count("refused") == 2


async def test_once_is_once_per_object_and_process(room: Room) -> None:
    obj, other = room.object("thing"), room.object("other")
    async with room.recorder(resource=CONFIG_MAP) as recorder:
        assert recorder.once({"metadata": obj["metadata"]}, "ReconcileStarted", "Started reconciling thing")
        assert not recorder.once(obj, "ReconcileStarted", "Started reconciling thing")
        assert recorder.once(other, "ReconcileStarted", "Started reconciling other")
        await recorder.flush()
    assert [event["involvedObject"]["kind"] for event in room.stored()] == ["ConfigMap", "ConfigMap"]


async def test_hostile_text_is_stored_on_one_line_and_bounded(room: Room) -> None:
    obj = room.object("thing")
    async with room.recorder() as recorder:
        recorder.normal(obj, "Reason", "a\nb\x1b[31m \ud800 " + "é" * 10_000)
        await recorder.flush()
    (event,) = room.stored()
    assert len(event["message"]) == 1024
    assert event["message"].startswith("a b [31m ?")


async def test_an_event_about_the_own_pod_needs_only_a_reference(room: Room) -> None:
    async with room.recorder() as recorder:
        recorder.warning(ObjectReference("v1", "Pod", room.namespace, "pod-1"), "ConfigReloadFailed", "bad file")
        assert await recorder.flush()
    assert room.stored()[0]["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "pod-1",
        "namespace": room.namespace,
    }

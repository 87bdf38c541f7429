"""Leader election against a real API server: one leads, loss stops work first, and nobody trusts a foreign clock.

Time is a fake clock, shared by the candidates, except where the machine's own clock is the point.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime.clock import Clock, SystemClock, format_time
from kubernaut_runtime.connection import Connection
from kubernaut_runtime.leader import LEASE, LeaderElector
from kubernaut_status import ObjectKey, Request, Response, StatusClient, TransportError
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane

NAME = "sample.kubernaut.ai"


class Wire:
    """A client that a test can cut, answer for, or let hang; answers are kept back until `held_up` is set."""

    def __init__(self, client: StatusClient) -> None:
        self._client = client
        self.down = False
        self.hang = False
        self.code: int | None = None
        self.held_up: asyncio.Event | None = None
        self.sent: list[str] = []
        self.under_way = 0

    async def send(self, request: Request) -> Response:
        self.sent.append(request.verb)
        while self.hang:  # noqa: ASYNC110 (a black hole, until the test ends it)
            await asyncio.sleep(0.01)
        if self.down:
            raise TransportError("cut")
        if self.code is not None:
            return Response(self.code, {"message": "no"})
        self.under_way += 1
        try:
            answer = await self._client.send(request)
        finally:
            self.under_way -= 1
        if self.held_up is not None:
            await self.held_up.wait()
        return answer


class Candidate:
    """An elector with its wire and a diary of what it was told."""

    def __init__(self, name: str, client: StatusClient, namespace: str, clock: Clock | None, **times: float) -> None:
        self.wire = Wire(client)
        self.diary: list[str] = []
        self.registry = CollectorRegistry()
        self.elector = LeaderElector(
            self.wire,
            namespace=namespace,
            name=NAME,
            identity=name,
            clock=clock,
            registry=self.registry,
            on_acquired=self._acquired,
            on_lost=self._lost,
            **times,
        )
        self.task: asyncio.Task[None] | None = None

    async def _acquired(self) -> None:
        self.diary.append("acquired")

    async def _lost(self) -> None:
        self.diary.append(f"lost, leader={self.elector.is_leader()}")

    def start(self) -> Candidate:
        self.task = asyncio.create_task(self.elector.run())
        return self

    async def kill(self) -> None:
        """As SIGKILL: no release."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    @property
    def leads(self) -> bool:
        return self.elector.is_leader()

    @property
    def metric(self) -> float | None:
        return self.registry.get_sample_value("leader_election_master_status", {"name": NAME})


class Stage:
    """Two candidates for one Lease, a clock, and the Lease as the server has it."""

    def __init__(self, control_plane: ControlPlane, namespace: str, stack: AsyncExitStack) -> None:
        self.control_plane, self.namespace, self.stack = control_plane, namespace, stack
        self.clock = FakeClock()
        self.connection = Connection.from_kubeconfig(control_plane.kubeconfig)
        self.candidates: list[Candidate] = []

    async def candidate(self, name: str, clock: Clock | None = None, **times: float) -> Candidate:
        client = await self.stack.enter_async_context(self.connection.client(f"{name}-{uuid.uuid4().hex[:6]}/1"))
        one = Candidate(name, client, self.namespace, clock or self.clock, **times)
        self.stack.push_async_callback(one.kill)
        self.candidates.append(one)
        return one

    def lease(self) -> dict[str, Any]:
        path = LEASE.object_path(ObjectKey(self.namespace, NAME))
        found: dict[str, Any] = self.control_plane.api.request("GET", path)
        return found

    async def until(self, done: Callable[[], bool], what: str = "") -> None:
        """Wait for requests in flight; the fake clock stands still."""
        try:
            async with asyncio.timeout(30):
                while not done():  # noqa: ASYNC110 (the condition is in several objects)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"not reached within 30 s: {what or done}") from None

    async def advance_until(self, done: Callable[[], bool], limit: float) -> float:
        """Let fake time pass, a quarter of a second at a time, none while a real request is under way.

        Returns how much passed.
        """
        passed = 0.0
        while True:
            await self.until(lambda: not any(one.wire.under_way for one in self.candidates), "an answer")
            if done():
                return passed
            assert passed < limit, f"not reached within {limit} s of fake time"
            await self.clock.advance(0.25)
            passed += 0.25


@pytest.fixture
async def stage(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield Stage(control_plane, namespace, stack)


async def test_only_one_of_two_leads_and_a_kill_hands_over_after_the_lease_has_ended(stage: Stage) -> None:
    first, second = await stage.candidate("first"), await stage.candidate("second")
    first.start()
    await stage.until(lambda: first.leads)
    second.start()
    await stage.advance_until(lambda: second.wire.sent.count("get") >= 3, 10)
    assert (first.leads, second.leads) == (True, False)
    assert (first.metric, second.metric) == (1.0, 0.0)

    await first.kill()
    passed = await stage.advance_until(lambda: second.leads, 40)
    assert 12 < passed < 20, "not before the 15 s lease has ended, and soon after"
    assert not first.leads
    spec = stage.lease()["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("second", 1, 15)


async def test_a_renewal_costs_one_request(stage: Stage) -> None:
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    one.wire.sent.clear()
    await stage.advance_until(lambda: len(one.wire.sent) >= 5, 20)
    assert set(one.wire.sent) == {"update"}
    assert one.diary == ["acquired"]


async def test_release_lets_the_standby_lead_at_its_next_look(stage: Stage) -> None:
    first, second = await stage.candidate("first"), await stage.candidate("second")
    first.start()
    await stage.until(lambda: first.leads)
    second.start()
    await stage.until(lambda: second.wire.sent == ["get"])
    await first.kill()
    await first.elector.release()
    assert stage.lease()["spec"]["holderIdentity"] == ""
    assert (first.leads, first.metric) == (False, 0.0)
    assert await stage.advance_until(lambda: second.leads, 5) <= 3


async def test_a_release_right_after_an_unanswered_renewal_still_frees_the_lease(stage: Stage) -> None:
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    lease = stage.lease()
    lease["spec"]["renewTime"] = format_time(datetime.now(UTC), micro=True)
    stage.control_plane.api.request("PUT", LEASE.object_path(ObjectKey(stage.namespace, NAME)), lease)
    await one.kill()
    await one.elector.release()
    assert stage.lease()["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("fault", ["down", "hang", "403", "503", "200", "302"])
async def test_a_leader_that_cannot_renew_stops_work_before_its_lease_ends(stage: Stage, fault: str) -> None:
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    if fault.isdigit():
        one.wire.code = int(fault)
    else:
        setattr(one.wire, fault, True)
    await stage.clock.advance(9.5)
    assert one.leads
    assert one.diary == ["acquired"]
    await stage.clock.advance(0.6)
    assert not one.leads
    await stage.until(lambda: one.diary == ["acquired", "lost, leader=False"])
    assert one.metric == 0.0

    one.wire.code, one.wire.down, one.wire.hang = None, False, False
    await stage.advance_until(lambda: one.leads, 20)
    assert one.diary == ["acquired", "lost, leader=False", "acquired"]
    assert stage.lease()["spec"]["leaseTransitions"] == 0, "it never changed hands"


async def test_the_lease_is_counted_from_when_a_renewal_was_sent_not_from_its_answer(stage: Stage) -> None:
    """The server has renewed it then; for how long it takes the answer to come nobody can vouch."""
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    one.wire.held_up = asyncio.Event()
    before = len(one.wire.sent)
    await stage.advance_until(lambda: len(one.wire.sent) > before, 5)
    await stage.clock.advance(4)
    one.wire.down = True
    one.wire.held_up.set()
    await stage.clock.advance(5.5)
    assert one.leads
    await stage.clock.advance(0.5)
    assert not one.leads


@pytest.mark.parametrize("code", [200, 302])
async def test_a_success_that_a_proxy_invents_makes_no_leader(stage: Stage, code: int) -> None:
    """With 200 and 302 in place of the Lease, as from a login page; so does the renewal above not believe them."""
    one = await stage.candidate("one")
    one.wire.code = code
    one.start()
    await stage.advance_until(lambda: len(one.wire.sent) >= 4, 20)
    assert one.diary == []
    one.wire.code = None
    await stage.advance_until(lambda: one.leads, 10)


async def test_a_short_outage_is_survived_without_losing_the_lease(stage: Stage) -> None:
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    one.wire.down = True
    await stage.clock.advance(6)
    one.wire.down = False
    one.wire.sent.clear()
    await stage.advance_until(lambda: len(one.wire.sent) >= 8, 20)
    assert one.leads
    assert one.diary == ["acquired"]


async def test_a_renewal_whose_answer_was_lost_is_recognised_as_our_own(stage: Stage) -> None:
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    lease = stage.lease()
    lease["spec"]["renewTime"] = format_time(datetime.now(UTC), micro=True)
    stage.control_plane.api.request("PUT", LEASE.object_path(ObjectKey(stage.namespace, NAME)), lease)
    one.wire.sent.clear()
    await stage.advance_until(lambda: len(one.wire.sent) >= 4, 10)
    assert one.wire.sent[:4] == ["update", "get", "update", "update"]
    assert one.diary == ["acquired"]


async def test_a_lease_taken_by_another_is_lost_at_the_next_renewal(stage: Stage) -> None:
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    lease = stage.lease()
    lease["spec"].update(holderIdentity="thief", renewTime=format_time(datetime.now(UTC), micro=True))
    stage.control_plane.api.request("PUT", LEASE.object_path(ObjectKey(stage.namespace, NAME)), lease)
    await stage.advance_until(lambda: one.diary[1:] == ["lost, leader=False"], 3)
    assert stage.lease()["spec"]["holderIdentity"] == "thief"


@pytest.mark.parametrize("skew", [-3600, 3600])
async def test_the_holders_wall_clock_means_nothing_to_a_candidate(stage: Stage, skew: float) -> None:
    spec = {
        "holderIdentity": "gone",
        "leaseDurationSeconds": 5,
        "renewTime": format_time(stage.clock.now() + timedelta(seconds=skew), micro=True),
    }
    body = {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": NAME, "labels": {"a": "b"}}}
    stage.control_plane.api.request("POST", LEASE.collection_path(stage.namespace), {**body, "spec": spec})
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.wire.sent == ["get"])
    passed = await stage.advance_until(lambda: one.leads, 20)
    assert 5 <= passed <= 8, "from first sight, by the record's own duration"
    assert stage.lease()["metadata"]["labels"] == {"a": "b"}, "what others put on the Lease stays"


async def test_a_deleted_lease_stops_work_and_is_made_again(stage: Stage) -> None:
    one = (await stage.candidate("one")).start()
    await stage.until(lambda: one.leads)
    stage.control_plane.api.request("DELETE", LEASE.object_path(ObjectKey(stage.namespace, NAME)))
    await stage.advance_until(lambda: len(one.diary) == 3, 10)
    assert one.diary == ["acquired", "lost, leader=False", "acquired"]


async def test_a_process_that_was_stopped_is_no_leader_the_moment_it_wakes(stage: Stage) -> None:
    times = {"lease_duration": 1.0, "renew_deadline": 0.5, "retry_period": 0.1}
    one = (await stage.candidate("one", SystemClock(), **times)).start()
    await stage.until(lambda: one.leads)
    time.sleep(0.6)
    assert not one.leads
    await stage.until(lambda: one.diary[:2] == ["acquired", "lost, leader=False"])


def test_times_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot elect a leader"):
        LeaderElector(Wire(None), namespace="n", name="l", identity="i", lease_duration=5)  # type: ignore[arg-type]

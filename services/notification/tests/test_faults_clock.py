"""A wall clock that is set forward or back, and a call that comes too late: the controller in this process.

Waits that a jump does not touch are in test_waits.py; here it is what the jump leaves in the object.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from scenarios.notification import CONTRACT, PLURAL, PROGRAM
from scenarios.notification_in_process import NotificationDesk

from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.message import Message
from kubernaut_runtime import Connection
from kubernaut_status import TransportError
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, Rule
from kubernaut_testing.proxy.actions import Delay
from kubernaut_testing.waiting import eventually_async

HOUR = 3600
BUSY, DONE = "busy", None


def transition_times(ledger: RequestLedger, ref: str) -> dict[str, list[str]]:
    """Per condition type, lastTransitionTime in each stored version."""
    found: dict[str, list[str]] = {}
    for version in ledger.history(ref):
        for condition in version.status.get("conditions") or ():
            found.setdefault(condition["type"], []).append(condition["lastTransitionTime"])
    return found


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_times_in_an_object_never_go_backwards_whenever_the_clock_jumps(
    after: int, hours: int, desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Fault 22: between acceptance and sending, during an attempt, and while it waits for the next one."""
    desk.channel.answers = [*desk.channel.answers, DONE]
    send, writes = desk.meddle, 0

    async def jump_after(request: Any, inner: Any) -> Any:
        nonlocal writes
        answer = await send(request, inner)
        writes += request.verb == "patch"
        if writes == after and request.verb == "patch":
            desk.clock.jump(hours * HOUR)
        return answer

    if after == 0:
        desk.clock.jump(hours * HOUR * (hours > 0))  # an object is not accepted before it was created
    desk.meddle = jump_after
    desk.create()
    await desk.attempted(1)
    await desk.clock.advance(30)
    await desk.attempted(2)
    assert desk.status["phase"] == "Sent"
    assert desk.channel.calls == [0, 30], "and no wait is longer or shorter"
    ref = f"{PLURAL}/{desk.namespace}/one"
    assert_invariants(ledger, ref, CONTRACT)
    for kind, times in transition_times(ledger, ref).items():
        assert all(earlier <= later for earlier, later in pairwise(times)), (kind, times)


class Jumping:
    """A channel that fails once, while the wall clock is set by so many hours."""

    def __init__(self, desk: NotificationDesk, hours: int) -> None:
        self.desk, self.hours = desk, hours
        self.calls: list[float] = []
        self.began = desk.clock.monotonic()

    async def deliver(self, message: Message) -> None:
        self.calls.append(self.desk.clock.monotonic() - self.began)
        if len(self.calls) == 1:
            self.desk.clock.jump(self.hours * HOUR)
            raise RetryableError("busy")


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wait_that_begins_with_a_jump_during_the_call_is_the_policy_s(
    hours: int, desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Fault 22."""
    desk.routed.clear()
    jumping = Jumping(desk, hours)
    desk.channels.register("jumping", jumping)
    desk.routed.append("jumping")
    desk.create()
    await desk.attempted(1)
    assert desk.queue.due_in(desk.key) == 30
    await desk.clock.advance(30)
    await desk.attempted(2)
    assert (jumping.calls, desk.status["phase"]) == ([0, 30], "Sent")
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_jump_between_an_attempt_and_its_late_commit_changes_no_wait(
    hours: int, desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Fault 22 while the API server is away."""
    refused = 0

    async def away(request: Any, inner: Any) -> Any:
        nonlocal refused
        if len(desk.requests) == 3:
            refused += 1
            raise TransportError("no connection")
        return await inner(request)

    desk.meddle = away
    desk.channel.answers = [*desk.channel.answers, DONE]
    desk.create()
    await eventually_async(lambda: desk.queue.failures(desk.key) == 1)
    desk.clock.jump(hours * HOUR)
    await desk.clock.advance(2)
    await desk.attempted(1)
    assert (refused, desk.queue.due_in(desk.key)) == (1, pytest.approx(28))
    await desk.clock.advance(28.001)
    await desk.attempted(2)
    assert (desk.channel.calls, desk.status["phase"]) == (pytest.approx([0, 30], abs=0.01), "Sent")
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_jump_brings_no_mass_of_attempts(hours: int, desk: NotificationDesk, ledger: RequestLedger) -> None:
    """Fault 22: ten channels wait, each for its own time; the jump makes none of them due."""
    channels = [desk.channel, *(desk.add(f"pager-{number}") for number in range(9))]
    desk.create()
    await desk.attempted(10)
    desk.clock.jump(hours * HOUR)
    for _ in range(3):
        desk.queue.add(desk.key)
        await desk.idle()
    assert [len(channel.calls) for channel in channels] == [1] * 10
    await desk.clock.advance(29)
    await desk.idle()
    assert [len(channel.calls) for channel in channels] == [1] * 10
    await desk.clock.advance(1)
    await desk.attempted(20)
    assert [channel.calls for channel in channels] == [[0, 30]] * 10
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


@pytest.mark.parametrize("index", [1, 2, 3])
async def test_a_write_that_arrives_after_it_was_given_up_changes_nothing(
    index: int, desk: NotificationDesk, ledger: RequestLedger, fault_proxy: FaultProxy
) -> None:
    """Fault 13, with a timeout of 1.5 seconds for a call: the late one is refused, whatever came in between."""
    desk.channel.answers = [DONE]
    await desk.client.close()
    through = fault_proxy.kubeconfig_for(desk.control_plane.kubeconfig)
    desk.client = Connection.from_kubeconfig(through).client(f"{PROGRAM}/in-process", timeout=1.5)
    fault_proxy.add(Rule(Delay(4, late=True), verb="patch", subresource="status", nth=index))
    desk.create()
    await eventually_async(lambda: desk.queue.failures(desk.key) == 1)
    await desk.clock.advance(60)  # the queue's wait after a failure
    await desk.attempted(1)
    assert desk.status["phase"] == "Sent"

    def codes() -> list[int]:
        ledger.settle()
        writes = ledger.entries(f"{PLURAL}/{desk.namespace}/one", user_agent=PROGRAM, verb="patch")
        return [entry.code for entry in writes]

    await eventually_async(lambda: asyncio.to_thread(lambda: codes() == [200, 200, 200, 409]))
    assert desk.channel.calls[1:] == [], "what was delivered is kept, not sent again"
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)

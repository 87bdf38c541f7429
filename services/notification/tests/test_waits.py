"""The policy's waits to the second: the reconciler in this process, a clock turned by hand, a real API server."""

from __future__ import annotations

import pytest
from scenarios.in_process import Send
from scenarios.notification import CONTRACT, PLURAL, PROGRAM
from scenarios.notification_in_process import NotificationDesk

from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.message import Message
from kubernaut_status import Request, Response
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

RETRIES = "kubernaut_notification_delivery_retries_total"


async def test_the_default_waits_are_30_60_120_and_240_seconds_exactly(
    desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Weak point 2: there is a wait while every channel fails, and an own write does not end it."""
    desk.create()
    await desk.attempted(1)
    for number, wait in enumerate((30, 60, 120, 240), start=2):
        assert desk.queue.due_in(desk.key) == wait
        await desk.clock.advance(wait - 0.001)
        assert len(desk.channel.calls) == number - 1, "not a millisecond early"
        await desk.clock.advance(0.001)
        await desk.attempted(number)
    assert desk.channel.calls == [0, 30, 90, 210, 450]
    assert desk.queue.due_in(desk.key) is None
    assert (desk.status["phase"], desk.status["reason"]) == ("Failed", "MaxRetriesExhausted")
    retries = desk.metrics.get_sample_value(RETRIES, {"channel": "pager", "reason": "transient"})
    assert retries == 4, "after the fifth failure none was scheduled"
    ref = f"{PLURAL}/{desk.namespace}/one"
    ledger.assert_requests(ref, {"patch/status": 7}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, ref, CONTRACT)


@pytest.mark.behaviour(39)
async def test_a_wake_up_before_the_due_time_does_nothing_and_shortens_no_wait(
    desk: NotificationDesk, ledger: RequestLedger
) -> None:
    desk.create()
    await desk.attempted(1)
    mark = ledger.mark()
    for _ in range(5):
        await desk.clock.advance(5)
        desk.queue.add(desk.key)
        await desk.idle()
    assert desk.channel.calls == [0]
    assert desk.queue.due_in(desk.key) == 5
    await desk.clock.advance(5)
    await desk.attempted(2)
    assert desk.channel.calls == [0, 30]
    ledger.assert_requests(
        f"{PLURAL}/{desk.namespace}/one", {"patch/status": 1}, user_agent=PROGRAM, since=mark, only=True
    )


async def test_jitter_lengthens_a_wait_by_a_tenth_at_most_and_never_shortens_it(desk: NotificationDesk) -> None:
    desk.jitter = 0.999999
    desk.create()
    await desk.attempted(1)
    wait = desk.queue.due_in(desk.key)
    assert wait is not None
    assert 30 < wait <= 33


async def test_a_retry_after_that_is_longer_than_the_policy_s_wait_is_honoured(desk: NotificationDesk) -> None:
    desk.channel.answers = [RetryableError("slow down", 95), RetryableError("slow down", 1), None]
    desk.create()
    await desk.attempted(1)
    assert desk.queue.due_in(desk.key) == 95
    await desk.clock.advance(95)
    await desk.attempted(2)
    assert desk.queue.due_in(desk.key) == 60, "a shorter one does not shorten the policy's wait"
    await desk.clock.advance(60)
    await desk.attempted(3)
    assert desk.channel.calls == [0, 95, 155]
    assert desk.status["phase"] == "Sent"


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_makes_no_attempt_earlier_or_later(desk: NotificationDesk, hours: int) -> None:
    desk.create()
    await desk.attempted(1)
    desk.clock.jump(hours * 3600)
    desk.queue.add(desk.key)  # anybody's change
    await desk.idle()
    assert desk.channel.calls == [0]
    await desk.clock.advance(30)
    await desk.attempted(2)
    assert desk.queue.due_in(desk.key) == 60
    await desk.clock.advance(60)
    await desk.attempted(3)
    assert desk.channel.calls == [0, 30, 90]


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_moves_no_channel_s_time_when_another_one_is_called(
    desk: NotificationDesk, hours: int
) -> None:
    other = desk.add("other")
    other.answers = [RetryableError("slow down", 95), None]
    desk.create()
    await desk.attempted(2)
    desk.clock.jump(hours * 3600)
    await desk.clock.advance(30)
    await desk.attempted(3)
    await desk.clock.advance(60)
    await desk.attempted(4)
    await desk.clock.advance(5)
    await desk.attempted(5)
    assert (desk.channel.calls, other.calls) == ([0, 30, 90], [0, 95])


async def test_a_write_that_takes_long_lengthens_no_wait(desk: NotificationDesk) -> None:
    async def slowly(request: Request, send: Send) -> Response:
        answer = await send(request)
        if len(desk.requests) == 3:
            await desk.clock.advance(4)
        return answer

    desk.meddle = slowly
    desk.create()
    await desk.attempted(1)
    assert desk.queue.due_in(desk.key) == 26
    await desk.clock.advance(26)
    await desk.attempted(2)
    assert desk.channel.calls == [0, 30]


class Slow:
    """A channel that takes four seconds."""

    def __init__(self, desk: NotificationDesk) -> None:
        self.desk = desk

    async def deliver(self, message: Message) -> None:
        await self.desk.clock.sleep(4)


async def test_the_event_and_the_status_tell_the_same_backoff(desk: NotificationDesk) -> None:
    """It is the wait after the attempt, whatever the other channels took meanwhile."""
    desk.channels.register("slow", Slow(desk))
    desk.routed.append("slow")
    desk.create()
    await eventually_async(lambda: desk.channel.calls and desk.clock.sleepers)
    await desk.clock.advance(4)
    await desk.attempted(2)
    assert desk.status["message"].endswith(" with backoff 30s")
    assert desk.events.of("NotificationRetrying") == ["Retrying failed channels with backoff 30s"]
    assert desk.queue.due_in(desk.key) == 26

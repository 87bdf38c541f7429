from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.announcement import Announced
from kubernaut_notification.delivery.channel import PermanentError, RetryableError
from kubernaut_notification.delivery.deliverer import Deliverer
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.registry import ChannelRegistry
from kubernaut_testing.clock import FakeClock

MakeNR = Callable[..., NotificationRequest]


class Scripted:
    """A channel that raises what it is told to and keeps what it got."""

    def __init__(
        self, error: BaseException | None = None, *, takes: float = 0.0, clock: FakeClock | None = None
    ) -> None:
        self.error = error
        self.takes = takes
        self.clock = clock
        self.got: list[Message] = []
        self.running = 0
        self.peak = 0

    async def deliver(self, message: Message) -> None:
        self.got.append(message)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if self.clock is not None:
                await self.clock.sleep(self.takes)
            if self.error is not None:
                raise self.error
        finally:
            self.running -= 1


@pytest.fixture
def clock(now: datetime) -> FakeClock:
    return FakeClock(now)


def registry(**channels: Scripted) -> ChannelRegistry:
    made = ChannelRegistry()
    for key, channel in channels.items():
        made.register(key, channel)
    return made


@pytest.mark.behaviour(57)
async def test_a_delivery_becomes_a_recorded_success(make_nr: MakeNR, now: datetime, clock: FakeClock) -> None:
    channel = Scripted(takes=0.015, clock=clock)
    task = asyncio.create_task(Deliverer(registry(a=channel), clock).deliver(make_nr(), [Announced("a", 3, now)]))
    await clock.wait_for_sleepers(1)
    await clock.advance(0.015)
    (attempt,) = await task
    assert attempt.succeeded
    assert (attempt.attempt, attempt.started, attempt.ended) == (3, now, now + timedelta(milliseconds=15))
    assert attempt.to_wire()["durationSeconds"] == 0.015


@pytest.mark.parametrize(
    ("error", "text", "permanent"),
    [
        (RetryableError("busy", 9.0), "busy", False),
        (PermanentError("no"), "permanent failure: no", True),
        (RuntimeError("https://hooks/secret"), "permanent failure: unexpected RuntimeError in channel a", True),
    ],
)
async def test_every_error_becomes_a_recorded_failure(
    make_nr: MakeNR, now: datetime, clock: FakeClock, error: Exception, text: str, permanent: bool
) -> None:
    (attempt,) = await Deliverer(registry(a=Scripted(error)), clock).deliver(make_nr(), [Announced("a", 1, now)])
    assert (attempt.status, attempt.error, attempt.permanent) == ("failed", text, permanent)


async def test_an_unexpected_error_is_logged_without_its_text(
    make_nr: MakeNR, now: datetime, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broken = Scripted(RuntimeError("https://hooks/secret"))
    await Deliverer(registry(a=broken), clock).deliver(make_nr(), [Announced("a", 1, now)])
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.behaviour(56)
async def test_an_unknown_channel_is_a_permanent_failure(make_nr: MakeNR, now: datetime, clock: FakeClock) -> None:
    (attempt,) = await Deliverer(registry(), clock).deliver(make_nr(), [Announced("sms", 1, now)])
    assert attempt.error == "permanent failure: channel not registered: sms"


async def test_channels_are_called_side_by_side_and_results_keep_their_order(
    make_nr: MakeNR, now: datetime, clock: FakeClock
) -> None:
    slow, fast = Scripted(takes=10, clock=clock), Scripted(takes=1, clock=clock)
    entries = [Announced("slow", 1, now), Announced("fast", 1, now)]
    task = asyncio.create_task(Deliverer(registry(slow=slow, fast=fast), clock).deliver(make_nr(), entries))
    await clock.wait_for_sleepers(2)
    await clock.advance(10)
    results = await task
    assert [(result.channel, result.duration) for result in results] == [("slow", 10.0), ("fast", 1.0)]


async def test_no_more_channels_are_called_at_once_than_allowed(
    make_nr: MakeNR, now: datetime, clock: FakeClock
) -> None:
    channel = Scripted(takes=1, clock=clock)
    keys = [f"c{number}" for number in range(6)]
    deliverer = Deliverer(registry(**dict.fromkeys(keys, channel)), clock, concurrent=2)
    task = asyncio.create_task(deliverer.deliver(make_nr(), [Announced(key, 1, now) for key in keys]))
    for _ in range(3):
        await clock.wait_for_sleepers(2)
        await clock.advance(1)
    assert len(await task) == 6
    assert channel.peak == 2


async def test_a_failing_channel_does_not_stop_the_others(make_nr: MakeNR, now: datetime, clock: FakeClock) -> None:
    good = Scripted()
    entries = [Announced("bad", 1, now), Announced("good", 1, now)]
    results = await Deliverer(registry(bad=Scripted(ValueError()), good=good), clock).deliver(make_nr(), entries)
    assert [result.succeeded for result in results] == [False, True]


async def test_a_call_that_something_else_cut_off_is_a_failure_of_its_own_and_costs_the_others_nothing(
    make_nr: MakeNR, now: datetime, clock: FakeClock
) -> None:
    """Else the others would go on without anybody who hears of their results, and be made again beside themselves."""
    slow = Scripted(takes=5, clock=clock)
    entries = [Announced("cut", 1, now), Announced("slow", 1, now)]
    cut = Scripted(asyncio.CancelledError())
    task = asyncio.create_task(Deliverer(registry(cut=cut, slow=slow), clock).deliver(make_nr(), entries))
    await clock.wait_for_sleepers(1)
    await clock.advance(5)
    first, second = await task
    assert (first.outcome_unknown, first.permanent, second.succeeded) == (True, False, True)


async def test_channels_get_a_redacted_copy_and_the_announced_time(
    make_nr: MakeNR, now: datetime, clock: FakeClock
) -> None:
    channel, due = Scripted(), now - timedelta(seconds=3)
    await Deliverer(registry(a=channel), clock).deliver(make_nr(body="password: x1"), [Announced("a", 2, due)])
    (message,) = channel.got
    assert (message.nr.spec.body, message.due, message.idempotency_key) == ("password: [REDACTED]", due, "u-1/a/2")


async def test_an_attempt_never_ends_before_it_starts(make_nr: MakeNR, now: datetime, clock: FakeClock) -> None:
    channel = Scripted(takes=1, clock=clock)
    task = asyncio.create_task(Deliverer(registry(a=channel), clock).deliver(make_nr(), [Announced("a", 1, now)]))
    await clock.wait_for_sleepers(1)
    clock.jump(-3600)
    await clock.advance(1)
    (attempt,) = await task
    assert (attempt.ended, attempt.duration) == (now, 1.0)


async def test_cancellation_is_passed_on(make_nr: MakeNR, now: datetime, clock: FakeClock) -> None:
    channel = Scripted(takes=10, clock=clock)
    task = asyncio.create_task(Deliverer(registry(a=channel), clock).deliver(make_nr(), [Announced("a", 1, now)]))
    await clock.wait_for_sleepers(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_each_call_is_asked_for_right_before_it_is_made(make_nr: MakeNR, now: datetime, clock: FakeClock) -> None:
    """A process that is replaced while it waits for one channel calls no other."""
    first, second = Scripted(takes=1, clock=clock), Scripted()
    may_act = True
    entries = [Announced("first", 1, now), Announced("second", 1, now)]
    deliverer = Deliverer(registry(first=first, second=second), clock, concurrent=1)
    task = asyncio.create_task(deliverer.deliver(make_nr(), entries, allowed=lambda entry: may_act))
    await clock.wait_for_sleepers(1)
    may_act = False
    await clock.advance(1)
    assert [attempt.channel for attempt in await task] == ["first"]
    assert second.got == []


async def test_the_end_of_each_attempt_is_told_while_others_are_under_way(
    make_nr: MakeNR, now: datetime, clock: FakeClock
) -> None:
    ended: list[str] = []
    channels = registry(fast=Scripted(takes=1, clock=clock), slow=Scripted(takes=10, clock=clock))
    entries = [Announced("slow", 1, now), Announced("fast", 1, now)]
    deliverer = Deliverer(channels, clock)
    task = asyncio.create_task(
        deliverer.deliver(make_nr(), entries, ended=lambda attempt: ended.append(attempt.channel))
    )
    await clock.wait_for_sleepers(2)
    await clock.advance(1)
    assert (ended, task.done()) == (["fast"], False)
    await clock.advance(9)
    await task
    assert ended == ["fast", "slow"]

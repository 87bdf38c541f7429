"""The policy's waits to the second: the reconciler in this process, a clock turned by hand, a real API server."""

from __future__ import annotations

import pytest
from scenarios.in_process import Shop
from scenarios.notification import CONTRACT, PLURAL, PROGRAM

from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.message import Message
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async


async def test_the_default_waits_are_30_60_120_and_240_seconds_exactly(shop: Shop, ledger: RequestLedger) -> None:
    """Weak point 2: there is a wait while every channel fails, and an own write does not end it."""
    shop.create()
    await shop.attempted(1)
    for number, wait in enumerate((30, 60, 120, 240), start=2):
        assert shop.queue.due_in(shop.key) == wait
        await shop.clock.advance(wait - 0.001)
        assert len(shop.channel.calls) == number - 1, "not a millisecond early"
        await shop.clock.advance(0.001)
        await shop.attempted(number)
    assert shop.channel.calls == [0, 30, 90, 210, 450]
    assert shop.queue.due_in(shop.key) is None
    assert (shop.status["phase"], shop.status["reason"]) == ("Failed", "MaxRetriesExhausted")
    ref = f"{PLURAL}/{shop.namespace}/one"
    ledger.assert_requests(ref, {"patch/status": 7}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, ref, CONTRACT)


@pytest.mark.behaviour(39)
async def test_a_wake_up_before_the_due_time_does_nothing_and_shortens_no_wait(
    shop: Shop, ledger: RequestLedger
) -> None:
    shop.create()
    await shop.attempted(1)
    mark = ledger.mark()
    for _ in range(5):
        await shop.clock.advance(5)
        shop.queue.add(shop.key)
        await shop.idle()
    assert shop.channel.calls == [0]
    assert shop.queue.due_in(shop.key) == 5
    await shop.clock.advance(5)
    await shop.attempted(2)
    assert shop.channel.calls == [0, 30]
    ledger.assert_requests(
        f"{PLURAL}/{shop.namespace}/one", {"patch/status": 1}, user_agent=PROGRAM, since=mark, only=True
    )


async def test_jitter_lengthens_a_wait_by_a_tenth_at_most_and_never_shortens_it(shop: Shop) -> None:
    shop.jitter = 0.999999
    shop.create()
    await shop.attempted(1)
    wait = shop.queue.due_in(shop.key)
    assert wait is not None
    assert 30 < wait <= 33


async def test_a_retry_after_that_is_longer_than_the_policy_s_wait_is_honoured(shop: Shop) -> None:
    shop.channel.answers = [RetryableError("slow down", 95), RetryableError("slow down", 1), None]
    shop.create()
    await shop.attempted(1)
    assert shop.queue.due_in(shop.key) == 95
    await shop.clock.advance(95)
    await shop.attempted(2)
    assert shop.queue.due_in(shop.key) == 60, "a shorter one does not shorten the policy's wait"
    await shop.clock.advance(60)
    await shop.attempted(3)
    assert shop.channel.calls == [0, 95, 155]
    assert shop.status["phase"] == "Sent"


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_makes_no_attempt_earlier_or_later(shop: Shop, hours: int) -> None:
    shop.create()
    await shop.attempted(1)
    shop.clock.jump(hours * 3600)
    shop.queue.add(shop.key)  # anybody's change
    await shop.idle()
    assert shop.channel.calls == [0]
    await shop.clock.advance(30)
    await shop.attempted(2)
    assert shop.queue.due_in(shop.key) == 60
    await shop.clock.advance(60)
    await shop.attempted(3)
    assert shop.channel.calls == [0, 30, 90]


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_moves_no_channel_s_time_when_another_one_is_called(
    shop: Shop, hours: int
) -> None:
    other = shop.add("other")
    other.answers = [RetryableError("slow down", 95), None]
    shop.create()
    await shop.attempted(2)
    shop.clock.jump(hours * 3600)
    await shop.clock.advance(30)
    await shop.attempted(3)
    await shop.clock.advance(60)
    await shop.attempted(4)
    await shop.clock.advance(5)
    await shop.attempted(5)
    assert (shop.channel.calls, other.calls) == ([0, 30, 90], [0, 95])


class Slow:
    """A channel that takes four seconds."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def deliver(self, message: Message) -> None:
        await self.shop.clock.sleep(4)


async def test_the_event_and_the_status_tell_the_same_backoff(shop: Shop) -> None:
    """It is the wait after the attempt, whatever the other channels took meanwhile."""
    shop.channels.register("slow", Slow(shop))
    shop.routed.append("slow")
    shop.create()
    await eventually_async(lambda: shop.channel.calls and shop.clock.sleepers)
    await shop.clock.advance(4)
    await shop.attempted(2)
    assert shop.status["message"].endswith(" with backoff 30s")
    assert shop.events.of("NotificationRetrying") == ["Retrying failed channels with backoff 30s"]
    assert shop.queue.due_in(shop.key) == 26

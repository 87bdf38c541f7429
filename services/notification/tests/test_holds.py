"""What holds a pass back: an open circuit breaker, a busy receiver, a lost lease, a deletion. On a real API server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from scenarios.in_process import Failing, Send, Shop
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM

from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.lanes import PATIENCE
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime import Priority
from kubernaut_status import ObjectKey, Request, Response, TransportError
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

SLACK = "slack:a"
EVERY_SECOND = {"maxAttempts": 5, "initialBackoffSeconds": 1, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
UNKNOWN = "kubernaut_notification_delivery_outcome_unknown_total"


def other(number: int) -> ObjectKey:
    return ObjectKey("ns", f"other-{number}")


async def enter(shop: Shop, number: int) -> None:
    """Another notification takes a place at the receiver."""
    async with asyncio.timeout(10):  # real time: patience is the hand-turned clock's
        assert await shop.lanes.enter(other(number), Priority.MEDIUM, SLACK)


def end(shop: Shop, number: int, error: DeliveryError | None = None) -> None:
    now = shop.clock.now()
    attempt = Attempt.success(SLACK, 1, now, now, 0)
    shop.lanes.ended(other(number), Attempt.failure(SLACK, 1, now, now, 0, error) if error else attempt)


async def fail(shop: Shop, times: int) -> None:
    """So many calls of other notifications fail."""
    for number in range(times):
        await enter(shop, number)
        end(shop, number, RetryableError("slack webhook returned 503 (retryable): busy"))


@pytest.fixture
def slack(shop: Shop) -> Failing:
    """The only channel of the notification, one that succeeds."""
    shop.routed.clear()
    made = shop.add(SLACK)
    made.answers = [None]
    return made


@pytest.mark.behaviour(86)
async def test_an_open_breaker_holds_the_attempt_without_a_call_a_write_or_its_number(
    shop: Shop, slack: Failing, ledger: RequestLedger
) -> None:
    """Weak point 8: there, a pass that meets an open breaker uses up an attempt."""
    await fail(shop, 3)
    shop.create()
    await eventually_async(lambda: shop.status.get("phase") == "Sending")
    await shop.idle()
    for _ in range(5):
        await shop.clock.advance(5)
        shop.queue.add(shop.key)
        await shop.idle()
    assert (slack.calls, len(shop.requests)) == ([], 2), "Pending and Sending, nothing since"
    assert shop.queue.due_in(shop.key) == 5
    assert shop.events.of("CircuitBreakerOpen") == [
        "slack channel circuit breaker is open: slack webhook returned 503 (retryable): busy"
    ]
    await shop.clock.advance(5)
    await shop.attempted(1)
    assert slack.calls == [30]
    (attempt,) = shop.status["deliveryAttempts"]
    assert (attempt["attempt"], shop.status["phase"]) == (1, "Sent")
    assert not shop.metrics.get_sample_value(UNKNOWN, {"channel": SLACK})
    ledger.assert_requests(f"{PLURAL}/{shop.namespace}/one", {"patch/status": 3}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, f"{PLURAL}/{shop.namespace}/one", CONTRACT)


async def test_what_is_announced_while_a_breaker_is_open_is_not_due_before_it_lets_calls_through(
    shop: Shop, slack: Failing
) -> None:
    slack.answers = [RetryableError("busy"), None]
    await fail(shop, 2)
    shop.create(retryPolicy=EVERY_SECOND)
    await shop.attempted(1)
    assert shop.queue.due_in(shop.key) == 30, "the policy alone says one second"
    assert shop.events.of("CircuitBreakerOpen") == ["slack channel circuit breaker is open: busy"]
    await shop.clock.advance(30)
    await shop.attempted(2)
    assert (slack.calls, shop.status["phase"]) == ([0, 30], "Sent")
    assert len(shop.requests) == 4
    assert len(shop.events.of("CircuitBreakerOpen")) == 1


async def test_the_other_channels_of_a_held_notification_are_served_and_recorded(
    shop: Shop, slack: Failing, ledger: RequestLedger
) -> None:
    pager = shop.add("pager")
    pager.answers = [None]
    await fail(shop, 3)
    shop.create()
    await shop.attempted(1)
    status = shop.status
    assert (status["phase"], [a["channel"] for a in status["deliveryAttempts"]]) == ("Sending", ["pager"])
    assert (slack.calls, pager.calls) == ([], [0])
    await shop.clock.advance(30)
    await shop.attempted(2)
    assert (slack.calls, pager.calls, shop.status["phase"]) == ([30], [0], "Sent")
    ledger.assert_requests(f"{PLURAL}/{shop.namespace}/one", {"patch/status": 4}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, f"{PLURAL}/{shop.namespace}/one", CONTRACT)


async def test_a_busy_receiver_is_waited_for_and_then_holds_the_notification_until_a_place_is_free(
    shop: Shop, slack: Failing
) -> None:
    """Weak point 9. Nothing tells of it: it is not the receiver that is ill."""
    pager = shop.add("pager")
    pager.answers = [None]
    await enter(shop, 1)
    await enter(shop, 2)
    shop.create()
    await eventually_async(lambda: pager.calls)
    assert shop.status.get("totalAttempts", 0) == 0, "in a burst all channels are recorded together"
    await shop.clock.advance(PATIENCE)
    await shop.attempted(1)
    assert (slack.calls, [a["channel"] for a in shop.status["deliveryAttempts"]]) == ([], ["pager"])
    end(shop, 2)
    await shop.attempted(2)
    assert (slack.calls, shop.status["phase"]) == ([PATIENCE], "Sent")
    assert shop.events.of("CircuitBreakerOpen") == []


async def test_a_pass_that_is_cut_off_gives_its_place_back(shop: Shop, slack: Failing) -> None:
    slack.hangs = True
    shop.create()
    await eventually_async(lambda: slack.calls)
    shop.controller.pause()
    await asyncio.gather(shop.controller.abandon(1), shop.clock.advance(1))
    await enter(shop, 1)
    await enter(shop, 2)


async def test_a_held_notification_whose_write_takes_long_keeps_no_other_from_the_receiver(
    shop: Shop, slack: Failing
) -> None:
    """As when the API server asks to wait with this very object: the place that comes free is not kept for it."""
    answered = asyncio.Event()

    async def slowly(request: Request, send: Send) -> Response:
        if len(shop.requests) == 3:
            await answered.wait()
        return await send(request)

    shop.meddle = slowly
    shop.add("pager").answers = [None]
    await enter(shop, 1)
    await enter(shop, 2)
    shop.create()
    await eventually_async(lambda: shop.clock.sleepers)
    await shop.clock.advance(PATIENCE)
    await eventually_async(lambda: len(shop.requests) == 3)
    end(shop, 1)
    await enter(shop, 3)
    answered.set()
    await shop.attempted(1)
    assert slack.calls == []
    end(shop, 2)
    await shop.attempted(2)
    assert (slack.calls, shop.status["phase"]) == ([PATIENCE], "Sent")


async def test_a_notification_that_is_deleted_while_it_is_held_keeps_nobody_waiting(shop: Shop, slack: Failing) -> None:
    """Weak point 17."""
    await enter(shop, 1)
    await enter(shop, 2)
    shop.create()
    await eventually_async(lambda: shop.clock.sleepers)
    await shop.clock.advance(PATIENCE)
    await shop.idle()
    gone = shop.control_plane.api.get(API_VERSION, KIND, shop.namespace, "one")
    shop.control_plane.api.delete(API_VERSION, KIND, shop.namespace, "one")
    shop.store.observe("DELETED", gone)
    await shop.idle()
    end(shop, 1)
    await enter(shop, 3)
    assert slack.calls == []


class Ending:
    """A channel that lets `then` happen while it delivers."""

    def __init__(self, then: Any) -> None:
        self.then = then

    async def deliver(self, message: Message) -> None:
        self.then()


async def test_a_leader_that_was_replaced_in_the_middle_of_a_pass_makes_no_further_call(
    shop: Shop, ledger: RequestLedger
) -> None:
    """Weak point 11: it was stopped during the first call, and does not know yet; what it did is recorded."""
    pager = shop.add("pager")
    pager.answers = [None]
    shop.routed[:] = ["first", "pager"]

    def replaced() -> None:
        shop.may_act = False

    shop.channels.register("first", Ending(replaced))
    shop.create()
    await eventually_async(lambda: shop.status.get("totalAttempts") == 1)
    await shop.clock.advance(10)
    assert pager.calls == []
    assert [a["channel"] for a in shop.status["deliveryAttempts"]] == ["first"]
    shop.may_act = True
    shop.acting_since = shop.clock.now()
    await shop.clock.advance(1)
    await shop.attempted(2)
    assert len(pager.calls) == 1
    assert shop.metrics.get_sample_value(UNKNOWN, {"channel": "pager"}) == 1, "another may have made it meanwhile"
    assert_invariants(ledger, f"{PLURAL}/{shop.namespace}/one", CONTRACT)


@pytest.mark.behaviour(14)
async def test_an_object_that_is_being_deleted_gets_no_further_deliveries_and_no_writes(shop: Shop) -> None:
    """There, deletionTimestamp is never looked at."""
    api = shop.control_plane.api
    shop.create()
    await shop.attempted(1)
    api.patch(API_VERSION, KIND, shop.namespace, "one", {"metadata": {"finalizers": ["example.com/hold"]}})
    api.delete(API_VERSION, KIND, shop.namespace, "one")
    try:
        shop.store.observe("MODIFIED", api.get(API_VERSION, KIND, shop.namespace, "one"))
        await shop.clock.advance(600)
        await shop.idle()
        assert (shop.channel.calls, len(shop.requests)) == ([0], 3)
        assert shop.queue.due_in(shop.key) is None
    finally:
        api.patch(API_VERSION, KIND, shop.namespace, "one", {"metadata": {"finalizers": None}})


async def test_an_end_that_was_stored_although_its_write_failed_for_us_is_told_once(shop: Shop) -> None:
    """Weak point 19: there, the audit event of the end is lost if anything fails after the write."""

    async def lose_the_answer(request: Request, send: Send) -> Response:
        answer = await send(request)
        if len(shop.requests) == 3:
            raise TransportError("the answer was lost", may_have_arrived=True)
        return answer

    shop.meddle = lose_the_answer
    shop.channel.answers = [PermanentError("no")]
    shop.create()
    await eventually_async(lambda: shop.queue.failures(shop.key) == 1)
    assert shop.events.of("NotificationFailed") == []
    for _ in range(3):
        shop.store.observe("MODIFIED", shop.control_plane.api.get(API_VERSION, KIND, shop.namespace, "one"))
        shop.queue.add(shop.key)
        await shop.idle()
    assert len(shop.events.of("NotificationFailed")) == 1
    events = [json.loads(line)["event_type"] for line in shop.audit.getvalue().splitlines()]
    assert events == ["notification.message.failed", "notification.message.escalated"]
    assert len(shop.requests) == 3


async def test_an_end_that_somebody_else_wrote_is_not_told_as_ours(shop: Shop) -> None:
    async def lose_the_request(request: Request, send: Send) -> Response:
        if len(shop.requests) == 3:
            raise TransportError("no connection", may_have_arrived=True)
        return await send(request)

    shop.meddle = lose_the_request
    shop.channel.answers = [PermanentError("no")]
    shop.create()
    await eventually_async(lambda: shop.queue.failures(shop.key) == 1)
    by_hand = {"status": {"phase": "Failed", "reason": "AllDeliveriesFailed", "message": "ended by hand"}}
    ended = shop.control_plane.api.patch(API_VERSION, KIND, shop.namespace, "one", by_hand, subresource="status")
    shop.store.observe("MODIFIED", ended)
    await shop.idle()
    assert shop.events.of("NotificationFailed") == []
    assert "escalated" not in shop.audit.getvalue()

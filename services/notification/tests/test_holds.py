"""What holds a pass back: an open circuit breaker, a busy receiver, a lost lease, a deletion. On a real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scenarios.in_process import Send
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM
from scenarios.notification_in_process import Failing, NotificationDesk

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


async def enter(desk: NotificationDesk, number: int) -> None:
    """Another notification takes a place at the receiver."""
    async with asyncio.timeout(10):  # real time: patience is the hand-turned clock's
        assert await desk.lanes.enter(other(number), Priority.MEDIUM, SLACK)


def end(desk: NotificationDesk, number: int, error: DeliveryError | None = None) -> None:
    now = desk.clock.now()
    attempt = Attempt.success(SLACK, 1, now, now, 0)
    desk.lanes.ended(other(number), Attempt.failure(SLACK, 1, now, now, 0, error) if error else attempt)


async def wait_for_a_place(desk: NotificationDesk) -> None:
    """The notification exists, and a pass of it waits until one of the receiver's two places is free."""
    await enter(desk, 1)
    await enter(desk, 2)
    desk.create()
    await eventually_async(lambda: desk.clock.sleepers)


async def hold(desk: NotificationDesk) -> None:
    """That pass has given the place in front up for now: the notification is held."""
    await wait_for_a_place(desk)
    await desk.clock.advance(PATIENCE)
    await desk.idle()


async def fail(desk: NotificationDesk, times: int) -> None:
    """So many calls of other notifications fail."""
    for number in range(times):
        await enter(desk, number)
        end(desk, number, RetryableError("slack webhook returned 503 (retryable): busy"))


@pytest.fixture
def slack(desk: NotificationDesk) -> Failing:
    """The only channel of the notification, one that succeeds."""
    desk.routed.clear()
    made = desk.add(SLACK)
    made.answers = [None]
    return made


@pytest.mark.behaviour(86)
async def test_an_open_breaker_holds_the_attempt_without_a_call_a_write_or_its_number(
    desk: NotificationDesk, slack: Failing, ledger: RequestLedger
) -> None:
    """Weak point 8: there, a pass that meets an open breaker uses up an attempt."""
    await fail(desk, 3)
    desk.create()
    await eventually_async(lambda: desk.status.get("phase") == "Sending")
    await desk.idle()
    for _ in range(5):
        await desk.clock.advance(5)
        desk.queue.add(desk.key)
        await desk.idle()
    assert (slack.calls, len(desk.requests)) == ([], 2), "Pending and Sending, nothing since"
    assert desk.queue.due_in(desk.key) == 5
    assert desk.events.of("CircuitBreakerOpen") == [
        "slack channel circuit breaker is open: slack webhook returned 503 (retryable): busy"
    ]
    await desk.clock.advance(5)
    await desk.attempted(1)
    assert slack.calls == [30]
    (attempt,) = desk.status["deliveryAttempts"]
    assert (attempt["attempt"], desk.status["phase"]) == (1, "Sent")
    assert not desk.metrics.get_sample_value(UNKNOWN, {"channel": SLACK})
    ledger.assert_requests(f"{PLURAL}/{desk.namespace}/one", {"patch/status": 3}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


async def test_what_is_announced_while_a_breaker_is_open_is_not_due_before_it_lets_calls_through(
    desk: NotificationDesk, slack: Failing
) -> None:
    slack.answers = [RetryableError("busy"), None]
    await fail(desk, 2)
    desk.create(retryPolicy=EVERY_SECOND)
    await desk.attempted(1)
    assert desk.queue.due_in(desk.key) == 30, "the policy alone says one second"
    assert desk.events.of("CircuitBreakerOpen") == ["slack channel circuit breaker is open: busy"]
    await desk.clock.advance(30)
    await desk.attempted(2)
    assert (slack.calls, desk.status["phase"]) == ([0, 30], "Sent")
    assert len(desk.requests) == 4
    assert len(desk.events.of("CircuitBreakerOpen")) == 1


async def test_the_other_channels_of_a_held_notification_are_served_and_recorded(
    desk: NotificationDesk, slack: Failing, ledger: RequestLedger
) -> None:
    pager = desk.add("pager")
    pager.answers = [None]
    await fail(desk, 3)
    desk.create()
    await desk.attempted(1)
    status = desk.status
    assert (status["phase"], [a["channel"] for a in status["deliveryAttempts"]]) == ("Sending", ["pager"])
    assert (slack.calls, pager.calls) == ([], [0])
    await desk.clock.advance(30)
    await desk.attempted(2)
    assert (slack.calls, pager.calls, desk.status["phase"]) == ([30], [0], "Sent")
    ledger.assert_requests(f"{PLURAL}/{desk.namespace}/one", {"patch/status": 4}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


async def test_a_busy_receiver_is_waited_for_and_then_holds_the_notification_until_a_place_is_free(
    desk: NotificationDesk, slack: Failing
) -> None:
    """Weak point 9. Nothing tells of it: it is not the receiver that is ill."""
    pager = desk.add("pager")
    pager.answers = [None]
    await enter(desk, 1)
    await enter(desk, 2)
    desk.create()
    await eventually_async(lambda: pager.calls)
    assert desk.status.get("totalAttempts", 0) == 0, "in a burst all channels are recorded together"
    await desk.clock.advance(PATIENCE)
    await desk.attempted(1)
    assert (slack.calls, [a["channel"] for a in desk.status["deliveryAttempts"]]) == ([], ["pager"])
    end(desk, 2)
    await desk.attempted(2)
    assert (slack.calls, desk.status["phase"]) == ([PATIENCE], "Sent")
    assert desk.events.of("CircuitBreakerOpen") == []


async def test_a_pass_that_is_cut_off_gives_its_place_back(desk: NotificationDesk, slack: Failing) -> None:
    slack.hangs = True
    desk.create()
    await eventually_async(lambda: slack.calls)
    desk.controller.pause()
    await asyncio.gather(desk.controller.abandon(1), desk.clock.advance(1))
    await enter(desk, 1)
    await enter(desk, 2)


async def test_a_held_notification_whose_write_takes_long_keeps_no_other_from_the_receiver(
    desk: NotificationDesk, slack: Failing
) -> None:
    """As when the API server asks to wait with this very object: the place that comes free is not kept for it."""
    answered = asyncio.Event()

    async def slowly(request: Request, send: Send) -> Response:
        if len(desk.requests) == 3:
            await answered.wait()
        return await send(request)

    desk.meddle = slowly
    desk.add("pager").answers = [None]
    await wait_for_a_place(desk)
    await desk.clock.advance(PATIENCE)
    await eventually_async(lambda: len(desk.requests) == 3)
    end(desk, 1)
    await enter(desk, 3)
    answered.set()
    await desk.attempted(1)
    assert slack.calls == []
    end(desk, 2)
    await desk.attempted(2)
    assert (slack.calls, desk.status["phase"]) == ([PATIENCE], "Sent")


async def test_a_notification_that_is_deleted_while_it_is_held_keeps_nobody_waiting(
    desk: NotificationDesk, slack: Failing
) -> None:
    """Weak point 17."""
    await hold(desk)
    await desk.delete()
    end(desk, 1)
    await enter(desk, 3)
    assert slack.calls == []


async def test_a_held_notification_whose_passes_fail_keeps_nobody_waiting(
    desk: NotificationDesk, slack: Failing
) -> None:
    """It stands at the front of the line, and does not come: a place that comes free is not kept for it."""
    await hold(desk)
    desk.routed = None  # type: ignore[assignment]  # what nobody foresaw: each pass raises
    end(desk, 1)
    await eventually_async(lambda: desk.queue.failures(desk.key) == 1)
    await enter(desk, 3)
    assert slack.calls == []


@pytest.mark.behaviour(14)
async def test_a_notification_that_is_being_deleted_while_its_pass_waits_for_a_place_is_not_sent(
    desk: NotificationDesk, slack: Failing
) -> None:
    """Asked right before the call; `deletionTimestamp`, because somebody else's finalizer holds the object."""
    api = desk.control_plane.api
    await wait_for_a_place(desk)
    api.patch(API_VERSION, KIND, desk.namespace, "one", {"metadata": {"finalizers": ["example.com/hold"]}})
    api.delete(API_VERSION, KIND, desk.namespace, "one")
    try:
        desk.store.observe("MODIFIED", desk.stored())
        end(desk, 1)
        await desk.idle()
        assert (slack.calls, len(desk.requests)) == ([], 2), "Pending and Sending, nothing since"
        await enter(desk, 3)
    finally:
        api.patch(API_VERSION, KIND, desk.namespace, "one", {"metadata": {"finalizers": None}})


async def test_a_notification_that_is_replaced_while_its_pass_waits_for_a_place_is_not_sent_for_the_old_one(
    desk: NotificationDesk, slack: Failing
) -> None:
    await wait_for_a_place(desk)
    old = desk.stored()
    desk.control_plane.api.delete(API_VERSION, KIND, desk.namespace, "one")
    desk.store.observe("DELETED", old)
    desk.create()
    end(desk, 1)
    await desk.attempted(1)
    assert (len(slack.calls), desk.status["phase"]) == (1, "Sent"), "the new one's, and no more"


class Ending:
    """A channel that lets `then` happen while it delivers."""

    def __init__(self, then: Any) -> None:
        self.then = then

    async def deliver(self, message: Message) -> None:
        self.then()


async def test_a_leader_that_was_replaced_in_the_middle_of_a_pass_makes_no_further_call(
    desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Weak point 11: it was stopped during the first call, and does not know yet; what it did is recorded."""
    pager = desk.add("pager")
    pager.answers = [None]
    desk.routed[:] = ["first", "pager"]

    def replaced() -> None:
        desk.may_act = False

    desk.channels.register("first", Ending(replaced))
    desk.create()
    await eventually_async(lambda: desk.status.get("totalAttempts") == 1)
    await desk.clock.advance(10)
    assert pager.calls == []
    assert [a["channel"] for a in desk.status["deliveryAttempts"]] == ["first"]
    desk.may_act = True
    desk.acting_since = desk.clock.now()
    await desk.clock.advance(1)
    await desk.attempted(2)
    assert len(pager.calls) == 1
    assert desk.metrics.get_sample_value(UNKNOWN, {"channel": "pager"}) == 1, "another may have made it meanwhile"
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


@pytest.mark.behaviour(14)
async def test_an_object_that_is_being_deleted_gets_no_further_deliveries_and_no_writes(desk: NotificationDesk) -> None:
    """There, deletionTimestamp is never looked at."""
    api = desk.control_plane.api
    desk.create()
    await desk.attempted(1)
    api.patch(API_VERSION, KIND, desk.namespace, "one", {"metadata": {"finalizers": ["example.com/hold"]}})
    api.delete(API_VERSION, KIND, desk.namespace, "one")
    try:
        desk.store.observe("MODIFIED", api.get(API_VERSION, KIND, desk.namespace, "one"))
        await desk.clock.advance(600)
        await desk.idle()
        assert (desk.channel.calls, len(desk.requests)) == ([0], 3)
        assert desk.queue.due_in(desk.key) is None
    finally:
        api.patch(API_VERSION, KIND, desk.namespace, "one", {"metadata": {"finalizers": None}})


async def test_an_end_that_was_stored_although_its_write_failed_for_us_is_told_once(desk: NotificationDesk) -> None:
    """Weak point 19: there, the audit event of the end is lost if anything fails after the write."""

    async def lose_the_answer(request: Request, send: Send) -> Response:
        answer = await send(request)
        if len(desk.requests) == 3:
            raise TransportError("the answer was lost", may_have_arrived=True)
        return answer

    desk.meddle = lose_the_answer
    desk.channel.answers = [PermanentError("no")]
    desk.create()
    await eventually_async(lambda: desk.queue.failures(desk.key) == 1)
    assert desk.events.of("NotificationFailed") == []
    for _ in range(3):
        desk.store.observe("MODIFIED", desk.control_plane.api.get(API_VERSION, KIND, desk.namespace, "one"))
        desk.queue.add(desk.key)
        await desk.idle()
    assert len(desk.events.of("NotificationFailed")) == 1
    events = [event["event_type"] for event in desk.audit]
    assert events == ["notification.message.failed", "notification.message.escalated"]
    assert len(desk.requests) == 3


async def test_an_end_that_somebody_else_wrote_is_not_told_as_ours(desk: NotificationDesk) -> None:
    async def lose_the_request(request: Request, send: Send) -> Response:
        if len(desk.requests) == 3:
            raise TransportError("no connection", may_have_arrived=True)
        return await send(request)

    desk.meddle = lose_the_request
    desk.channel.answers = [PermanentError("no")]
    desk.create()
    await eventually_async(lambda: desk.queue.failures(desk.key) == 1)
    by_hand = {"status": {"phase": "Failed", "reason": "AllDeliveriesFailed", "message": "ended by hand"}}
    ended = desk.control_plane.api.patch(API_VERSION, KIND, desk.namespace, "one", by_hand, subresource="status")
    desk.store.observe("MODIFIED", ended)
    await desk.idle()
    assert desk.events.of("NotificationFailed") == []
    assert "escalated" not in str(desk.audit)

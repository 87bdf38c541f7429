"""What a pass makes of what changed since the one before: routing, leadership, the CRD, the writer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from scenarios.in_process import Send, Shop
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM

from kubernaut_notification.delivery.announcement import parse_announcement
from kubernaut_runtime.clock import format_time
from kubernaut_status import Request, Response, TransportError
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

UNKNOWN = "kubernaut_notification_delivery_outcome_unknown_total"


def told_unknown(shop: Shop, channel: str = "pager") -> float:
    return shop.metrics.get_sample_value(UNKNOWN, {"channel": channel}) or 0


def announcement(status: dict[str, Any]) -> str:
    return next((c["message"] for c in status.get("conditions", ()) if c["type"] == "Delivering"), "")


def observe(shop: Shop) -> None:
    """Let the controller see the object as it is stored."""
    shop.store.observe("MODIFIED", shop.control_plane.api.get(API_VERSION, KIND, shop.namespace, "one"))


async def test_a_channel_without_room_in_the_announcement_waits_without_a_spin_and_gets_its_turn(
    shop: Shop, ledger: RequestLedger
) -> None:
    """Two keys that do not fit into one condition message: the second channel is called when the first is settled."""
    shop.routed.clear()
    first, second = shop.add("a" * 20_000), shop.add("b" * 20_000)
    first.answers.append(None)
    second.answers = [None]
    shop.create()
    await shop.attempted(1)
    assert shop.queue.due_in(shop.key) == 30
    assert shop.passes <= 5
    assert (len(first.calls), len(second.calls)) == (1, 0), "nothing is sent unannounced"
    await shop.clock.advance(30)
    await shop.attempted(3)
    assert (first.calls, second.calls) == ([0, 30], [30])
    assert shop.status["phase"] == "Sent"
    assert_invariants(ledger, f"{PLURAL}/{shop.namespace}/one", CONTRACT)


async def test_a_crd_that_drops_conditions_makes_no_spin_and_no_unannounced_attempt(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """What a CRD without the field does to a write: it is as if the field had not been sent."""

    async def drop(request: Request, send: Send) -> Response:
        assert isinstance(request.body, dict)
        status = {key: value for key, value in request.body["status"].items() if key != "conditions"}
        return await send(replace(request, body={**request.body, "status": status}))

    shop.meddle = drop
    with caplog.at_level(logging.ERROR):
        shop.create()
        await eventually_async(lambda: shop.queue.failures(shop.key) == 1)
        await shop.idle()
    assert len(shop.requests) == 3, "Pending, Sending, one try to announce; the next after the wait of a failure"
    assert shop.channel.calls == []
    assert "cannot announce" in caplog.text
    assert "update the CRD notificationrequests.kubernaut.ai" in caplog.text


async def test_an_attempt_that_came_due_while_another_process_led_is_told_as_unknown(shop: Shop) -> None:
    """This process announced it, lost the lease before it was due, and leads again."""
    shop.create()
    await shop.attempted(1)
    shop.controller.pause()
    await shop.clock.advance(60)
    shop.acting_since = shop.clock.now()
    shop.controller.resume()
    await shop.attempted(2)
    assert told_unknown(shop) == 1


async def test_an_attempt_that_comes_due_under_the_leader_that_announced_it_is_not(shop: Shop) -> None:
    shop.create()
    await shop.attempted(1)
    await shop.clock.advance(60)
    await shop.attempted(2)
    assert told_unknown(shop) == 0


async def test_a_commit_that_failed_for_us_and_landed_all_the_same_is_not_made_again(
    shop: Shop, ledger: RequestLedger
) -> None:
    """Weak point 5: attempts are announced before they are made, and kept until they are committed."""

    async def lose_the_answer(request: Request, send: Send) -> Response:
        answer = await send(request)
        if len(shop.requests) == 3:
            raise TransportError("the answer was lost", may_have_arrived=True)
        return answer

    shop.meddle = lose_the_answer
    shop.create()
    await eventually_async(lambda: shop.queue.failures(shop.key) == 1)
    announced = announcement(shop.status)
    assert parse_announcement(announced)[0].attempt == 2
    shop.jitter = 0.9
    observe(shop)
    await eventually_async(lambda: shop.queue.failures(shop.key) == 0)
    await shop.idle()
    assert shop.queue.due_in(shop.key) == 30
    assert announcement(shop.status) == announced
    assert shop.channel.calls == [0]
    ledger.assert_requests(f"{PLURAL}/{shop.namespace}/one", {"patch/status": 3}, user_agent=PROGRAM, only=True)


async def test_a_pass_that_is_cut_off_while_one_channel_hangs_repeats_the_other_too_and_tells_of_both(
    shop: Shop, ledger: RequestLedger
) -> None:
    """The window of a repetition lasts until the slowest channel of the pass has ended, as the README says."""
    pager, slow = shop.channel, shop.add("slow")
    pager.answers = slow.answers = [None]
    slow.hangs = True
    shop.create()
    await eventually_async(lambda: pager.calls and slow.calls)
    shop.controller.pause()
    await asyncio.gather(shop.controller.abandon(1), shop.clock.advance(1))
    slow.hangs = False
    shop.controller.resume()
    await shop.attempted(2)
    assert (len(pager.calls), len(slow.calls)) == (2, 2)
    assert told_unknown(shop) == told_unknown(shop, "slow") == 1
    assert shop.status["phase"] == "Sent"
    assert_invariants(ledger, f"{PLURAL}/{shop.namespace}/one", CONTRACT)


GO_FAILED = "slack webhook returned 503 (retryable): busy"


def in_flight(shop: Shop, phase: str, *, ago: float, number: int) -> dict[str, Any]:
    """A status as the Go controller leaves it: `number` failed attempts, the last one `ago` seconds old."""
    now = shop.clock.now()
    attempt = {"channel": "pager", "status": "failed", "error": GO_FAILED, "durationSeconds": 0.012}
    times = [now - timedelta(seconds=ago + 30 * (number - index)) for index in range(1, number + 1)]
    return {
        "phase": phase,
        "reason": "ProcessingDeliveries",
        "message": "Processing delivery channels",
        "queuedAt": format_time(now - timedelta(seconds=600)),
        "processingStartedAt": format_time(now - timedelta(seconds=600)),
        "observedGeneration": 1,
        "deliveryAttempts": [
            {**attempt, "attempt": index, "timestamp": format_time(time)} for index, time in enumerate(times, start=1)
        ],
        "totalAttempts": number,
        "failedDeliveries": 1 if number else 0,
    }


def write_as_go(shop: Shop, status: dict[str, Any]) -> None:
    body = {"status": status}
    shop.control_plane.api.patch(API_VERSION, KIND, shop.namespace, "one", body, subresource="status")
    observe(shop)


async def taken_over(shop: Shop, status: dict[str, Any]) -> None:
    """Let the object be one that the Go controller had in work."""
    shop.controller.pause()
    shop.create()
    write_as_go(shop, status)
    shop.controller.resume()


@pytest.mark.parametrize("phase", ["Sending", "Retrying"])
async def test_an_object_that_the_go_controller_had_in_flight_goes_on_by_the_policy(shop: Shop, phase: str) -> None:
    """No announcement: attempt 3 is announced first, and made 60 s after the end of the second's cut-off second."""
    await taken_over(shop, in_flight(shop, phase, ago=20, number=2))
    await eventually_async(lambda: announcement(shop.status).startswith("pager#3 "))
    await shop.idle()
    assert shop.channel.calls == []
    wait = shop.queue.due_in(shop.key)
    assert wait is not None
    assert 40 <= wait <= 41
    shop.channel.answers = [None]
    await shop.clock.advance(wait)
    await shop.attempted(3)
    status = shop.status
    assert [attempt["attempt"] for attempt in status["deliveryAttempts"]] == [1, 2, 3]
    assert (status["phase"], status["successfulDeliveries"], status.get("failedDeliveries", 0)) == ("Sent", 1, 0)
    assert told_unknown(shop) == 0


async def test_an_object_that_the_go_controller_left_just_short_of_its_end_is_ended_without_a_call(shop: Shop) -> None:
    """It sees the end one pass late; the last attempt is recorded and the phase is not."""
    await taken_over(shop, in_flight(shop, "Sending", ago=20, number=5))
    await eventually_async(lambda: shop.status["phase"] == "Failed")
    assert shop.channel.calls == []
    assert shop.status["reason"] == "MaxRetriesExhausted"


async def test_attempts_that_the_go_controller_made_after_a_rollback_make_our_announcement_stale(shop: Shop) -> None:
    """Ours announced attempt 2, the Go controller 2 and 3 and left the condition; now it is ours again."""
    shop.create()
    await shop.attempted(1)
    shop.controller.pause()
    await shop.clock.advance(120)
    status = in_flight(shop, "Sending", ago=10, number=3)
    write_as_go(shop, {name: status[name] for name in ("deliveryAttempts", "totalAttempts", "failedDeliveries")})
    assert announcement(shop.status).startswith("pager#2 ")
    shop.controller.resume()
    await eventually_async(lambda: announcement(shop.status).startswith("pager#4 "))
    await shop.idle()
    assert shop.channel.calls == [0], "the stale announcement, long due, is not made"
    wait = shop.queue.due_in(shop.key)
    assert wait is not None
    assert 110 <= wait <= 111

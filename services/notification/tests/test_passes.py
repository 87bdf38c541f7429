"""What a pass makes of what changed since the one before: routing, leadership, the CRD, the writer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from scenarios.in_process import Send
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM
from scenarios.notification_in_process import NotificationDesk

from kubernaut_notification.delivery.announcement import parse_announcement
from kubernaut_runtime.clock import format_time
from kubernaut_status import Request, Response, TransportError
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

UNKNOWN = "kubernaut_notification_delivery_outcome_unknown_total"


def told_unknown(desk: NotificationDesk, channel: str = "pager") -> float:
    return desk.metrics.get_sample_value(UNKNOWN, {"channel": channel}) or 0


def announcement(status: dict[str, Any]) -> str:
    return next((c["message"] for c in status.get("conditions", ()) if c["type"] == "Delivering"), "")


def observe(desk: NotificationDesk) -> None:
    """Let the controller see the object as it is stored."""
    desk.store.observe("MODIFIED", desk.control_plane.api.get(API_VERSION, KIND, desk.namespace, "one"))


async def test_a_channel_without_room_in_the_announcement_waits_without_a_spin_and_gets_its_turn(
    desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Two keys that do not fit into one condition message: the second channel is called when the first is settled."""
    desk.routed.clear()
    first, second = desk.add("a" * 20_000), desk.add("b" * 20_000)
    first.answers.append(None)
    second.answers = [None]
    desk.create()
    await desk.attempted(1)
    assert desk.queue.due_in(desk.key) == 30
    assert desk.passes <= 5
    assert (len(first.calls), len(second.calls)) == (1, 0), "nothing is sent unannounced"
    await desk.clock.advance(30)
    await desk.attempted(3)
    assert (first.calls, second.calls) == ([0, 30], [30])
    assert desk.status["phase"] == "Sent"
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


async def test_a_crd_that_drops_conditions_makes_no_spin_and_no_unannounced_attempt(
    desk: NotificationDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """What a CRD without the field does to a write: it is as if the field had not been sent."""

    async def drop(request: Request, send: Send) -> Response:
        assert isinstance(request.body, dict)
        status = {key: value for key, value in request.body["status"].items() if key != "conditions"}
        return await send(replace(request, body={**request.body, "status": status}))

    desk.meddle = drop
    with caplog.at_level(logging.ERROR):
        desk.create()
        await eventually_async(lambda: desk.queue.failures(desk.key) == 1)
        await desk.idle()
    assert len(desk.requests) == 3, "Pending, Sending, one try to announce; the next after the wait of a failure"
    assert desk.channel.calls == []
    assert "cannot announce" in caplog.text
    assert "update the CRD notificationrequests.kubernaut.ai" in caplog.text


async def test_an_attempt_that_came_due_while_another_process_led_is_told_as_unknown(desk: NotificationDesk) -> None:
    """This process announced it, lost the lease before it was due, and leads again."""
    desk.create()
    await desk.attempted(1)
    desk.controller.pause()
    await desk.clock.advance(60)
    desk.acting_since = desk.clock.now()
    desk.controller.resume()
    await desk.attempted(2)
    assert told_unknown(desk) == 1


async def test_an_attempt_that_comes_due_under_the_leader_that_announced_it_is_not(desk: NotificationDesk) -> None:
    desk.create()
    await desk.attempted(1)
    await desk.clock.advance(60)
    await desk.attempted(2)
    assert told_unknown(desk) == 0


async def test_a_commit_that_failed_for_us_and_landed_all_the_same_is_not_made_again(
    desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Weak point 5: attempts are announced before they are made, and kept until they are committed."""

    async def lose_the_answer(request: Request, send: Send) -> Response:
        answer = await send(request)
        if len(desk.requests) == 3:
            raise TransportError("the answer was lost", may_have_arrived=True)
        return answer

    desk.meddle = lose_the_answer
    desk.create()
    await eventually_async(lambda: desk.queue.failures(desk.key) == 1)
    announced = announcement(desk.status)
    assert parse_announcement(announced)[0].attempt == 2
    desk.jitter = 0.9
    observe(desk)
    await eventually_async(lambda: desk.queue.failures(desk.key) == 0)
    await desk.idle()
    assert desk.queue.due_in(desk.key) == 30
    assert announcement(desk.status) == announced
    assert desk.channel.calls == [0]
    ledger.assert_requests(f"{PLURAL}/{desk.namespace}/one", {"patch/status": 3}, user_agent=PROGRAM, only=True)


async def test_a_pass_that_is_cut_off_while_one_channel_hangs_repeats_the_other_too_and_tells_of_both(
    desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """The window of a repetition lasts until the slowest channel of the pass has ended, as the README says."""
    pager, slow = desk.channel, desk.add("slow")
    pager.answers = slow.answers = [None]
    slow.hangs = True
    desk.create()
    await eventually_async(lambda: pager.calls and slow.calls)
    desk.controller.pause()
    await asyncio.gather(desk.controller.abandon(1), desk.clock.advance(1))
    slow.hangs = False
    desk.controller.resume()
    await desk.attempted(2)
    assert (len(pager.calls), len(slow.calls)) == (2, 2)
    assert told_unknown(desk) == told_unknown(desk, "slow") == 1
    assert desk.status["phase"] == "Sent"
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


GO_FAILED = "slack webhook returned 503 (retryable): busy"


def in_flight(desk: NotificationDesk, phase: str, *, ago: float, number: int) -> dict[str, Any]:
    """A status as the Go controller leaves it: `number` failed attempts, the last one `ago` seconds old."""
    now = desk.clock.now()
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


def write_as_go(desk: NotificationDesk, status: dict[str, Any]) -> None:
    body = {"status": status}
    desk.control_plane.api.patch(API_VERSION, KIND, desk.namespace, "one", body, subresource="status")
    observe(desk)


async def taken_over(desk: NotificationDesk, status: dict[str, Any]) -> None:
    """Let the object be one that the Go controller had in work."""
    desk.controller.pause()
    desk.create()
    write_as_go(desk, status)
    desk.controller.resume()


@pytest.mark.parametrize("phase", ["Sending", "Retrying"])
async def test_an_object_that_the_go_controller_had_in_flight_goes_on_by_the_policy(
    desk: NotificationDesk, phase: str
) -> None:
    """No announcement: attempt 3 is announced first, and made 60 s after the end of the second's cut-off second."""
    await taken_over(desk, in_flight(desk, phase, ago=20, number=2))
    await eventually_async(lambda: announcement(desk.status).startswith("pager#3 "))
    await desk.idle()
    assert desk.channel.calls == []
    wait = desk.queue.due_in(desk.key)
    assert wait is not None
    assert 40 <= wait <= 41
    desk.channel.answers = [None]
    await desk.clock.advance(wait)
    await desk.attempted(3)
    status = desk.status
    assert [attempt["attempt"] for attempt in status["deliveryAttempts"]] == [1, 2, 3]
    assert (status["phase"], status["successfulDeliveries"], status.get("failedDeliveries", 0)) == ("Sent", 1, 0)
    assert told_unknown(desk) == 0


async def test_an_object_that_the_go_controller_left_just_short_of_its_end_is_ended_without_a_call(
    desk: NotificationDesk,
) -> None:
    """It sees the end one pass late; the last attempt is recorded and the phase is not."""
    await taken_over(desk, in_flight(desk, "Sending", ago=20, number=5))
    await eventually_async(lambda: desk.status["phase"] == "Failed")
    assert desk.channel.calls == []
    assert desk.status["reason"] == "MaxRetriesExhausted"


async def test_attempts_that_the_go_controller_made_after_a_rollback_make_our_announcement_stale(
    desk: NotificationDesk,
) -> None:
    """Ours announced attempt 2, the Go controller 2 and 3 and left the condition; now it is ours again."""
    desk.create()
    await desk.attempted(1)
    desk.controller.pause()
    await desk.clock.advance(120)
    status = in_flight(desk, "Sending", ago=10, number=3)
    write_as_go(desk, {name: status[name] for name in ("deliveryAttempts", "totalAttempts", "failedDeliveries")})
    assert announcement(desk.status).startswith("pager#2 ")
    desk.controller.resume()
    await eventually_async(lambda: announcement(desk.status).startswith("pager#4 "))
    await desk.idle()
    assert desk.channel.calls == [0], "the stale announcement, long due, is not made"
    wait = desk.queue.due_in(desk.key)
    assert wait is not None
    assert 110 <= wait <= 111


async def test_a_notification_that_is_deleted_while_it_waits_is_no_longer_counted(desk: NotificationDesk) -> None:
    """Else its age would be told as that of the oldest unfinished one, for ever."""
    desk.create()
    await desk.attempted(1)
    assert desk.counted("kubernaut_notification_reconciler_active", "phase") == {"Sending": 1}
    await desk.delete()
    assert desk.counted("kubernaut_notification_reconciler_active", "phase") == {}

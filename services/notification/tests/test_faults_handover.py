"""What a predecessor announced stays in doubt until it is made, however long that is put off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scenarios.notification import CONTRACT, PLURAL
from scenarios.notification_in_process import Failing, NotificationDesk

from kubernaut_notification.delivery.lanes import PATIENCE
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime import Priority
from kubernaut_status import ObjectKey
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

SLACK = "slack:a"


def told(desk: NotificationDesk) -> list[str]:
    """The channels of which Events told that an attempt's outcome is unknown."""
    return [text.split()[4] for text in desk.events.of("DeliveryOutcomeUnknown")]


async def announced_by_a_predecessor(desk: NotificationDesk) -> None:
    """The first attempts are announced; then another process leads for a minute, and may have made them."""
    send, paused = desk.meddle, asyncio.Event()

    async def stop_after_announcing(request: Any, inner: Any) -> Any:
        answer = await send(request, inner)
        if len(desk.requests) == 2:
            desk.controller.pause()
            paused.set()
        return answer

    desk.meddle = stop_after_announcing
    desk.create()
    await asyncio.wait_for(paused.wait(), 10)
    await eventually_async(lambda: not desk.queue.working)
    assert desk.status["phase"] == "Sending"
    await desk.clock.advance(60)
    desk.acting_since = desk.clock.now()


@pytest.mark.parametrize("jump", [0, 3600], ids=["steady", "clock-set"])
async def test_an_inherited_attempt_that_a_busy_receiver_puts_off_is_still_told_when_it_is_made(
    jump: int, desk: NotificationDesk, ledger: RequestLedger
) -> None:
    """Another channel's result is recorded first, with a write that announces the inherited attempt once more."""
    desk.routed.clear()
    slack: Failing = desk.add(SLACK)
    pager: Failing = desk.add("pager-2")
    slack.answers = pager.answers = [None]
    others = [ObjectKey("ns", f"other-{number}") for number in (1, 2)]
    for other in others:
        assert await desk.lanes.enter(other, Priority.MEDIUM, SLACK)
    await announced_by_a_predecessor(desk)
    desk.controller.resume()
    await eventually_async(lambda: pager.calls)
    desk.clock.jump(jump)
    await desk.clock.advance(PATIENCE)
    await desk.attempted(1)
    assert told(desk) == ["pager-2"], "Slack is held: nothing of it is made again yet"
    now = desk.clock.now()
    desk.lanes.ended(others[0], Attempt.success(SLACK, 1, now, now, 0))
    await desk.clock.advance(30)
    await desk.attempted(2)
    assert len(slack.calls) == 1
    assert told(desk) == ["pager-2", SLACK]
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)


async def test_the_next_attempt_of_the_same_channel_is_in_no_doubt(desk: NotificationDesk) -> None:
    """It was announced by this process, and nobody else has had the chance to make it."""
    await announced_by_a_predecessor(desk)
    desk.controller.resume()
    await desk.attempted(1)
    await desk.clock.advance(30)
    await desk.attempted(2)
    assert told(desk) == ["pager"]

"""What a predecessor announced stays in doubt until it is made, however long that is put off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scenarios.in_process import Failing, Shop
from scenarios.notification import CONTRACT, PLURAL

from kubernaut_notification.delivery.lanes import PATIENCE
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime import Priority
from kubernaut_status import ObjectKey
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

SLACK = "slack:a"


def told(shop: Shop) -> list[str]:
    """The channels of which Events told that an attempt's outcome is unknown."""
    return [text.split()[4] for text in shop.events.of("DeliveryOutcomeUnknown")]


async def announced_by_a_predecessor(shop: Shop) -> None:
    """The first attempts are announced; then another process leads for a minute, and may have made them."""
    send, paused = shop.meddle, asyncio.Event()

    async def stop_after_announcing(request: Any, inner: Any) -> Any:
        answer = await send(request, inner)
        if len(shop.requests) == 2:
            shop.controller.pause()
            paused.set()
        return answer

    shop.meddle = stop_after_announcing
    shop.create()
    await asyncio.wait_for(paused.wait(), 10)
    await eventually_async(lambda: not shop.queue.working)
    assert shop.status["phase"] == "Sending"
    await shop.clock.advance(60)
    shop.acting_since = shop.clock.now()


@pytest.mark.parametrize("jump", [0, 3600], ids=["steady", "clock-set"])
async def test_an_inherited_attempt_that_a_busy_receiver_puts_off_is_still_told_when_it_is_made(
    jump: int, shop: Shop, ledger: RequestLedger
) -> None:
    """Another channel's result is recorded first, with a write that announces the inherited attempt once more."""
    shop.routed.clear()
    slack: Failing = shop.add(SLACK)
    pager: Failing = shop.add("pager-2")
    slack.answers = pager.answers = [None]
    others = [ObjectKey("ns", f"other-{number}") for number in (1, 2)]
    for other in others:
        assert await shop.lanes.enter(other, Priority.MEDIUM, SLACK)
    await announced_by_a_predecessor(shop)
    shop.controller.resume()
    await eventually_async(lambda: pager.calls)
    shop.clock.jump(jump)
    await shop.clock.advance(PATIENCE)
    await shop.attempted(1)
    assert told(shop) == ["pager-2"], "Slack is held: nothing of it is made again yet"
    now = shop.clock.now()
    shop.lanes.ended(others[0], Attempt.success(SLACK, 1, now, now, 0))
    await shop.clock.advance(30)
    await shop.attempted(2)
    assert len(slack.calls) == 1
    assert told(shop) == ["pager-2", SLACK]
    assert_invariants(ledger, f"{PLURAL}/{shop.namespace}/one", CONTRACT)


async def test_the_next_attempt_of_the_same_channel_is_in_no_doubt(shop: Shop) -> None:
    """It was announced by this process, and nobody else has had the chance to make it."""
    await announced_by_a_predecessor(shop)
    shop.controller.resume()
    await shop.attempted(1)
    await shop.clock.advance(30)
    await shop.attempted(2)
    assert told(shop) == ["pager"]

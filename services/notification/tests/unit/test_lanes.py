from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubernaut_notification.delivery.breaker import BreakerSettings, State
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.lanes import AGE, ASK_AGAIN, PATIENCE, Lanes
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime import Priority
from kubernaut_status import ObjectKey
from kubernaut_testing.clock import FakeClock

CRITICAL, MEDIUM, LOW = Priority.CRITICAL, Priority.MEDIUM, Priority.LOW
BUSY = RetryableError("busy")


class Shop:
    """Lanes with two places each; `woken` are those that were told to come, in order and once each.

    `let_in` are those that waited in their passes and were let in.
    """

    def __init__(self, now: datetime, places: int = 2) -> None:
        self.now = now
        self.clock = FakeClock(now)
        self.woken: list[str] = []
        self.let_in: list[str] = []
        self.lanes = Lanes(BreakerSettings(), places, self.clock, self._wake)

    def _wake(self, who: ObjectKey) -> None:
        if who.name not in self.woken:
            self.woken.append(who.name)

    async def ask(self, name: str, *channels: str, urgency: Priority = MEDIUM) -> list[str]:
        """The channels that let the notification in at once; for the others its pass waits as long as it does."""
        wanted = channels or ("slack:a",)
        self.lanes.settle(key(name), but=wanted)
        asked = {channel: asyncio.create_task(self.lanes.enter(key(name), urgency, channel)) for channel in wanted}
        await settle()
        for task in asked.values():
            if not task.done():
                task.add_done_callback(partial(self._waited, name))
        if all(task.done() for task in asked.values()):
            self.lanes.back(key(name))
        return [channel for channel, task in asked.items() if task.done() and task.result()]

    def _waited(self, name: str, task: asyncio.Task[bool]) -> None:
        if not task.cancelled() and task.result():
            self.let_in.append(name)
        self.lanes.back(key(name))

    async def hold(self, *names: str, urgency: Priority = MEDIUM) -> None:
        """Let notifications ask in vain until their patience ends."""
        for name in names:
            assert await self.ask(name, urgency=urgency) == []
        await self.clock.advance(PATIENCE)

    async def end(self, name: str, error: DeliveryError | None = None, channel: str = "slack:a") -> None:
        self.lanes.ended(key(name), result(self.now, error, channel))
        await settle()

    async def fail(self, times: int = 3, error: DeliveryError = BUSY, channel: str = "slack:a") -> None:
        for number in range(times):
            assert await self.ask(f"failing-{number}", channel) == [channel]
            await self.end(f"failing-{number}", error, channel)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def key(name: str) -> ObjectKey:
    return ObjectKey("ns", name)


def result(now: datetime, error: DeliveryError | None, channel: str) -> Attempt:
    if error is None:
        return Attempt.success(channel, 1, now, now, 0)
    return Attempt.failure(channel, 1, now, now, 0, error)


@pytest.fixture
def shop(now: datetime) -> Shop:
    return Shop(now)


async def test_no_more_calls_than_places_and_a_pass_that_waits_gets_the_next_one(shop: Shop) -> None:
    """Weak point 9: a receiver has a bounded number of calls."""
    assert [await shop.ask(name) for name in "abcd"] == [["slack:a"], ["slack:a"], [], []]
    await shop.end("a")
    assert shop.let_in == ["c"]
    await shop.end("b", BUSY)
    assert shop.let_in == ["c", "d"]
    assert await shop.ask("e") == []
    assert shop.woken == []


async def test_who_waited_in_vain_is_held_and_woken_for_the_next_place_which_nobody_else_gets(shop: Shop) -> None:
    for name in "ab":
        await shop.ask(name)
    await shop.hold("c", "d")
    assert [shop.lanes.wait(key(name), "slack:a") for name in "acd"] == [0, ASK_AGAIN, ASK_AGAIN]
    await shop.end("a")
    assert shop.woken == ["c"]
    assert await shop.ask("d") == [], "the place is for who came first"
    assert await shop.ask("c") == ["slack:a"]


async def test_who_waits_is_told_when_the_breaker_opens(shop: Shop) -> None:
    await shop.fail(1)
    for name in "abc":
        await shop.ask(name)
    await shop.end("a", BUSY)
    assert shop.let_in == ["c"]
    await shop.ask("d")
    await shop.end("b", BUSY)
    assert shop.let_in == ["c"]
    assert shop.lanes.wait(key("d"), "slack:a") == 30


async def test_receivers_have_places_of_their_own_and_what_is_not_remote_needs_none(shop: Shop) -> None:
    assert await shop.ask("a", "slack:a", "slack:b", "console") == ["slack:a", "slack:b", "console"]
    assert await shop.ask("b", "slack:a", "console", "file", "log") == ["slack:a", "console", "file", "log"]
    assert await shop.ask("c", "slack:a", "slack:b", "console") == ["slack:b", "console"]


async def test_the_more_urgent_stands_further_in_front(shop: Shop) -> None:
    """Weak point 21."""
    for name in "ab":
        await shop.ask(name)
    for name, urgency in (("low", LOW), ("medium", MEDIUM), ("critical", CRITICAL)):
        assert await shop.ask(name, urgency=urgency) == []
    await shop.end("a")
    await shop.end("b")
    assert shop.let_in == ["critical", "medium"]


async def test_waiting_makes_up_for_urgency(shop: Shop) -> None:
    for name in "ab":
        await shop.ask(name)
    await shop.hold("low", urgency=LOW)
    await shop.clock.advance(3 * AGE - PATIENCE + 1)
    await shop.ask("critical", urgency=CRITICAL)
    await shop.end("a")
    assert shop.woken == ["low"]


@pytest.mark.behaviour(86)
async def test_an_open_breaker_lets_nobody_in_and_touches_no_other_receiver_of_the_type(shop: Shop) -> None:
    """Weak point 8: a breaker is one receiver's, not one type's."""
    await shop.fail()
    assert await shop.ask("a") == []
    assert shop.lanes.wait(key("a"), "slack:a") == 30
    assert await shop.ask("a", "slack:b") == ["slack:b"]
    assert shop.lanes.opening("slack:a") == (1, "busy")
    assert shop.lanes.opening("slack:b") == (0, "")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (BUSY, State.OPEN),
        (RetryableError("429", 5, reason="rate_limited"), State.OPEN),
        (PermanentError("404", reason="rejected"), State.CLOSED),
        (PermanentError("no credential", reason="credential"), State.CLOSED),
    ],
)
async def test_a_receiver_that_refuses_a_message_is_alive(shop: Shop, error: DeliveryError, state: State) -> None:
    """Weak point 8: a 4xx of one bad message trips no breaker."""
    await shop.fail(3, error)
    assert shop.lanes.states() == {"slack": state}


async def test_a_refused_message_ends_a_row_of_failures_and_one_that_was_never_sent_does_not(shop: Shop) -> None:
    await shop.fail(2)
    await shop.fail(1, PermanentError("404", reason="rejected"))
    await shop.fail(2)
    await shop.fail(1, PermanentError("no credential", reason="credential"))
    assert shop.lanes.states() == {"slack": State.CLOSED}
    await shop.fail(1)
    assert shop.lanes.states() == {"slack": State.OPEN}


async def test_half_open_two_may_try_at_once_and_all_others_wait_for_what_they_find(now: datetime) -> None:
    shop = Shop(now, places=5)
    await shop.fail()
    for name in "abcd":
        assert await shop.ask(name) == []
    await shop.clock.advance(30)
    assert [await shop.ask(name) for name in "dcba"] == [[], [], ["slack:a"], ["slack:a"]], "the first in line try"
    assert shop.lanes.wait(key("c"), "slack:a") == ASK_AGAIN
    shop.woken.clear()
    await shop.end("a")
    assert shop.woken == ["c"], "one probe succeeded: one more may try"
    await shop.end("b")
    assert shop.lanes.states() == {"slack": State.CLOSED}
    assert shop.woken == ["c", "d"]


async def test_a_failed_probe_sends_all_away_for_another_period(shop: Shop) -> None:
    await shop.fail()
    await shop.clock.advance(30)
    assert await shop.ask("a") == ["slack:a"]
    await shop.end("a", BUSY)
    assert await shop.ask("b") == []
    assert shop.lanes.wait(key("b"), "slack:a") == 30
    assert shop.woken == []


async def test_a_slow_call_from_before_the_opening_does_not_count_as_a_probe(now: datetime) -> None:
    shop = Shop(now, places=5)
    await shop.ask("slow")
    await shop.fail()
    await shop.clock.advance(30)
    assert [await shop.ask(name) for name in "ab"] == [["slack:a"], ["slack:a"]]
    await shop.end("slow", BUSY)
    assert shop.lanes.states() == {"slack": State.HALF_OPEN}


async def test_who_asks_for_something_else_or_leaves_keeps_nobody_waiting(shop: Shop) -> None:
    for name in "ab":
        await shop.ask(name)
    await shop.hold(*"cdef")
    shop.lanes.leave(key("a"))  # its call was cut off
    assert shop.woken == ["c"]
    assert await shop.ask("c", "slack:b") == ["slack:b"]  # routed elsewhere meanwhile
    assert shop.woken == ["c", "d"]
    shop.lanes.settle(key("d"))  # deleted
    assert shop.woken == ["c", "d", "e"]
    assert await shop.ask("e") == ["slack:a"]


async def test_nobody_waits_for_one_who_is_held_and_whose_pass_is_not_over(shop: Shop) -> None:
    """As when another receiver of it is slow, or its status write takes long."""
    for name in "ab":
        await shop.ask(name)
    await shop.hold("c", "d")
    assert not await shop.lanes.enter(key("c"), MEDIUM, "slack:a")
    await shop.end("a")
    assert shop.woken == ["d"]
    shop.lanes.back(key("c"))
    assert shop.woken == ["d", "c"], "it has kept its spot, and the place is still free"
    assert await shop.ask("d") == []
    assert await shop.ask("c") == ["slack:a"]


async def test_a_pass_that_is_cut_off_while_it_waits_keeps_no_place(shop: Shop) -> None:
    for name in "ab":
        await shop.ask(name)
    waiting = asyncio.create_task(shop.lanes.enter(key("c"), MEDIUM, "slack:a"))
    await settle()
    shop.lanes.leave(key("a"))  # c is let in ...
    waiting.cancel()  # ... and cut off in the same moment
    await settle()
    shop.lanes.leave(key("c"))
    shop.lanes.settle(key("c"))
    assert await shop.ask("d") == ["slack:a"]


async def test_a_call_that_was_cut_off_says_nothing_about_its_receiver(shop: Shop) -> None:
    await shop.fail(2)
    await shop.ask("a")
    shop.lanes.leave(key("a"))
    await shop.fail(1)
    assert shop.lanes.states() == {"slack": State.OPEN}


async def test_lanes_of_receivers_that_routing_no_longer_names_are_forgotten(shop: Shop) -> None:
    await shop.fail()
    await shop.ask("a")
    shop.lanes.keep(["slack:b", "teams:t", "console"])
    assert shop.lanes.states() == {"slack": State.CLOSED, "teams": State.CLOSED}
    assert shop.woken == ["a"], "it may be routed elsewhere now"
    shop.lanes.keep([])
    assert shop.lanes.states() == {}


async def test_the_worst_state_of_a_type_is_shown(shop: Shop) -> None:
    shop.lanes.keep(["slack:a", "slack:b", "pagerduty:p"])
    await shop.fail(channel="slack:b")
    assert shop.lanes.states() == {"slack": State.OPEN, "pagerduty": State.CLOSED}


async def test_who_waits_or_is_held_is_counted_by_channel_type(shop: Shop) -> None:
    shop.lanes.keep(["slack:a", "slack:b", "teams:t", "console"])
    assert shop.lanes.held() == {"slack": 0, "teams": 0}
    for name in "ab":
        await shop.ask(name)
    await shop.hold("c")
    await shop.fail(channel="slack:b")
    await shop.ask("d", "slack:a", "slack:b")
    assert shop.lanes.held() == {"slack": 3, "teams": 0}
    shop.lanes.settle(key("d"))
    await shop.end("a")
    await shop.ask("c")
    assert shop.lanes.held() == {"slack": 0, "teams": 0}


STEPS = ["ask", "end", "fail", "cut", "gone", "time"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), max_size=60))
def test_places_are_never_exceeded_and_whoever_waits_is_let_in_or_woken_while_a_place_is_free(
    steps: list[tuple[str, int]],
) -> None:
    """Who is woken asks again; in the end everybody was let in."""

    async def run() -> None:
        shop = Shop(datetime.fromisoformat("2026-03-01T10:00:00+00:00"))
        inside: set[str] = set()
        asking: dict[str, asyncio.Task[bool]] = {}
        held: set[str] = set()

        def ask(name: str) -> None:
            if name not in inside and name not in asking:
                held.discard(name)
                coroutine = shop.lanes.enter(key(name), Priority(int(name) % 4), "slack:a")
                asking[name] = asyncio.create_task(coroutine)

        async def follow() -> None:
            await settle()
            for name in [name for name, task in asking.items() if task.done()]:
                (inside if asking.pop(name).result() else held).add(name)
                shop.lanes.back(key(name))
            while shop.woken:
                ask(shop.woken.pop(0))
                await follow()

        for step, number in steps:
            name = str(number)
            if step == "ask":
                ask(name)
            elif step == "time":
                await shop.clock.advance(PATIENCE)
            elif step == "gone" and name in held:
                held.discard(name)
                shop.lanes.settle(key(name))
            elif name in inside and step != "gone":
                inside.discard(name)
                if step == "cut":
                    shop.lanes.leave(key(name))
                else:
                    await shop.end(name, PermanentError("no", reason="rejected") if step == "fail" else None)
            await follow()
            assert len(inside) <= 2
            assert not (held or asking) or len(inside) == 2
        for _ in range(20):
            for name in list(inside):
                inside.discard(name)
                await shop.end(name)
                await follow()
        assert (inside, held, asking) == (set(), set(), {})

    asyncio.run(run())

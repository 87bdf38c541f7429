from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubernaut_notification.delivery.announcement import Announced
from kubernaut_notification.delivery.breaker import BreakerSettings, State
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.lanes import AGE, ASK_AGAIN, Lanes
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime import Priority
from kubernaut_status import ObjectKey
from kubernaut_testing.clock import FakeClock

CRITICAL, MEDIUM, LOW = Priority.CRITICAL, Priority.MEDIUM, Priority.LOW
BUSY = RetryableError("busy")


class Shop:
    """Lanes with two places each; `woken` are those that were told to come, in order and once each."""

    def __init__(self, now: datetime, places: int = 2) -> None:
        self.now = now
        self.clock = FakeClock(now)
        self.woken: list[str] = []
        self.lanes = Lanes(BreakerSettings(), places, self.clock, self._wake)

    def _wake(self, who: ObjectKey) -> None:
        if who.name not in self.woken:
            self.woken.append(who.name)

    def ask(self, name: str, *channels: str, urgency: Priority = MEDIUM) -> list[str]:
        """The channels that are let in."""
        due = [Announced(channel, 1, self.now) for channel in channels or ("slack:a",)]
        return [entry.channel for entry in self.lanes.admit(key(name), urgency, due).entered]

    def wait(self, name: str, channel: str = "slack:a") -> float:
        """How long a held one is to wait at most."""
        (held,) = self.lanes.admit(key(name), MEDIUM, [Announced(channel, 1, self.now)]).held
        return held.wait

    def end(self, name: str, error: DeliveryError | None = None, channel: str = "slack:a") -> None:
        self.lanes.ended(key(name), result(self.now, error, channel))

    def fail(self, times: int = 3, error: DeliveryError = BUSY, channel: str = "slack:a") -> None:
        for number in range(times):
            assert self.ask(f"failing-{number}", channel) == [channel]
            self.end(f"failing-{number}", error, channel)


def key(name: str) -> ObjectKey:
    return ObjectKey("ns", name)


def result(now: datetime, error: DeliveryError | None, channel: str) -> Attempt:
    if error is None:
        return Attempt.success(channel, 1, now, now, 0)
    return Attempt.failure(channel, 1, now, now, 0, error)


@pytest.fixture
def shop(now: datetime) -> Shop:
    return Shop(now)


def test_no_more_calls_than_places_and_the_next_in_line_is_woken_when_one_ends(shop: Shop) -> None:
    """Weak point 9: a slow receiver holds a bounded number of notifications."""
    assert [shop.ask(name) for name in "abcd"] == [["slack:a"], ["slack:a"], [], []]
    assert shop.woken == []
    shop.end("a")
    assert shop.woken == ["c"]
    assert shop.ask("d") == [], "the place is for who came first"
    assert shop.ask("c") == ["slack:a"]


def test_receivers_have_places_of_their_own_and_what_is_not_remote_needs_none(shop: Shop) -> None:
    assert shop.ask("a", "slack:a", "slack:b", "console") == ["slack:a", "slack:b", "console"]
    assert shop.ask("b", "slack:a", "console", "file", "log") == ["slack:a", "console", "file", "log"]
    assert shop.ask("c", "slack:a", "slack:b", "console") == ["slack:b", "console"]


def test_the_more_urgent_stands_further_in_front(shop: Shop) -> None:
    for name in "ab":
        shop.ask(name)
    for name, urgency in (("low", LOW), ("medium", MEDIUM), ("critical", CRITICAL)):
        assert shop.ask(name, urgency=urgency) == []
    shop.end("a")
    shop.end("b")
    assert shop.woken == ["critical", "medium"]


async def test_waiting_makes_up_for_urgency(shop: Shop) -> None:
    for name in "ab":
        shop.ask(name)
    shop.ask("low", urgency=LOW)
    await shop.clock.advance(3 * AGE + 1)
    shop.ask("critical", urgency=CRITICAL)
    shop.end("a")
    assert shop.woken == ["low"]


@pytest.mark.behaviour(86)
def test_an_open_breaker_lets_nobody_in_and_touches_no_other_receiver_of_the_type(shop: Shop) -> None:
    """Weak point 8: a breaker is one receiver's, not one type's."""
    shop.fail()
    assert shop.ask("a") == []
    assert shop.wait("a") == 30
    assert shop.ask("a", "slack:b") == ["slack:b"]
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
def test_a_receiver_that_refuses_a_message_is_alive(shop: Shop, error: DeliveryError, state: State) -> None:
    """Weak point 8: a 4xx of one bad message trips no breaker."""
    shop.fail(3, error)
    assert shop.lanes.states() == {"slack": state}


def test_a_refused_message_ends_a_row_of_failures_and_one_that_was_never_sent_does_not(shop: Shop) -> None:
    shop.fail(2)
    shop.fail(1, PermanentError("404", reason="rejected"))
    shop.fail(2)
    shop.fail(1, PermanentError("no credential", reason="credential"))
    assert shop.lanes.states() == {"slack": State.CLOSED}
    shop.fail(1)
    assert shop.lanes.states() == {"slack": State.OPEN}


async def test_half_open_two_may_try_at_once_and_all_others_wait_for_what_they_find(now: datetime) -> None:
    shop = Shop(now, places=5)
    shop.fail()
    for name in "abcd":
        assert shop.ask(name) == []
    await shop.clock.advance(30)
    assert [shop.ask(name) for name in "dcba"] == [[], [], ["slack:a"], ["slack:a"]], "the first in line try"
    assert shop.wait("c") == ASK_AGAIN
    shop.woken.clear()
    shop.end("a")
    assert shop.woken == ["c"], "one probe succeeded: one more may try"
    shop.end("b")
    assert shop.lanes.states() == {"slack": State.CLOSED}
    assert shop.woken == ["c", "d"]


async def test_a_failed_probe_sends_all_away_for_another_period(shop: Shop) -> None:
    shop.fail()
    await shop.clock.advance(30)
    assert shop.ask("a") == ["slack:a"]
    shop.end("a", BUSY)
    assert shop.ask("b") == []
    assert shop.wait("b") == 30
    assert shop.woken == []


async def test_a_slow_call_from_before_the_opening_does_not_count_as_a_probe(now: datetime) -> None:
    shop = Shop(now, places=5)
    shop.ask("slow")
    shop.fail()
    await shop.clock.advance(30)
    assert [shop.ask(name) for name in "ab"] == [["slack:a"], ["slack:a"]]
    shop.end("slow", BUSY)
    assert shop.lanes.states() == {"slack": State.HALF_OPEN}


def test_who_asks_for_something_else_or_leaves_keeps_nobody_waiting(shop: Shop) -> None:
    for name in "abcdef":
        shop.ask(name)
    shop.lanes.leave(key("a"))  # its call was cut off
    assert shop.woken == ["c"]
    assert shop.ask("c", "slack:b") == ["slack:b"]  # routed elsewhere meanwhile
    assert shop.woken == ["c", "d"]
    shop.lanes.withdraw(key("d"))  # deleted
    assert shop.woken == ["c", "d", "e"]
    assert shop.ask("e") == ["slack:a"]


def test_a_call_that_was_cut_off_says_nothing_about_its_receiver(shop: Shop) -> None:
    shop.fail(2)
    shop.ask("a")
    shop.lanes.leave(key("a"))
    shop.fail(1)
    assert shop.lanes.states() == {"slack": State.OPEN}


def test_lanes_of_receivers_that_routing_no_longer_names_are_forgotten(shop: Shop) -> None:
    shop.fail()
    shop.ask("a")
    shop.lanes.keep(["slack:b", "teams:t", "console"])
    assert shop.lanes.states() == {"slack": State.CLOSED, "teams": State.CLOSED}
    assert shop.woken == ["a"], "it may be routed elsewhere now"
    shop.lanes.keep([])
    assert shop.lanes.states() == {}


def test_the_worst_state_of_a_type_is_shown(shop: Shop) -> None:
    shop.lanes.keep(["slack:a", "slack:b", "pagerduty:p"])
    shop.fail(channel="slack:b")
    assert shop.lanes.states() == {"slack": State.OPEN, "pagerduty": State.CLOSED}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ask", "end", "fail", "cut", "withdraw"]), st.integers(0, 7)), max_size=80))
def test_places_are_never_exceeded_and_whoever_waits_is_woken_while_a_place_is_free(
    steps: list[tuple[str, int]],
) -> None:
    """Who is held asks again when woken; in the end everybody was let in."""
    now = datetime.fromisoformat("2026-03-01T10:00:00+00:00")
    shop = Shop(now)
    inside: set[str] = set()
    waiting: set[str] = set()

    def ask(name: str) -> None:
        if name in inside:
            return
        waiting.discard(name)
        (inside if shop.ask(name, urgency=Priority(int(name) % 4)) else waiting).add(name)

    def follow() -> None:
        while shop.woken:
            ask(shop.woken.pop(0))

    for step, number in steps:
        name = str(number)
        if step == "ask":
            ask(name)
        elif step == "withdraw" and name in waiting:
            waiting.discard(name)
            shop.lanes.withdraw(key(name))
        elif name in inside:
            inside.discard(name)
            if step == "cut":
                shop.lanes.leave(key(name))
            else:
                refused = PermanentError("no", reason="rejected")
                shop.end(name, refused if step == "fail" else None)
        follow()
        assert len(inside) <= 2
        assert not waiting or len(inside) == 2
    for _ in range(20):
        for name in list(inside):
            inside.discard(name)
            shop.end(name)
            follow()
    assert not inside
    assert not waiting

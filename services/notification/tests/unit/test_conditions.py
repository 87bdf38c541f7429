from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from kubernaut_api import Condition
from kubernaut_notification.conditions import conditions_for, routing_message
from kubernaut_notification.delivery.announcement import Announced, parse_announcement
from kubernaut_notification.phases import TERMINAL, TRANSITIONS
from kubernaut_notification.routing.router import Resolution

RESOLUTION = Resolution(("sre", "all"), ("slack:sre", "console"), {"type": "Simple", "priority": "High"})
FALLBACK = Resolution(("default-console-fallback",), ("console",), {"type": "Simple"}, fallback=True)


def by_type(conditions: list[Condition]) -> dict[str, Condition]:
    return {condition.type: condition for condition in conditions}


@pytest.mark.behaviour(69)
def test_a_matched_route_names_receivers_attributes_and_channels() -> None:
    """Attributes in the order of their keys, whatever order they come in."""
    assert (
        routing_message(RESOLUTION)
        == "Matched rules [sre, all] (attributes: priority=High, type=Simple) → channels: slack:sre, console"
    )


def test_the_fallback_says_that_nothing_matched() -> None:
    assert routing_message(FALLBACK) == "No routing rules matched (attributes: type=Simple), using console fallback"


def test_no_attributes_are_said_to_be_none() -> None:
    assert (
        routing_message(Resolution(("a",), ("console",), {})) == "Matched rules [a] (no attributes) → channels: console"
    )


def test_the_order_of_attributes_does_not_depend_on_where_they_come_from() -> None:
    """Weak point 4: a random order makes a write of what says nothing new."""
    pairs = [("b", "2"), ("a", "1"), ("c", "3")]
    messages = {routing_message(Resolution(("r",), ("console",), dict(order))) for order in (pairs, pairs[::-1])}
    assert len(messages) == 1


def test_attribute_values_are_redacted_and_on_one_line() -> None:
    text = routing_message(Resolution(("r",), ("console",), {"rootCause": "password=hunter2\nsecond line"}))
    assert "hunter2" not in text
    assert "\n" not in text


def test_a_long_message_keeps_its_channels() -> None:
    attributes = {f"key-{number}": "x" * 300 for number in range(300)}
    text = routing_message(Resolution(("r",), ("slack:r",), attributes))
    assert len(text) <= 32768
    assert text.endswith("→ channels: slack:r")


@pytest.mark.parametrize("phase", [phase for phase in TRANSITIONS if phase])
def test_kstatus_agrees_with_the_phase(phase: str, now: datetime) -> None:
    found = by_type(conditions_for([], phase, generation=1, now=now))
    assert ("Reconciling" in found) is (phase not in TERMINAL)
    assert ("Stalled" in found) is (phase == "Failed")
    ready = found.get("Ready")
    expected = {"Sent": "True", "PartiallySent": "True", "Failed": "False"}.get(phase)
    assert (ready.status if ready else None) == expected


@pytest.mark.behaviour(80)
def test_the_ends_carry_the_contract_texts(now: datetime) -> None:
    texts = {
        phase: (ready.status, ready.reason, ready.message)
        for phase in ("Sent", "PartiallySent", "Failed")
        for ready in [by_type(conditions_for([], phase, generation=1, now=now))["Ready"]]
    }
    assert texts == {
        "Sent": ("True", "Ready", "Notification delivered"),
        "PartiallySent": ("True", "Ready", "Notification partially delivered"),
        "Failed": ("False", "NotReady", "Notification delivery failed"),
    }


def test_routing_reasons_tell_a_match_from_the_fallback(now: datetime) -> None:
    for resolution, reason in ((RESOLUTION, "RoutingRuleMatched"), (FALLBACK, "RoutingFallback")):
        found = by_type(conditions_for([], "Sending", generation=1, now=now, resolution=resolution))
        assert (found["RoutingResolved"].status, found["RoutingResolved"].reason) == ("True", reason)


def test_announcements_can_be_read_back_from_the_condition(now: datetime) -> None:
    announced = [Announced("slack:sre", 1, now), Announced("console", 1, now)]
    found = by_type(conditions_for([], "Sending", generation=1, now=now, announced=announced))["Delivering"]
    assert (found.status, found.reason) == ("True", "AttemptAnnounced")
    assert parse_announcement(found.message) == announced


def test_a_scheduled_retry_has_a_reason_of_its_own(now: datetime) -> None:
    announced = [Announced("slack:sre", 2, now + timedelta(seconds=30))]
    found = by_type(conditions_for([], "Retrying", generation=1, now=now, announced=announced))
    assert found["Delivering"].reason == "RetryScheduled"


def test_the_end_removes_announcement_and_progress_but_keeps_the_routing(now: datetime) -> None:
    announced = [Announced("console", 1, now)]
    before = conditions_for([], "Sending", generation=1, now=now, resolution=RESOLUTION, announced=announced)
    after = conditions_for(before, "Sent", generation=1, now=now, announced=announced)
    assert [condition.type for condition in after] == ["RoutingResolved", "Ready"]


def test_conditions_of_others_stay(now: datetime) -> None:
    foreign = Condition(type="example.com/Seen", status="True", reason="X", message="", last_transition_time=now)
    assert foreign in conditions_for([foreign], "Failed", generation=1, now=now)


def test_what_does_not_flip_keeps_its_transition_time(now: datetime) -> None:
    later = now + timedelta(minutes=5)
    before = conditions_for([], "Sending", generation=1, now=now, resolution=RESOLUTION)
    after = by_type(conditions_for(before, "Retrying", generation=1, now=later, resolution=FALLBACK))
    assert after["RoutingResolved"].last_transition_time == now
    assert after["Reconciling"].last_transition_time == now
    assert after["Reconciling"].reason == "Retrying"


def test_the_same_facts_give_the_same_bytes(now: datetime) -> None:
    announced = [Announced("console", 1, now)]
    first = conditions_for([], "Sending", generation=1, now=now, resolution=RESOLUTION, announced=announced)
    again = conditions_for(
        first, "Sending", generation=1, now=now + timedelta(hours=1), resolution=RESOLUTION, announced=announced
    )
    assert [c.to_wire() for c in again] == [c.to_wire() for c in first]


def test_every_condition_carries_the_generation(now: datetime) -> None:
    announced = [Announced("console", 1, now)]
    made = conditions_for([], "Sending", generation=7, now=now, resolution=RESOLUTION, announced=announced)
    assert {condition.observed_generation for condition in made} == {7}
    assert len(made) == 3

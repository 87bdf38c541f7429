from __future__ import annotations

from typing import Any

import pytest

from kubernaut_notification.priority import urgency_of
from kubernaut_runtime import WorkQueue
from kubernaut_runtime.queue import LOW
from kubernaut_status import ObjectKey
from kubernaut_testing.clock import FakeClock


def stored(priority: str = "Medium", phase: str = "") -> dict[str, Any]:
    return {"spec": {"priority": priority}, "status": {"phase": phase}}


async def order(objects: dict[str, dict[str, Any]], listed: set[str]) -> list[str]:
    """The order in which a queue gives the objects, which come in the order of the mapping."""
    queue = WorkQueue(clock=FakeClock(), priority=lambda key: urgency_of(objects[key.name]))
    for name in objects:
        queue.add(ObjectKey("ns", name), *([LOW] if name in listed else []))
    return [(await queue.get()).name for _ in objects]


@pytest.mark.behaviour(10, 11)
async def test_the_more_urgent_notification_is_worked_on_first() -> None:
    """Weak point 9, weak point 21: there, the priority changes texts and nothing else."""
    objects = {name: stored(name) for name in ("Low", "Medium", "High", "Critical")}
    assert await order(objects, set()) == ["Critical", "High", "Medium", "Low"]


async def test_after_a_restart_what_is_unfinished_and_urgent_goes_before_what_has_ended() -> None:
    objects = {
        "ended": stored("Critical", "Sent"),
        "failed": stored("Critical", "Failed"),
        "low": stored("Low", "Sending"),
        "critical": stored("Critical", "Retrying"),
        "fresh": stored("Low"),
    }
    assert await order(objects, {"ended", "failed", "low", "critical"}) == [
        "critical",
        "fresh",
        "ended",
        "failed",
        "low",
    ]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"spec": None},
        {"spec": {}, "status": None},
        {"spec": {"priority": 7}},
        {"spec": {}, "status": {"phase": []}},
    ],
)
def test_an_object_of_whatever_form_has_an_urgency(broken: dict[str, Any]) -> None:
    assert urgency_of(broken) == urgency_of(stored("Medium"))

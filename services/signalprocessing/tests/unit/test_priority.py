from __future__ import annotations

from typing import Any

import pytest

from kubernaut_runtime import WorkQueue
from kubernaut_runtime.queue import LOW
from kubernaut_signalprocessing.phases import COMPLETED
from kubernaut_signalprocessing.priority import urgency_of
from kubernaut_status import ObjectKey
from kubernaut_testing.clock import FakeClock

WAY = ("", "Pending", "Enriching", "Classifying", "Categorizing", COMPLETED)


async def passes(signals: int) -> list[str]:
    """Whose pass comes when, with one worker, until all are completed; they all come at once."""
    phases = {f"s{number}": "" for number in range(signals)}
    queue = WorkQueue(clock=FakeClock(), priority=lambda key: urgency_of({"status": {"phase": phases[key.name]}}))
    for name in phases:
        queue.add(ObjectKey("ns", name))
    made = []
    while set(phases.values()) != {COMPLETED}:
        key = await queue.get()
        made.append(key.name)
        phases[key.name] = WAY[WAY.index(phases[key.name]) + 1]
        if phases[key.name] != COMPLETED:
            queue.add(key)
        queue.done(key)
    return made


async def test_signals_of_a_storm_are_completed_one_after_another_and_not_all_at_its_end() -> None:
    """Median and last of the passes that complete a signal: about half of them all, and the very last."""
    made = await passes(40)
    ends = sorted(len(made) - 1 - made[::-1].index(name) for name in set(made))
    assert len(made) == 5 * 40
    assert ends[-1] == len(made) - 1
    assert ends[20] < 0.7 * len(made)


async def test_after_a_restart_what_was_begun_goes_before_what_is_new_and_both_before_what_has_ended() -> None:
    phases = {"ended": "Completed", "failed": "Failed", "new": "", "begun": "Classifying"}
    queue = WorkQueue(clock=FakeClock(), priority=lambda key: urgency_of({"status": {"phase": phases[key.name]}}))
    for name in phases:
        queue.add(ObjectKey("ns", name), LOW)
    assert [(await queue.get()).name for _ in phases] == ["begun", "new", "ended", "failed"]


@pytest.mark.parametrize("broken", [{}, {"status": None}, {"status": {}}, {"status": {"phase": ["a"]}}, {"status": 7}])
def test_an_object_of_whatever_form_has_an_urgency(broken: dict[str, Any]) -> None:
    urgency_of(broken)

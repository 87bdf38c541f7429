"""Histories are compared by what lasts, and each difference must be explained."""

from __future__ import annotations

from collections import Counter

import pytest

from kubernaut_testing.histories import History, assert_same_history, differences

PHASES = ("", "Pending", "Sending", "Retrying", "Sent")
ONE, TWO = ("slack", 1), ("slack", 2)
REFERENCE = History(PHASES, ((ONE, False), (TWO, True)), Counter([TWO]))


def test_equal_histories_have_no_difference() -> None:
    again = History(PHASES, ((TWO, True), (ONE, False)), Counter([TWO]))
    assert differences(REFERENCE, again) == []
    assert_same_history(REFERENCE, again)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (History(("", "Pending", "Sent"), REFERENCE.attempts, REFERENCE.effects), "phases: "),
        (History(PHASES, ((ONE, True),), REFERENCE.effects), "attempts: "),
        (History(PHASES, ((ONE, False), (TWO, False)), REFERENCE.effects), "attempts: "),
        (History(PHASES, (*REFERENCE.attempts, (TWO, True)), REFERENCE.effects), "attempts: "),
        (History(PHASES, REFERENCE.attempts, Counter([TWO, TWO])), "effect ('slack', 2) took place 2 times"),
        (History(PHASES, REFERENCE.attempts, Counter()), "effect ('slack', 2) took place 0 times"),
    ],
)
def test_what_differs_is_told(found: History, told: str) -> None:
    (line,) = differences(REFERENCE, found)
    assert line.startswith(told)
    with pytest.raises(AssertionError, match="differs from that of the run without a fault"):
        assert_same_history(REFERENCE, found)


def test_what_the_fault_explains_is_no_difference() -> None:
    repeated = History(PHASES, REFERENCE.attempts, Counter([TWO, TWO]))
    assert differences(REFERENCE, repeated, repeated=[TWO]) == []
    shorter = History(("", "Pending", "Sending", "Sent"), ((TWO, True),), Counter([TWO]))
    assert differences(REFERENCE, shorter, optional=["Retrying", ONE]) == []


def test_a_repetition_that_is_allowed_excuses_no_loss() -> None:
    assert differences(REFERENCE, History(PHASES, REFERENCE.attempts, Counter()), repeated=[TWO]) != []


def test_effects_are_compared_only_where_both_sides_know_them() -> None:
    assert differences(REFERENCE, History(PHASES, REFERENCE.attempts)) == []

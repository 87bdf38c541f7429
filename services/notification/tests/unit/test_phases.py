from __future__ import annotations

import pytest
from scenarios.in_memory import assert_only_legal

from kubernaut_notification.phases import PHASES, TERMINAL, TRANSITIONS

LEGAL = {
    ("", "Pending"),
    ("Pending", "Sending"),
    ("Pending", "Failed"),
    *((start, end) for start in ("Sending", "Retrying") for end in ("Sent", "Retrying", "PartiallySent", "Failed")),
}


@pytest.mark.behaviour(8)
def test_exactly_the_legal_edges_are_allowed() -> None:
    assert_only_legal(PHASES, TRANSITIONS, LEGAL)


def test_staying_is_no_transition() -> None:
    PHASES.check({"phase": "Sending"}, {"phase": "Sending", "totalAttempts": 1})


def test_terminal_phases_have_no_way_out() -> None:
    assert {"Sent", "PartiallySent", "Failed"} == TERMINAL
    assert all(not TRANSITIONS[phase] for phase in TERMINAL)

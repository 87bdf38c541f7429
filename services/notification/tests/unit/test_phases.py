from __future__ import annotations

import pytest

from kubernaut_notification.phases import PHASES, TERMINAL, TRANSITIONS
from kubernaut_status import InvalidTransitionError

LEGAL = {
    ("", "Pending"),
    ("Pending", "Sending"),
    ("Pending", "Failed"),
    *((start, end) for start in ("Sending", "Retrying") for end in ("Sent", "Retrying", "PartiallySent", "Failed")),
}
EVERY = [*TRANSITIONS]


@pytest.mark.behaviour(8)
@pytest.mark.parametrize("start", EVERY)
@pytest.mark.parametrize("end", EVERY[1:])
def test_exactly_the_legal_edges_are_allowed(start: str, end: str) -> None:
    if start == end:
        return
    if (start, end) in LEGAL:
        PHASES.check({"phase": start}, {"phase": end})
    else:
        with pytest.raises(InvalidTransitionError):
            PHASES.check({"phase": start}, {"phase": end})


def test_staying_is_no_transition() -> None:
    PHASES.check({"phase": "Sending"}, {"phase": "Sending", "totalAttempts": 1})


def test_terminal_phases_have_no_way_out() -> None:
    assert {"Sent", "PartiallySent", "Failed"} == TERMINAL
    assert all(not TRANSITIONS[phase] for phase in TERMINAL)

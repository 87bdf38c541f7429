"""The phase machine: what it lets pass and what it refuses, without a wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_status import InvalidTransitionError, PhaseMachine

MACHINE = PhaseMachine(
    {"": {"Pending"}, "Pending": {"Running"}, "Running": {"Done", "Failed"}}, terminal_updates={"retention"}
)


@pytest.mark.parametrize(("current", "wanted"), [("", "Pending"), ("Pending", "Running"), ("Running", "Done")])
def test_known_edges_pass(current: str, wanted: str) -> None:
    MACHINE.check({"phase": current}, {"phase": wanted})


@pytest.mark.parametrize(
    ("current", "wanted"), [("", "Running"), ("Pending", "Done"), ("Done", "Running"), ("Done", "")]
)
def test_unknown_edges_are_refused_with_both_phases(current: str, wanted: str) -> None:
    with pytest.raises(InvalidTransitionError, match=f"from '{current}' to '{wanted}'") as caught:
        MACHINE.check({"phase": current}, {"phase": wanted})
    assert (caught.value.current, caught.value.wanted) == (current, wanted)


def test_staying_is_no_transition() -> None:
    MACHINE.check({"phase": "Running", "n": 1}, {"phase": "Running", "n": 2})


def test_under_a_terminal_phase_only_declared_fields_change() -> None:
    MACHINE.check({"phase": "Done"}, {"phase": "Done", "retention": "2026-01-01"})
    with pytest.raises(InvalidTransitionError, match="attempts may not change"):
        MACHINE.check({"phase": "Done"}, {"phase": "Done", "attempts": [1]})


def test_phases_without_a_way_out_are_terminal() -> None:
    assert MACHINE.terminal == {"Done", "Failed"}


def test_a_table_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="terminal phases with successors"):
        PhaseMachine({"A": {"B"}}, terminal={"A"})
    with pytest.raises(ValueError, match="unknown terminal phases"):
        PhaseMachine({"A": {"B"}}, terminal={"C"})


@given(st.sampled_from(sorted(MACHINE.terminal)), st.text())
def test_nothing_leaves_a_terminal_phase(terminal: str, wanted: str) -> None:
    if wanted != terminal:
        assert not MACHINE.allows({"phase": terminal}, {"phase": wanted})

from __future__ import annotations

from itertools import pairwise

import pytest
from scenarios.in_memory import assert_only_legal

from kubernaut_api.signalprocessing import PHASES as SCHEMA_PHASES
from kubernaut_signalprocessing.phases import PHASES, TERMINAL, TRANSITIONS
from kubernaut_status import InvalidTransitionError

WAY = ["", "Pending", "Enriching", "Classifying", "Categorizing", "Completed"]
LEGAL = {*pairwise(WAY), *((phase, "Failed") for phase in WAY[1:-1])}


def test_exactly_the_legal_edges_are_allowed() -> None:
    assert_only_legal(PHASES, TRANSITIONS, LEGAL)


def test_the_phases_are_those_that_the_schema_takes() -> None:
    assert {*TRANSITIONS} == {"", *SCHEMA_PHASES}


def test_staying_is_no_transition() -> None:
    PHASES.check({"phase": "Enriching"}, {"phase": "Enriching", "failureInfo": {"consecutiveFailures": 1}})


@pytest.mark.parametrize("phase", sorted(TERMINAL))
def test_nothing_changes_after_the_end(phase: str) -> None:
    """A parent that ends an object writes phase Failed; its result must not be written over."""
    with pytest.raises(InvalidTransitionError):
        PHASES.check({"phase": phase}, {"phase": phase, "failureInfo": {"error": "late"}})

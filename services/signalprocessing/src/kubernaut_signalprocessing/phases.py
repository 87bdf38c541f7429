"""The phases of a SignalProcessing and which may follow which.

    "" -> Pending -> Enriching -> Classifying -> Categorizing -> Completed
             |           |             |               |
             +-----------+-------------+---------------+-------> Failed

Failed has three causes: the policy failed (out of Classifying), the deadline has passed (out of any phase), or the
parent ended and its controller wrote Failed. An object that is enriched in vain stays in Enriching and is tried again.
The Go controller's table lacks Pending -> Failed, although its deadline takes that way.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubernaut_status import PhaseMachine

PENDING = "Pending"
ENRICHING = "Enriching"
CLASSIFYING = "Classifying"
CATEGORIZING = "Categorizing"
COMPLETED = "Completed"
FAILED = "Failed"

TRANSITIONS: Mapping[str, frozenset[str]] = {
    "": frozenset({PENDING}),
    PENDING: frozenset({ENRICHING, FAILED}),
    ENRICHING: frozenset({CLASSIFYING, FAILED}),
    CLASSIFYING: frozenset({CATEGORIZING, FAILED}),
    CATEGORIZING: frozenset({COMPLETED, FAILED}),
    COMPLETED: frozenset(),
    FAILED: frozenset(),
}
"""Phase -> the phases that may follow; the empty string is an object that no controller has seen yet."""

TERMINAL = frozenset({COMPLETED, FAILED})
"""Phases without a way out."""

PHASES = PhaseMachine(TRANSITIONS, terminal=TERMINAL, field="phase")

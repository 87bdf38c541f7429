"""The phases of a NotificationRequest and which may follow which (BR-NOT-056).

    "" -> Pending -> Sending -> Sent | PartiallySent | Failed
                        |            ^
                        +-> Retrying-+   (Retrying -> Retrying counts as staying)

The table is the wire contract: the Go controller refuses the same edges. Pending -> Failed is legal and unused.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubernaut_status import PhaseMachine

PENDING = "Pending"
SENDING = "Sending"
RETRYING = "Retrying"
SENT = "Sent"
PARTIALLY_SENT = "PartiallySent"
FAILED = "Failed"

TRANSITIONS: Mapping[str, frozenset[str]] = {
    "": frozenset({PENDING}),
    PENDING: frozenset({SENDING, FAILED}),
    SENDING: frozenset({SENT, RETRYING, PARTIALLY_SENT, FAILED}),
    RETRYING: frozenset({SENT, RETRYING, PARTIALLY_SENT, FAILED}),
    SENT: frozenset(),
    PARTIALLY_SENT: frozenset(),
    FAILED: frozenset(),
}
"""Phase -> the phases that may follow; the empty string is an object that no controller has seen yet."""

TERMINAL = frozenset({SENT, PARTIALLY_SENT, FAILED})
"""Phases without a way out."""

PHASES = PhaseMachine(TRANSITIONS, terminal=TERMINAL, field="phase")

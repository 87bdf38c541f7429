"""Which signal is more urgent: one that is under way, before one that is new.

A signal takes five passes. Were they all of one rank, an alert storm would take every signal one phase further before
any of them the next: all would be completed at the very end, together. So a signal that was begun is finished first:
the last one of a storm ends no later, the median in about half the time. New ones do not starve, by the queue's rules.

What has ended has nothing to do; after a restart thousands of them are listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubernaut_runtime import Priority
from kubernaut_status import Object

from .phases import TERMINAL


def urgency_of(stored: Object) -> Priority:
    """Return the urgency of a stored SignalProcessing, whatever it looks like; raises nothing."""
    status = stored.get("status")
    phase = str(status.get("phase") or "") if isinstance(status, Mapping) else ""
    if phase in TERMINAL:
        return Priority.LOW
    return Priority.HIGH if phase else Priority.MEDIUM

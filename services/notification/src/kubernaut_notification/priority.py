"""How urgent a notification is: the order of the work queue, and of the line before a busy receiver.

`spec.priority` decides; the Go controller reads it for its texts only. A notification that has ended has nothing to
do, so it is the least urgent whatever it says: after a restart thousands of them are listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubernaut_runtime import Priority
from kubernaut_status import Object

from .phases import TERMINAL

PRIORITIES: Mapping[str, Priority] = {
    "Critical": Priority.CRITICAL,
    "High": Priority.HIGH,
    "Medium": Priority.MEDIUM,
    "Low": Priority.LOW,
}
"""`spec.priority` -> place in the queue; what is missing or unknown counts as Medium, the CRD's default."""


def urgency(priority: str) -> Priority:
    """Return the urgency of a `spec.priority`."""
    return PRIORITIES.get(priority, Priority.MEDIUM)


def urgency_of(stored: Object) -> Priority:
    """Return the urgency of a stored NotificationRequest, whatever it looks like; raises nothing."""
    status, spec = stored.get("status"), stored.get("spec")
    if isinstance(status, Mapping) and str(status.get("phase")) in TERMINAL:
        return Priority.LOW
    return urgency(str(spec.get("priority"))) if isinstance(spec, Mapping) else Priority.MEDIUM

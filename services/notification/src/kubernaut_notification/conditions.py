"""The conditions of a NotificationRequest, all of them built here.

| type | says |
|---|---|
| `RoutingResolved` | which receivers and channels routing picked, and from which attributes |
| `Ready` | the end: True when anybody has the message, False when nobody will |
| `Delivering` | announced attempts and their due times; gone at the end |
| `Reconciling`, `Stalled` | the phase in the words of kstatus, so that `helm --wait` and Flux agree with it |

Ready, Reconciling and Stalled follow from the phase alone, by one table. Messages are deterministic: the same facts
give the same bytes, so that a status which says nothing new is not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from kubernaut_api import Condition
from kubernaut_api.meta import MAX_CONDITION_MESSAGE
from kubernaut_notification.delivery.announcement import Announced, format_announcement, parse_announcement
from kubernaut_notification.delivery.redaction import redact
from kubernaut_notification.phases import FAILED, PARTIALLY_SENT, PENDING, RETRYING, SENDING, SENT, TERMINAL
from kubernaut_notification.routing.router import Resolution
from kubernaut_runtime.text import cut, one_line
from kubernaut_status import KSTATUS_TYPES, READY, STALLED, ConditionTemplate, in_progress, with_conditions

ROUTING_RESOLVED = "RoutingResolved"
DELIVERING = "Delivering"

OWNED_CONDITIONS = KSTATUS_TYPES | {ROUTING_RESOLVED, DELIVERING}
"""Condition types that only this controller writes; those of others are left as they are."""

REASON_RULE_MATCHED = "RoutingRuleMatched"
REASON_FALLBACK = "RoutingFallback"
REASON_ANNOUNCED = "AttemptAnnounced"
REASON_SCHEDULED = "RetryScheduled"

MAX_ATTRIBUTE = 256
"""Code points of one attribute's value that the RoutingResolved message shows."""


PHASE_CONDITIONS: Mapping[str, tuple[ConditionTemplate, ...]] = {
    PENDING: in_progress("Pending", "Notification is waiting for delivery"),
    SENDING: in_progress("Sending", "Notification is being delivered"),
    RETRYING: in_progress("Retrying", "Failed channels are being retried"),
    SENT: (ConditionTemplate(READY, "True", "Ready", "Notification delivered"),),
    PARTIALLY_SENT: (ConditionTemplate(READY, "True", "Ready", "Notification partially delivered"),),
    FAILED: (
        ConditionTemplate(READY, "False", "NotReady", "Notification delivery failed"),
        ConditionTemplate(
            STALLED, "True", "DeliveryFailed", "No channel has the notification and none will be tried again"
        ),
    ),
}
"""Phase -> its conditions among Ready, Reconciling and Stalled; those of the three that are not named are removed."""


def routing_message(resolution: Resolution) -> str:
    """Return the RoutingResolved message: attributes sorted by key, values redacted and bounded.

    The attributes are what is shortened when the message would be too long, never the channels.
    """
    shown = ", ".join(
        f"{one_line(key)}={cut(one_line(redact(value)), MAX_ATTRIBUTE)}"
        for key, value in sorted(resolution.attributes.items())
    )
    before, after = "No routing rules matched ", ", using console fallback"
    if not resolution.fallback:
        before = f"Matched rules [{', '.join(resolution.receivers)}] "
        after = f" → channels: {', '.join(resolution.channels)}"
    room = MAX_CONDITION_MESSAGE - len(before) - len(after) - len("(attributes: )")
    attributes = f"(attributes: {cut(shown, max(0, room))})" if shown else "(no attributes)"
    return cut(before + attributes + after, MAX_CONDITION_MESSAGE)


def routing_resolved(resolution: Resolution) -> ConditionTemplate:
    """RoutingResolved is True, by a rule or by the fallback."""
    reason = REASON_FALLBACK if resolution.fallback else REASON_RULE_MATCHED
    return ConditionTemplate(ROUTING_RESOLVED, "True", reason, routing_message(resolution))


def delivering(announced: Sequence[Announced]) -> ConditionTemplate:
    """Delivering is True, for a retry if any of what is announced is one, else for the first attempts."""
    reason = REASON_SCHEDULED if any(entry.attempt > 1 for entry in announced) else REASON_ANNOUNCED
    return ConditionTemplate(DELIVERING, "True", reason, format_announcement(announced))


def conditions_for(
    current: Sequence[Condition],
    phase: str,
    *,
    generation: int,
    now: datetime,
    resolution: Resolution | None = None,
    announced: Sequence[Announced] = (),
) -> list[Condition]:
    """Return the whole list of conditions that an object in `phase` should have, made from its `current` ones.

    Without a `resolution` the present RoutingResolved stays. Delivering is there while something is announced and the
    phase is not terminal. Conditions of other writers, the order, and transition times of what did not flip stay.
    """
    wanted = list(PHASE_CONDITIONS.get(phase, ()))
    if resolution is not None:
        wanted.insert(0, routing_resolved(resolution))
    if announced and phase not in TERMINAL:
        wanted.append(delivering(announced))
    conditions = with_conditions(
        [condition.to_wire() for condition in current],
        wanted,
        without=KSTATUS_TYPES | {DELIVERING},
        observed_generation=generation,
        now=now,
    )
    return [Condition.model_validate(condition) for condition in conditions]


def announced_in(conditions: Iterable[Condition]) -> list[Announced]:
    """Return what a status with these `conditions` announces."""
    messages = (condition.message for condition in conditions if condition.type == DELIVERING)
    return [entry for message in messages for entry in parse_announcement(message)]

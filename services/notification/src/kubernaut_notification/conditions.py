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
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kubernaut_api import Condition
from kubernaut_api.meta import MAX_CONDITION_MESSAGE
from kubernaut_notification.delivery.announcement import Announced, format_announcement, parse_announcement
from kubernaut_notification.delivery.redaction import redact
from kubernaut_notification.phases import FAILED, PARTIALLY_SENT, PENDING, RETRYING, SENDING, SENT, TERMINAL
from kubernaut_notification.routing.router import Resolution
from kubernaut_runtime.text import cut, one_line
from kubernaut_status import merge_conditions, new_condition

ROUTING_RESOLVED = "RoutingResolved"
READY = "Ready"
DELIVERING = "Delivering"
RECONCILING = "Reconciling"
STALLED = "Stalled"

OWNED_CONDITIONS = frozenset({ROUTING_RESOLVED, READY, DELIVERING, RECONCILING, STALLED})
"""Condition types that only this controller writes; those of others are left as they are."""

REASON_RULE_MATCHED = "RoutingRuleMatched"
REASON_FALLBACK = "RoutingFallback"
REASON_ANNOUNCED = "AttemptAnnounced"
REASON_SCHEDULED = "RetryScheduled"

MAX_ATTRIBUTE = 256
"""Code points of one attribute's value that the RoutingResolved message shows."""

Status = Literal["True", "False"]


@dataclass(frozen=True, slots=True)
class Template:
    """A condition that a phase brings with it."""

    type: str
    status: Status
    reason: str
    message: str


def _on_the_way(reason: str, message: str) -> tuple[Template, ...]:
    return (Template(RECONCILING, "True", reason, message),)


PHASE_CONDITIONS: Mapping[str, tuple[Template, ...]] = {
    PENDING: _on_the_way("Pending", "Notification is waiting for delivery"),
    SENDING: _on_the_way("Sending", "Notification is being delivered"),
    RETRYING: _on_the_way("Retrying", "Failed channels are being retried"),
    SENT: (Template(READY, "True", "Ready", "Notification delivered"),),
    PARTIALLY_SENT: (Template(READY, "True", "Ready", "Notification partially delivered"),),
    FAILED: (
        Template(READY, "False", "NotReady", "Notification delivery failed"),
        Template(STALLED, "True", "DeliveryFailed", "No channel has the notification and none will be tried again"),
    ),
}
"""Phase -> its conditions among Ready, Reconciling and Stalled; those of the three that are not named are removed."""

_OF_PHASE = frozenset({READY, RECONCILING, STALLED})


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


def routing_resolved(resolution: Resolution, *, generation: int, now: datetime) -> Condition:
    """Return condition RoutingResolved for `resolution`."""
    reason = REASON_FALLBACK if resolution.fallback else REASON_RULE_MATCHED
    return _condition(ROUTING_RESOLVED, "True", reason, routing_message(resolution), generation, now)


def delivering(announced: Sequence[Announced], *, generation: int, now: datetime) -> Condition:
    """Return condition Delivering for what is announced: a retry if any of it is one, else the first attempts."""
    reason = REASON_SCHEDULED if any(entry.attempt > 1 for entry in announced) else REASON_ANNOUNCED
    return _condition(DELIVERING, "True", reason, format_announcement(announced), generation, now)


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
    wanted = [
        _condition(template.type, template.status, template.reason, template.message, generation, now)
        for template in PHASE_CONDITIONS.get(phase, ())
    ]
    if resolution is not None:
        wanted.insert(0, routing_resolved(resolution, generation=generation, now=now))
    if announced and phase not in TERMINAL:
        wanted.append(delivering(announced, generation=generation, now=now))
    named = {condition.type for condition in wanted}
    dropped = (_OF_PHASE | {DELIVERING}) - named
    kept = [condition for condition in current if condition.type not in named | dropped]
    return _merged(current, [*kept, *wanted])


def announced_in(conditions: Iterable[Condition]) -> list[Announced]:
    """Return what a status with these `conditions` announces."""
    messages = (condition.message for condition in conditions if condition.type == DELIVERING)
    return [entry for message in messages for entry in parse_announcement(message)]


def _merged(current: Sequence[Condition], wanted: Iterable[Condition]) -> list[Condition]:
    before = [condition.to_wire() for condition in current]
    after = [condition.to_wire() for condition in wanted]
    return [Condition.model_validate(condition) for condition in merge_conditions(before, after, before)]


def _condition(type_: str, status: Status, reason: str, message: str, generation: int, now: datetime) -> Condition:
    return Condition.model_validate(
        new_condition(type_, status, reason, message, observed_generation=generation, now=now)
    )

"""The envelope of an audit event: the members that all events share, as Data Storage wants them.

A service declares itself once as an `EventSource` and builds its events with `EventSource.event`; only the payload is
its own. The payload repeats the event type: Data Storage chooses the payload's schema by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from kubernaut_runtime.clock import format_time

VERSION = "1.0"
MAX_CORRELATION = 255
"""Characters of a correlation id."""

Event = dict[str, Any]
"""An event as it goes out: JSON values only."""

Outcome = Literal["success", "failure", "pending"]


class AuditError(ValueError):
    """An event that cannot be built: something that every event needs is missing."""


class AuditSink(Protocol):
    """Takes events. `emit` returns at once and never raises; what cannot be kept is dropped and counted."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Take one event; the mapping may be changed afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class EventSource:
    """A service as the sender of events.

    `service` is its label in metrics (`notification-controller`), `category` and `actor_id` go into each event.
    `payloads` names the service's event types and the members that the payload of each must have besides
    `event_type`; an event of another type, or without one of them, is invalid.
    """

    service: str
    category: str
    actor_id: str
    payloads: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def event(
        self,
        event_type: str,
        action: str,
        outcome: Outcome,
        *,
        at: datetime,
        correlation_id: str,
        resource_type: str,
        resource_id: str,
        data: Mapping[str, Any],
        actor: tuple[str, str] | None = None,
        **further: Any,
    ) -> Event:
        """Return an event.

        `at` is when it happened (aware). `actor` is (type, id) when it is not the service itself. `data` is the
        payload without its `event_type`. `further` are optional members of the envelope (`namespace`, `cluster_id`,
        `severity`, `duration_ms`, `error_code`, `error_message` ...). Members that are None are left out.
        Raises `AuditError` without a correlation id.
        """
        if not correlation_id:
            raise AuditError(f"cannot build the audit event {event_type} about {resource_id!r}: no correlation id")
        actor_type, actor_id = actor or ("service", self.actor_id)
        return {
            "version": VERSION,
            "event_type": event_type,
            "event_timestamp": format_time(at, micro=True),
            "event_category": self.category,
            "event_action": action,
            "event_outcome": outcome,
            "actor_type": actor_type,
            "actor_id": actor_id,
            "resource_type": resource_type,
            "resource_id": resource_id,
            **_given(further),
            "correlation_id": correlation(correlation_id),
            "event_data": {"event_type": event_type, **_given(data)},
        }


def correlation(*candidates: str) -> str:
    """Return the first candidate that is not empty, cut to what Data Storage takes; empty if all are.

    The name of the RemediationRequest ties the events of one remediation together, over all services.
    """
    return next((text for text in candidates if text), "")[:MAX_CORRELATION]


def _given(members: Mapping[str, Any]) -> Event:
    return {key: value for key, value in members.items() if value is not None}

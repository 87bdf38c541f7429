"""Audit events of the notification life cycle (ADR-034), and where they go.

| event | when |
|---|---|
| `notification.message.sent` | a channel has the message |
| `notification.message.failed` | an attempt failed |
| `notification.message.acknowledged` | once, on Sent |
| `notification.message.escalated` | once, on Failed |

`AuditTrail` builds the events and gives each to the sink once, however often a pass runs. A sink takes one event and
returns at once: it never raises and never waits, so audit cannot delay or fail a delivery. Unlike in the live system
the texts are redacted, and `error_type` tells a permanent error from a transient one.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

import orjson

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.message import flat_metadata, prepare
from kubernaut_notification.delivery.result import Attempt
from kubernaut_notification.delivery.text import cut, encodable
from kubernaut_runtime.clock import format_time

log = logging.getLogger(__name__)

SENT = "notification.message.sent"
FAILED = "notification.message.failed"
ACKNOWLEDGED = "notification.message.acknowledged"
ESCALATED = "notification.message.escalated"

_ACTIONS = {
    SENT: ("sent", "success"),
    FAILED: ("sent", "failure"),
    ACKNOWLEDGED: ("acknowledged", "success"),
    ESCALATED: ("escalated", "success"),
}
_MAX_CORRELATION = 255

Event = dict[str, Any]


class AuditError(ValueError):
    """An event that cannot be built: something that every event needs is missing."""


class AuditSink(Protocol):
    """Takes events. `emit` returns at once and never raises; a sink that is full drops and counts."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Take one event; the mapping is not changed afterwards."""
        ...


class JsonLinesSink:
    """Writes one JSON object per line to `target`: a stream, or a file that is opened for appending.

    Without a target it writes to standard output. `close` closes only what it opened itself.
    """

    def __init__(self, target: TextIO | Path | None = None) -> None:
        self._own = target.open("a", encoding="utf-8") if isinstance(target, Path) else None
        self._stream: TextIO = self._own or (
            target if target is not None and not isinstance(target, Path) else sys.stdout
        )
        self._lock = threading.Lock()
        self.dropped = 0

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write one line; an event that cannot be written is dropped, counted and logged."""
        try:
            line = orjson.dumps(_encodable(dict(event))).decode()
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, TypeError, ValueError) as error:
            self.dropped += 1
            log.error("cannot write audit event: %s; it is dropped", type(error).__name__)

    def close(self) -> None:
        """Close the file that this sink opened; harmless otherwise."""
        if self._own is not None:
            self._own.close()


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(str(key)): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def correlation_id(nr: NotificationRequest) -> str:
    """Return what ties the events of one remediation together: the RemediationRequest's name, else the object's uid."""
    reference = nr.spec.remediation_request_ref
    return cut((reference.name if reference else "") or nr.metadata.uid, _MAX_CORRELATION, "")


def build_event(event_type: str, nr: NotificationRequest | None, data: Mapping[str, Any], now: datetime) -> Event:
    """Return the event of `event_type` about `nr` (a prepared, that is redacted, copy).

    `data` are the members of event_data beyond those that every payload has; members that are None are left out.
    Raises `AuditError` if `nr` is None or has neither uid nor reference.
    """
    if nr is None:
        raise AuditError("cannot build an audit event without a notification")
    correlation = correlation_id(nr)
    if not correlation:
        raise AuditError(f"cannot build an audit event for {nr.metadata.name!r}: it has neither uid nor reference")
    action, outcome = _ACTIONS[event_type]
    payload: Event = {
        "event_type": event_type,
        "notification_id": nr.metadata.name,
        "subject": nr.spec.subject,
        "priority": nr.spec.priority,
        **{key: value for key, value in data.items() if value is not None},
    }
    if metadata := flat_metadata(nr):
        payload["metadata"] = metadata
    return {
        "version": "1.0",
        "event_type": event_type,
        "event_timestamp": format_time(now, micro=True),
        "event_category": "notification",
        "event_action": action,
        "event_outcome": outcome,
        "actor_type": "service",
        "actor_id": "notification-controller",
        "resource_type": "NotificationRequest",
        "resource_id": nr.metadata.name,
        "namespace": nr.metadata.namespace,
        "cluster_id": nr.spec.cluster_id,
        "correlation_id": correlation,
        "event_data": payload,
    }


def sent_event(nr: NotificationRequest | None, channel: str, now: datetime) -> Event:
    """Return the event for a delivery. Raises `AuditError` without a notification or a channel."""
    data = {"channel": _channel(channel), "body": nr.spec.body if nr else None, "type": nr.spec.type if nr else None}
    return build_event(SENT, nr, data, now)


def failed_event(
    nr: NotificationRequest | None, channel: str, error: str | None, now: datetime, *, permanent: bool = False
) -> Event:
    """Return the event for a failed attempt; without an `error` text there is no `error` member."""
    data = {
        "channel": _channel(channel),
        "body": nr.spec.body if nr else None,
        "error_type": "permanent" if permanent else "transient",
        "error": error or None,
    }
    return build_event(FAILED, nr, data, now)


def acknowledged_event(nr: NotificationRequest | None, now: datetime) -> Event:
    """Return the event for a notification that every channel has."""
    return build_event(ACKNOWLEDGED, nr, {}, now)


def escalated_event(nr: NotificationRequest | None, now: datetime) -> Event:
    """Return the event for a notification that nobody has."""
    priority = nr.spec.priority if nr else ""
    return build_event(ESCALATED, nr, {"reason": f"Escalated due to {priority} priority"}, now)


def _channel(channel: str) -> str:
    if not channel:
        raise AuditError("cannot build an audit event without a channel")
    return channel


class AuditTrail:
    """Gives each event of an object to `sink` once per process; `now` is the clock.

    Objects are told apart by uid, so a recreated name starts anew; `forget` frees what is remembered of one.
    """

    def __init__(self, sink: AuditSink, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._sink = sink
        self._now = now
        self._told: dict[str, set[str]] = {}

    def attempt(self, nr: NotificationRequest, attempt: Attempt) -> None:
        """Tell of one finished attempt."""
        if not self._first(nr, f"{attempt.channel}#{attempt.attempt}"):
            return
        copy = prepare(nr)
        if attempt.succeeded:
            self._sink.emit(sent_event(copy, attempt.channel, self._now()))
        else:
            event = failed_event(copy, attempt.channel, attempt.error, self._now(), permanent=attempt.permanent)
            self._sink.emit(event)

    def sent(self, nr: NotificationRequest) -> None:
        """Tell that phase Sent was reached."""
        if self._first(nr, ACKNOWLEDGED):
            self._sink.emit(acknowledged_event(prepare(nr), self._now()))

    def failed(self, nr: NotificationRequest) -> None:
        """Tell that phase Failed was reached."""
        if self._first(nr, ESCALATED):
            self._sink.emit(escalated_event(prepare(nr), self._now()))

    def forget(self, uid: str) -> None:
        """Forget what was told about the object with this uid; for objects that were deleted."""
        self._told.pop(uid, None)

    def _first(self, nr: NotificationRequest, what: str) -> bool:
        told = self._told.setdefault(nr.metadata.uid, set())
        if what in told:
            return False
        told.add(what)
        return True

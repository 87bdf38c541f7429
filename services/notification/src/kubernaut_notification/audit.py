"""Audit events of the notification life cycle (ADR-034): which there are, and what they say.

| event | when | payload, besides notification_id, subject, priority and metadata |
|---|---|---|
| `notification.message.sent` | a channel has the message | channel, body, type |
| `notification.message.failed` | an attempt failed | channel, body, error_type, error |
| `notification.message.acknowledged` | once, on Sent | |
| `notification.message.escalated` | once, on Failed | reason |

`AuditTrail` builds the events and gives each to the sink once, however often a pass runs. Unlike in the Go controller
the texts are redacted, and `error_type` tells a permanent error from a transient one (the schema takes any text there).

Attempts are told when they end, before they are recorded; the end of a notification after it is stored, so that no
event tells of an end that was never reached. A process that is killed loses what it had not sent yet (as a rule the
last `flushInterval`); the status has it all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.message import flat_metadata, prepare
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime.audit import AuditError, AuditSink, Event, EventSource, correlation

SENT = "notification.message.sent"
FAILED = "notification.message.failed"
ACKNOWLEDGED = "notification.message.acknowledged"
ESCALATED = "notification.message.escalated"

_OF_EACH = ("notification_id", "subject", "priority")

SOURCE = EventSource(
    service="notification-controller",
    category="notification",
    actor_id="notification-controller",
    payloads={
        SENT: (*_OF_EACH, "channel", "body", "type"),
        FAILED: (*_OF_EACH, "channel", "body", "error_type"),
        ACKNOWLEDGED: _OF_EACH,
        ESCALATED: (*_OF_EACH, "reason"),
    },
)


def correlation_id(nr: NotificationRequest) -> str:
    """Return what ties the events of one remediation together: the RemediationRequest's name, else the object's uid."""
    reference = nr.spec.remediation_request_ref
    return correlation(reference.name if reference else "", nr.metadata.uid)


def sent_event(nr: NotificationRequest | None, channel: str, now: datetime) -> Event:
    """Return the event for a delivery. Raises `AuditError` without a notification or a channel."""
    found = _given(nr)
    data = {"channel": _channel(channel), "body": found.spec.body, "type": found.spec.type}
    return _event(SENT, found, now, data, action="sent")


def failed_event(
    nr: NotificationRequest | None, channel: str, error: str | None, now: datetime, *, permanent: bool = False
) -> Event:
    """Return the event for a failed attempt; without an `error` text there is no `error` member.

    Raises `AuditError` without a notification or a channel.
    """
    found = _given(nr)
    data = {
        "channel": _channel(channel),
        "body": found.spec.body,
        "error_type": "permanent" if permanent else "transient",
        "error": error or None,
    }
    return _event(FAILED, found, now, data, action="sent", failed=True)


def acknowledged_event(nr: NotificationRequest | None, now: datetime) -> Event:
    """Return the event for a notification that every channel has."""
    return _event(ACKNOWLEDGED, _given(nr), now, {}, action="acknowledged")


def escalated_event(nr: NotificationRequest | None, now: datetime) -> Event:
    """Return the event for a notification that nobody has."""
    found = _given(nr)
    reason = f"Escalated due to {found.spec.priority} priority"
    return _event(ESCALATED, found, now, {"reason": reason}, action="escalated")


def _event(
    event_type: str,
    nr: NotificationRequest,
    now: datetime,
    data: Mapping[str, Any],
    *,
    action: str,
    failed: bool = False,
) -> Event:
    return SOURCE.event(
        event_type,
        action,
        "failure" if failed else "success",
        at=now,
        correlation_id=correlation_id(nr),
        resource_type="NotificationRequest",
        resource_id=nr.metadata.name,
        namespace=nr.metadata.namespace,
        cluster_id=nr.spec.cluster_id,
        data={
            "notification_id": nr.metadata.name,
            "subject": nr.spec.subject,
            "priority": nr.spec.priority,
            **data,
            "metadata": flat_metadata(nr) or None,
        },
    )


def _given(nr: NotificationRequest | None) -> NotificationRequest:
    if nr is None:
        raise AuditError("cannot build an audit event without a notification")
    return nr


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
        self._last: tuple[str, int, NotificationRequest] | None = None

    def attempt(self, nr: NotificationRequest, attempt: Attempt) -> None:
        """Tell of one finished attempt."""
        if not self._first(nr, f"{attempt.channel}#{attempt.attempt}"):
            return
        copy = self._prepared(nr)
        if attempt.succeeded:
            self._sink.emit(sent_event(copy, attempt.channel, self._now()))
        else:
            event = failed_event(copy, attempt.channel, attempt.error, self._now(), permanent=attempt.permanent)
            self._sink.emit(event)

    def sent(self, nr: NotificationRequest) -> None:
        """Tell that phase Sent was reached."""
        if self._first(nr, ACKNOWLEDGED):
            self._sink.emit(acknowledged_event(self._prepared(nr), self._now()))

    def failed(self, nr: NotificationRequest) -> None:
        """Tell that phase Failed was reached."""
        if self._first(nr, ESCALATED):
            self._sink.emit(escalated_event(self._prepared(nr), self._now()))

    def forget(self, uid: str) -> None:
        """Forget what was told about the object with this uid; for objects that were deleted."""
        self._told.pop(uid, None)
        if self._last is not None and self._last[0] == uid:
            self._last = None

    def _prepared(self, nr: NotificationRequest) -> NotificationRequest:
        """Return the redacted copy. Redacting a megabyte takes a second, so a pass with many channels does it once."""
        uid, generation = nr.metadata.uid, nr.metadata.generation
        if self._last is None or self._last[:2] != (uid, generation):
            self._last = (uid, generation, prepare(nr))
        return self._last[2]

    def _first(self, nr: NotificationRequest, what: str) -> bool:
        told = self._told.setdefault(nr.metadata.uid, set())
        if what in told:
            return False
        told.add(what)
        return True

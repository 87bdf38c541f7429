"""What the loop tells the world beside the status: Events, audit events, metrics.

None of it can hold up or fail a pass, and none of it writes status. What is told when an attempt ends is told once:
a commit that has to be repeated repeats nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubernaut_api import NotificationRequest
from kubernaut_runtime import EventRecorder
from kubernaut_runtime.text import cut

from .audit import AuditTrail
from .delivery.announcement import Announced
from .delivery.lanes import channel_type
from .delivery.plan import MESSAGE_FAILED, go_duration
from .delivery.result import Attempt
from .metrics import NotificationMetrics
from .phases import FAILED, PARTIALLY_SENT, RETRYING, SENDING, SENT, TERMINAL

MAX_EVENT_ERROR = 256
"""Code points of an attempt's error that an Event shows."""


class Reporter:
    """Tells of one service's notifications through `events`, `audit` and `metrics`."""

    def __init__(self, events: EventRecorder, audit: AuditTrail, metrics: NotificationMetrics) -> None:
        self._events = events
        self._audit = audit
        self._metrics = metrics

    def seen(self, nr: NotificationRequest) -> None:
        """The object was looked at; its phase counts in the gauge."""
        self._metrics.seen(nr)

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._metrics.gone(uid)
        self._audit.forget(uid)

    def started(self, nr: NotificationRequest) -> None:
        """The object is new. Told once per object, not per pass."""
        name = nr.metadata.name
        self._events.once(nr.identity(), "ReconcileStarted", f"Started reconciling notification {name}")

    def attempted(self, nr: NotificationRequest, attempt: Attempt) -> None:
        """One attempt has ended; its record is not written yet."""
        self._audit.attempt(nr, attempt)
        self._metrics.attempt(attempt)
        if attempt.succeeded:
            message = f"Successfully delivered to channel {attempt.channel}"
            self._events.normal(nr.identity(), "NotificationSent", message)

    def scheduled(self, attempts: Iterable[Attempt], announced: Iterable[Announced]) -> None:
        """The write that schedules further attempts after the failed ones of `attempts` is stored."""
        reasons = {attempt.channel: attempt.reason for attempt in attempts if not attempt.succeeded}
        for entry in announced:
            if entry.channel in reasons:
                self._metrics.retry(entry.channel, reasons[entry.channel])

    def outcome_unknown(self, nr: NotificationRequest, entry: Announced) -> None:
        """An attempt of an earlier process may have been made; it is made again under its number."""
        self._metrics.outcome_unknown(entry.channel)
        self._events.warning(
            nr.identity(),
            "DeliveryOutcomeUnknown",
            f"Attempt {entry.attempt} on channel {entry.channel} was announced and has no result; "
            "it is made again under the same number",
        )

    def held(self, nr: NotificationRequest, channel: str, error: str) -> None:
        """The open circuit breaker of `channel` holds the object back; `error` is what opened it."""
        kind = channel_type(channel)
        text = cut(error, MAX_EVENT_ERROR) or "too many failures"
        self._events.warning(nr.identity(), "CircuitBreakerOpen", f"{kind} channel circuit breaker is open: {text}")

    def entered(self, nr: NotificationRequest, phase: str, *, message: str = "", backoff: float = 0.0) -> None:
        """The write that enters `phase` is stored; `message` is the status message, `backoff` the seconds it names."""
        raw = nr.identity()
        if phase == SENDING:
            self._events.normal(raw, "PhaseTransition", "Transitioned to Sending phase")
        elif phase == RETRYING:
            self._events.normal(
                raw, "NotificationRetrying", f"Retrying failed channels with backoff {go_duration(backoff)}"
            )
        elif phase == PARTIALLY_SENT:
            self._events.normal(raw, "NotificationPartiallySent", message)
        elif phase == FAILED:
            self._events.warning(raw, "NotificationFailed", MESSAGE_FAILED)
            self._audit.failed(nr)
        elif phase == SENT:
            self._audit.sent(nr)
        if phase in TERMINAL:
            self._metrics.ended(nr, phase)

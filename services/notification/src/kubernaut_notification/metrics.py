"""The controller's metrics, under the live system's names, with values that mean something.

Upstream sets its phase gauge to 1 and never lowers it, never observes durations or retries, and starts with a made-up
success. Here every sample is an event that happened. The breaker gauge is there for circuit breakers to set; without
one it has no samples.
"""

from __future__ import annotations

from collections import defaultdict, deque

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.result import Attempt
from kubernaut_notification.phases import PENDING, TRANSITIONS

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
HEALTH_WINDOW = 20
"""Attempts per channel that its health score looks back on."""

BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}

_PREFIX = "kubernaut_notification"


class NotificationMetrics:
    """The metrics, registered in `registry`. `channel` labels are full channel keys unless said otherwise."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._active = Gauge(
            f"{_PREFIX}_reconciler_active", "Notifications that are in this phase now.", ["phase"], registry=registry
        )
        self._attempts = Counter(
            f"{_PREFIX}_delivery_attempts", "Attempts made, by outcome.", ["channel", "status"], registry=registry
        )
        self._duration = Histogram(
            f"{_PREFIX}_delivery_duration_seconds",
            "Time that one attempt took, in seconds.",
            ["channel"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self._retries = Counter(
            f"{_PREFIX}_delivery_retries",
            "Attempts after the first, by what the failure before was.",
            ["channel", "reason"],
            registry=registry,
        )
        self._breaker = Gauge(
            f"{_PREFIX}_channel_circuit_breaker_state",
            "Worst circuit breaker of a channel type: 0 closed, 1 half-open, 2 open.",
            ["channel"],
            registry=registry,
        )
        self._health = Gauge(
            f"{_PREFIX}_channel_health_score",
            f"Share of the last {HEALTH_WINDOW} attempts that delivered, 0 to 1.",
            ["channel"],
            registry=registry,
        )
        self._unknown = Counter(
            f"{_PREFIX}_delivery_outcome_unknown",
            "Announced attempts without a recorded result that were made again after a restart.",
            ["channel"],
            registry=registry,
        )
        self._recent: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=HEALTH_WINDOW))
        self._phases: dict[str, str] = {}
        self._counts: dict[str, int] = {phase: 0 for phase in TRANSITIONS if phase}
        self._active.labels(PENDING).set(0)

    def attempt(self, attempt: Attempt) -> None:
        """Count one finished attempt."""
        self._attempts.labels(attempt.channel, attempt.status).inc()
        self._duration.labels(attempt.channel).observe(attempt.duration)
        recent = self._recent[attempt.channel]
        recent.append(attempt.succeeded)
        self._health.labels(attempt.channel).set(sum(recent) / len(recent))

    def retry(self, channel: str, reason: str) -> None:
        """Count one scheduled retry; `reason` is the failed attempt's word (`Attempt.reason`)."""
        self._retries.labels(channel, reason).inc()

    def outcome_unknown(self, channel: str) -> None:
        """Count one attempt that is made again because nobody knows whether it was made."""
        self._unknown.labels(channel).inc()

    def breaker_state(self, channel_type: str, state: str) -> None:
        """Set a channel type's worst breaker: `closed`, `half-open` or `open`."""
        self._breaker.labels(channel_type).set(BREAKER_STATES[state])

    def seen(self, nr: NotificationRequest) -> None:
        """Note the phase that an object is in now; each object counts in one phase."""
        self._move(nr.metadata.uid, nr.status.phase)

    def gone(self, uid: str) -> None:
        """Note that an object was deleted."""
        self._move(uid, "")

    def _move(self, uid: str, phase: str) -> None:
        before = self._phases.pop(uid, "")
        if phase:
            self._phases[uid] = phase
        if before == phase:
            return
        for name, step in ((before, -1), (phase, 1)):
            if name:
                self._counts[name] = self._counts.get(name, 0) + step
                self._active.labels(name).set(self._counts[name])

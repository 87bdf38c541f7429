"""The controller's metrics, under the Go controller's names, with values that mean something.

Upstream sets its phase gauge to 1 and never lowers it, never observes durations or retries, never sets a health score,
swaps two values in the breaker gauge's help, and starts with a made-up success. Here every sample is something that
happened, or that is so at the moment of the scrape. A receiver that routing no longer names has no health score.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.lanes import is_remote
from kubernaut_notification.delivery.result import Attempt
from kubernaut_notification.phases import TERMINAL, TRANSITIONS
from kubernaut_runtime import Lifecycle
from kubernaut_runtime.lifecycle import DURATION_BUCKETS

HEALTH_WINDOW = 20
"""Attempts per channel that its health score looks back on."""

_PREFIX = "kubernaut_notification"


class NotificationMetrics:
    """The metrics, registered in `registry`. `channel` labels are full channel keys unless said otherwise.

    `now` is the wall clock, which ages are measured with.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._registry = registry
        self._lifecycle = Lifecycle(
            _PREFIX,
            "Notifications",
            phases=[phase for phase in TRANSITIONS if phase],
            terminal=TERMINAL,
            registry=registry,
            now=now,
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
            "Further attempts that were scheduled, by what the failure before was.",
            ["channel", "reason"],
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

    def follow_breakers(self, states: Callable[[], Mapping[str, int]]) -> None:
        """Show the worst breaker of each channel type, as `states` tells it at each scrape (from another thread)."""
        text = "Worst circuit breaker of a channel type: 0 closed, 1 half-open, 2 open."
        self._registry.register(_ByType("channel_circuit_breaker_state", text, states))

    def follow_held(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Show how many attempts are held at each channel type, as `counts` tells it (from another thread)."""
        text = "Attempts that are due and wait for a busy or broken receiver, by channel type."
        self._registry.register(_ByType("channel_held", text, counts))

    def keep_channels(self, keys: Iterable[str]) -> None:
        """Forget the health of receivers that routing no longer names; `keys` are those that it names."""
        for key in self._recent.keys() - set(keys):
            if is_remote(key):
                del self._recent[key]
                self._health.remove(key)

    def seen(self, nr: NotificationRequest) -> None:
        """Note the phase that an object is in now; each object counts in one phase."""
        self._lifecycle.seen(nr.metadata.uid, nr.status.phase, nr.metadata.creation_timestamp)

    def ended(self, nr: NotificationRequest, phase: str) -> None:
        """Count one notification that has just ended in `phase`, and how long it took."""
        self._lifecycle.ended(phase, nr.metadata.creation_timestamp)

    def gone(self, uid: str) -> None:
        """Note that an object was deleted."""
        self._lifecycle.gone(uid)


class _ByType(Collector):
    """A gauge by channel type, read when it is scraped: an open breaker turns half-open by time alone."""

    def __init__(self, name: str, text: str, values: Callable[[], Mapping[str, int]]) -> None:
        self._name, self._text, self._values = name, text, values

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for channel_type, value in sorted(self._values().items()):
            family.add_metric([channel_type], value)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{_PREFIX}_{self._name}", self._text, labels=["channel"])

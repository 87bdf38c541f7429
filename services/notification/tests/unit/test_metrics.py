from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.result import Attempt
from kubernaut_notification.metrics import NotificationMetrics

MakeNR = Callable[..., NotificationRequest]
PREFIX = "kubernaut_notification"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> NotificationMetrics:
    return NotificationMetrics(registry)


def test_nothing_is_counted_before_anything_happened(registry: CollectorRegistry, metrics: NotificationMetrics) -> None:
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert [(sample.name, sample.labels, sample.value) for sample in samples] == [
        (f"{PREFIX}_reconciler_active", {"phase": "Pending"}, 0.0)
    ]


def test_attempts_are_counted_and_timed(
    registry: CollectorRegistry, metrics: NotificationMetrics, now: datetime
) -> None:
    """Behaviour 84."""
    metrics.attempt(Attempt.success("console", 1, now, now, 0.02))
    metrics.attempt(Attempt.failure("slack:a", 1, now, now, 2.0, RetryableError("x")))
    value = registry.get_sample_value
    assert value(f"{PREFIX}_delivery_attempts_total", {"channel": "console", "status": "success"}) == 1
    assert value(f"{PREFIX}_delivery_attempts_total", {"channel": "slack:a", "status": "failed"}) == 1
    assert value(f"{PREFIX}_delivery_duration_seconds_sum", {"channel": "slack:a"}) == 2.0
    assert value(f"{PREFIX}_delivery_duration_seconds_bucket", {"channel": "console", "le": "0.025"}) == 1
    assert value(f"{PREFIX}_delivery_duration_seconds_bucket", {"channel": "console", "le": "0.01"}) == 0


def test_health_is_the_share_of_recent_attempts_that_delivered(
    registry: CollectorRegistry, metrics: NotificationMetrics, now: datetime
) -> None:
    score = lambda: registry.get_sample_value(f"{PREFIX}_channel_health_score", {"channel": "a"})  # noqa: E731
    metrics.attempt(Attempt.failure("a", 1, now, now, 0, RetryableError("x")))
    assert score() == 0
    metrics.attempt(Attempt.success("a", 2, now, now, 0))
    assert score() == 0.5
    for _ in range(20):
        metrics.attempt(Attempt.success("a", 2, now, now, 0))
    assert score() == 1


def test_the_phase_gauge_counts_objects(
    registry: CollectorRegistry, metrics: NotificationMetrics, make_nr: MakeNR
) -> None:
    def count(phase: str) -> float | None:
        return registry.get_sample_value(f"{PREFIX}_reconciler_active", {"phase": phase})

    for uid in ("1", "2"):
        metrics.seen(make_nr(metadata={"uid": uid}, status={"phase": "Sending"}))
        metrics.seen(make_nr(metadata={"uid": uid}, status={"phase": "Sending"}))
    assert count("Sending") == 2
    metrics.seen(make_nr(metadata={"uid": "1"}, status={"phase": "Sent"}))
    assert (count("Sending"), count("Sent")) == (1, 1)
    metrics.gone("2")
    metrics.gone("never seen")
    assert (count("Sending"), count("Sent")) == (0, 1)


def test_retries_unknown_outcomes_and_breakers_have_their_metrics(
    registry: CollectorRegistry, metrics: NotificationMetrics
) -> None:
    metrics.retry("slack:a", "rate_limited")
    metrics.outcome_unknown("slack:a")
    metrics.breaker_state("slack", "half-open")
    value = registry.get_sample_value
    assert value(f"{PREFIX}_delivery_retries_total", {"channel": "slack:a", "reason": "rate_limited"}) == 1
    assert value(f"{PREFIX}_delivery_outcome_unknown_total", {"channel": "slack:a"}) == 1
    assert value(f"{PREFIX}_channel_circuit_breaker_state", {"channel": "slack"}) == 1

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.breaker import State
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
    assert {sample.value for sample in samples if not sample.name.endswith("_created")} == {0.0}
    assert {sample.labels.get("phase") for sample in samples} == {"Pending", "Sent", "PartiallySent", "Failed", None}
    assert {label for sample in samples for label in sample.labels} == {"phase", "le"}


@pytest.mark.behaviour(84)
def test_attempts_are_counted_and_timed(
    registry: CollectorRegistry, metrics: NotificationMetrics, now: datetime
) -> None:
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


def test_the_time_to_the_end_is_measured_from_creation(make_nr: MakeNR, now: datetime) -> None:
    registry = CollectorRegistry()
    metrics = NotificationMetrics(registry, lambda: now)
    created = (now - timedelta(seconds=45)).isoformat()
    metrics.ended(make_nr(metadata={"creationTimestamp": created}), "Sent")
    value = registry.get_sample_value
    assert value(f"{PREFIX}_time_to_terminal_seconds_sum", {"phase": "Sent"}) == 45
    assert value(f"{PREFIX}_time_to_terminal_seconds_bucket", {"phase": "Sent", "le": "30.0"}) == 0
    assert value(f"{PREFIX}_time_to_terminal_seconds_bucket", {"phase": "Sent", "le": "60.0"}) == 1


def test_the_age_of_the_oldest_that_has_not_ended_is_shown(make_nr: MakeNR, now: datetime) -> None:
    registry = CollectorRegistry()
    metrics = NotificationMetrics(registry, lambda: now)

    def see(uid: str, age: int, phase: str) -> None:
        created = (now - timedelta(seconds=age)).isoformat()
        metrics.seen(make_nr(metadata={"uid": uid, "creationTimestamp": created}, status={"phase": phase}))

    def oldest() -> float | None:
        return registry.get_sample_value(f"{PREFIX}_oldest_unfinished_seconds")

    see("1", 300, "")
    see("2", 200, "Retrying")
    see("3", 100, "Sending")
    see("4", 900, "Sent")
    assert oldest() == 300
    see("1", 300, "Failed")
    assert oldest() == 200
    metrics.gone("2")
    assert oldest() == 100
    see("3", -5, "Sending")
    assert oldest() == 0, "clocks that disagree give no negative age"
    see("3", 100, "PartiallySent")
    assert oldest() == 0


def test_retries_and_unknown_outcomes_have_their_metrics(
    registry: CollectorRegistry, metrics: NotificationMetrics
) -> None:
    metrics.retry("slack:a", "rate_limited")
    metrics.outcome_unknown("slack:a")
    value = registry.get_sample_value
    assert value(f"{PREFIX}_delivery_retries_total", {"channel": "slack:a", "reason": "rate_limited"}) == 1
    assert value(f"{PREFIX}_delivery_outcome_unknown_total", {"channel": "slack:a"}) == 1


def test_the_breaker_gauge_shows_what_is_so_at_the_scrape_and_names_its_values_right(
    registry: CollectorRegistry, metrics: NotificationMetrics
) -> None:
    """Weak point 16: upstream's help text swaps half-open and open."""
    states = {"slack": State.OPEN, "teams": State.CLOSED}
    metrics.follow_breakers(lambda: states)

    def value(channel: str) -> float | None:
        return registry.get_sample_value(f"{PREFIX}_channel_circuit_breaker_state", {"channel": channel})

    assert (value("slack"), value("teams"), value("email")) == (2, 0, None)
    states["slack"] = State.HALF_OPEN
    assert value("slack") == 1
    (text,) = [m.documentation for m in registry.collect() if m.name == f"{PREFIX}_channel_circuit_breaker_state"]
    assert "0 closed, 1 half-open, 2 open" in text


def test_held_attempts_are_shown_by_channel_type_as_they_are_when_asked(
    registry: CollectorRegistry, metrics: NotificationMetrics
) -> None:
    held = {"slack": 3}
    metrics.follow_held(lambda: held)
    value = lambda: registry.get_sample_value(f"{PREFIX}_channel_held", {"channel": "slack"})  # noqa: E731
    assert value() == 3
    held["slack"] = 0
    assert value() == 0


def test_the_health_of_a_receiver_that_routing_no_longer_names_is_forgotten(
    registry: CollectorRegistry, metrics: NotificationMetrics, now: datetime
) -> None:
    for key in ("slack:a", "slack:b", "console"):
        metrics.attempt(Attempt.success(key, 1, now, now, 0))
    metrics.keep_channels(["slack:b"])
    score = f"{PREFIX}_channel_health_score"
    keys = ("slack:a", "slack:b", "console")
    assert [registry.get_sample_value(score, {"channel": key}) for key in keys] == [None, 1, 1]

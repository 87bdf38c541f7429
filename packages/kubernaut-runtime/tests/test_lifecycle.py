from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime.lifecycle import Lifecycle

NOW = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def lifecycle(registry: CollectorRegistry) -> Lifecycle:
    return Lifecycle(
        "greeter",
        "Greetings",
        phases=("Pending", "Speaking", "Said"),
        terminal={"Said"},
        registry=registry,
        now=lambda: NOW,
    )


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_nothing_is_counted_before_anything_happened(registry: CollectorRegistry, lifecycle: Lifecycle) -> None:
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert {sample.value for sample in samples if not sample.name.endswith("_created")} == {0.0}
    assert {sample.labels.get("phase") for sample in samples} == {"Pending", "Said", None}


def test_each_object_counts_in_one_phase(registry: CollectorRegistry, lifecycle: Lifecycle) -> None:
    def count(phase: str) -> float | None:
        return registry.get_sample_value("greeter_reconciler_active", {"phase": phase})

    for uid in ("1", "2"):
        lifecycle.seen(uid, "Pending", NOW)
        lifecycle.seen(uid, "Pending", NOW)
    assert count("Pending") == 2
    lifecycle.seen("1", "Speaking", NOW)
    assert (count("Pending"), count("Speaking")) == (1, 1)
    lifecycle.gone("2")
    lifecycle.gone("never seen")
    assert (count("Pending"), count("Speaking")) == (0, 1)


def test_a_phase_that_the_table_does_not_know_counts_too(registry: CollectorRegistry, lifecycle: Lifecycle) -> None:
    lifecycle.seen("1", "Whispering", NOW)
    assert registry.get_sample_value("greeter_reconciler_active", {"phase": "Whispering"}) == 1


def test_the_time_to_the_end_is_measured_from_creation(registry: CollectorRegistry, lifecycle: Lifecycle) -> None:
    lifecycle.ended("Said", ago(45))
    lifecycle.ended("Said", None)
    name, labels = "greeter_time_to_terminal_seconds", {"phase": "Said"}
    assert registry.get_sample_value(f"{name}_sum", labels) == 45
    assert registry.get_sample_value(f"{name}_count", labels) == 1


def test_the_age_of_the_oldest_that_has_not_ended_is_shown(registry: CollectorRegistry, lifecycle: Lifecycle) -> None:
    def oldest() -> float | None:
        return registry.get_sample_value("greeter_oldest_unfinished_seconds")

    lifecycle.seen("1", "", ago(300))
    lifecycle.seen("2", "Speaking", ago(200))
    lifecycle.seen("3", "Said", ago(900))
    assert oldest() == 300
    lifecycle.seen("1", "Said", ago(300))
    assert oldest() == 200
    lifecycle.gone("2")
    assert oldest() == 0


def test_clocks_that_disagree_give_no_negative_age(lifecycle: Lifecycle) -> None:
    lifecycle.seen("1", "Pending", ago(-5))
    assert lifecycle.oldest_unfinished() == 0

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_api import SignalProcessing
from kubernaut_signalprocessing.metrics import (
    ENRICHMENT_ERRORS,
    FailureReason,
    PolicyLack,
    SignalProcessingMetrics,
)

MakeSP = Callable[..., SignalProcessing]
TOTAL = "signalprocessing_processing_total"
DURATION = "signalprocessing_processing_duration_seconds"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, now: datetime) -> SignalProcessingMetrics:
    return SignalProcessingMetrics(registry, lambda: now)


def test_nothing_is_counted_before_anything_happened(
    registry: CollectorRegistry, metrics: SignalProcessingMetrics
) -> None:
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert {sample.value for sample in samples if not sample.name.endswith("_created")} == {0.0}
    counted = {(s.labels["phase"], s.labels["result"]) for s in samples if s.name == TOTAL}
    working = ("pending", "enriching", "classifying", "categorizing")
    expected = {(phase, result) for phase in working for result in ("attempt", "success", "failure")}
    assert counted == expected | {("completed", "success"), ("completed", "failure")}
    errors = {s.labels["error_type"] for s in samples if s.name == "signalprocessing_enrichment_errors_total"}
    assert errors == {*ENRICHMENT_ERRORS}

    def labels(name: str, label: str) -> set[str]:
        return {s.labels[label] for s in samples if s.name == name}

    assert labels("signalprocessing_contexts_total", "context") == {"full", "degraded"}
    assert labels("signalprocessing_policy_errors_total", "error_type") == {*get_args(PolicyLack)}
    assert labels("signalprocessing_failures_total", "reason") == {*get_args(FailureReason)}


def test_passes_are_counted_by_phase_and_result_and_successes_are_timed(
    registry: CollectorRegistry, metrics: SignalProcessingMetrics
) -> None:
    metrics.started("Enriching")
    metrics.failed("Enriching")
    metrics.started("Enriching")
    metrics.succeeded("Enriching", 0.2)
    value = registry.get_sample_value
    results = [value(TOTAL, {"phase": "enriching", "result": r}) for r in ("attempt", "success", "failure")]
    assert results == [2, 1, 1]
    assert value(f"{DURATION}_sum", {"phase": "enriching"}) == 0.2
    assert value(f"{DURATION}_bucket", {"phase": "enriching", "le": "0.1"}) == 0
    assert value(f"{DURATION}_bucket", {"phase": "enriching", "le": "0.25"}) == 1


def test_the_time_of_pending_is_not_observed(registry: CollectorRegistry, metrics: SignalProcessingMetrics) -> None:
    metrics.succeeded("Pending", 0.1)
    assert registry.get_sample_value(f"{DURATION}_count", {"phase": "pending"}) is None
    assert registry.get_sample_value(TOTAL, {"phase": "pending", "result": "success"}) == 1


def test_a_completed_signal_is_timed_from_its_start(
    registry: CollectorRegistry, metrics: SignalProcessingMetrics, make_sp: MakeSP, now: datetime
) -> None:
    created, started = ((now - timedelta(seconds=n)).isoformat() for n in (9, 4))
    metrics.ended(make_sp(metadata={"creationTimestamp": created}, status={"startTime": started}), "Completed")
    value = registry.get_sample_value
    assert value(f"{DURATION}_sum", {"phase": "completed"}) == 4
    assert value(TOTAL, {"phase": "completed", "result": "success"}) == 1
    assert value("signalprocessing_time_to_terminal_seconds_sum", {"phase": "Completed"}) == 9


def test_a_failed_signal_counts_as_failure_of_the_whole(
    registry: CollectorRegistry, metrics: SignalProcessingMetrics, make_sp: MakeSP
) -> None:
    metrics.ended(make_sp(status={"startTime": "2026-03-01T09:00:00Z"}), "Failed")
    assert registry.get_sample_value(TOTAL, {"phase": "completed", "result": "failure"}) == 1
    assert registry.get_sample_value(f"{DURATION}_count", {"phase": "completed"}) is None


def test_errors_of_the_enrichment_are_counted_by_kind(
    registry: CollectorRegistry, metrics: SignalProcessingMetrics
) -> None:
    metrics.enrichment_error("not_found")
    name = "signalprocessing_enrichment_errors_total"
    assert registry.get_sample_value(name, {"error_type": "not_found"}) == 1
    assert registry.get_sample_value(name, {"error_type": "api_error"}) == 0


def test_contexts_policy_errors_and_reasons_of_failures_are_counted_each_under_its_name(
    registry: CollectorRegistry, metrics: SignalProcessingMetrics
) -> None:
    metrics.enriched(degraded=True)
    metrics.enriched(degraded=False)
    metrics.enriched(degraded=False)
    metrics.policy_error("timeout")
    metrics.gave_up("remote_cluster")
    value = registry.get_sample_value
    assert value("signalprocessing_contexts_total", {"context": "degraded"}) == 1
    assert value("signalprocessing_contexts_total", {"context": "full"}) == 2
    assert value("signalprocessing_policy_errors_total", {"error_type": "timeout"}) == 1
    assert value("signalprocessing_failures_total", {"reason": "remote_cluster"}) == 1
    assert value("signalprocessing_failures_total", {"reason": "deadline"}) == 0


def test_objects_count_in_the_phase_they_are_in(
    registry: CollectorRegistry, metrics: SignalProcessingMetrics, make_sp: MakeSP, now: datetime
) -> None:
    created = {"creationTimestamp": (now - timedelta(seconds=30)).isoformat()}
    metrics.seen(make_sp(metadata=created, status={"phase": "Enriching"}))
    value = registry.get_sample_value
    assert value("signalprocessing_reconciler_active", {"phase": "Enriching"}) == 1
    assert value("signalprocessing_oldest_unfinished_seconds") == 30
    metrics.gone("u-1")
    assert value("signalprocessing_reconciler_active", {"phase": "Enriching"}) == 0
    assert value("signalprocessing_oldest_unfinished_seconds") == 0

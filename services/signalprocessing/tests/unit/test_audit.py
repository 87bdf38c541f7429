"""Audit events: their envelope, their payloads, and the words of Data Storage's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest

from kubernaut_api import SignalProcessing
from kubernaut_runtime.audit import to_line
from kubernaut_signalprocessing.audit import SOURCE, AuditTrail
from kubernaut_testing.datastorage import audit_event_problem

MakeSP = Callable[..., SignalProcessing]

STATUS: dict[str, Any] = {
    "phase": "Completed",
    "kubernetesContext": {
        "namespace": {"name": "shop"},
        "workload": {"kind": "Pod", "name": "api-1"},
        "ownerChain": [{"kind": "ReplicaSet", "name": "api"}],
    },
    "environmentClassification": {"environment": "Production", "source": "namespace-labels"},
    "priorityAssignment": {"priority": "P0", "source": "rego-policy", "policyName": "production-critical"},
    "signalClassification": {
        "severity": "critical",
        "policyHash": "0f" * 32,
        "signalMode": "proactive",
        "signalName": "OOMKilled",
        "sourceSignalName": "PredictedOOMKill",
    },
    "businessClassification": {"businessUnit": "payments", "criticality": "High", "slaRequirement": "Gold"},
}


class Kept:
    def __init__(self, now: datetime) -> None:
        self.events: list[dict[str, Any]] = []
        self._now = now

    def emit(self, event: Mapping[str, Any]) -> None:
        to_line(event, self._now, SOURCE.payloads)
        assert audit_event_problem(event, self._now) == ""
        self.events.append(dict(event))

    @property
    def data(self) -> dict[str, Any]:
        """The payload of the only event."""
        (event,) = self.events
        return dict(event["event_data"])


@pytest.fixture
def kept(now: datetime) -> Kept:
    return Kept(now)


@pytest.fixture
def trail(kept: Kept, now: datetime) -> AuditTrail:
    return AuditTrail(kept, lambda: now)


def test_the_envelope_of_an_event(trail: AuditTrail, kept: Kept, make_sp: MakeSP) -> None:
    sp = make_sp(status={"phase": "Pending"}, signal={"name": "OOMKilled", "clusterID": "east"})
    trail.transition(sp, "")
    assert kept.events == [
        {
            "version": "1.0",
            "event_type": "signalprocessing.phase.transition",
            "event_timestamp": "2026-03-01T10:00:00.000000Z",
            "event_category": "signalprocessing",
            "event_action": "phase_transition",
            "event_outcome": "success",
            "actor_type": "service",
            "actor_id": "signalprocessing-controller",
            "resource_type": "SignalProcessing",
            "resource_id": "sp-a",
            "namespace": "kubernaut-system",
            "cluster_id": "east",
            "correlation_id": "a",
            "event_data": {
                "event_type": "signalprocessing.phase.transition",
                "phase": "Pending",
                "signal": "OOMKilled",
                "from_phase": "",
                "to_phase": "Pending",
            },
        }
    ]


def test_a_signal_of_the_own_cluster_names_none(trail: AuditTrail, kept: Kept, make_sp: MakeSP) -> None:
    trail.transition(make_sp(status={"phase": "Enriching"}), "Pending")
    assert "cluster_id" not in kept.events[0]


def test_an_enrichment_tells_what_was_found_and_how_long_it_took(
    trail: AuditTrail, kept: Kept, make_sp: MakeSP
) -> None:
    trail.enriched(make_sp(status=STATUS | {"phase": "Classifying"}), 0.1234)
    assert kept.events[0]["duration_ms"] == 123
    assert kept.data == {
        "event_type": "signalprocessing.enrichment.completed",
        "phase": "Classifying",
        "signal": "OOMKilled",
        "duration_ms": 123,
        "has_namespace": True,
        "has_pod": True,
        "has_deployment": False,
        "owner_chain_length": 1,
        "degraded_mode": False,
    }


@pytest.mark.behaviour(75)
def test_a_decision_tells_both_severities_and_the_policy(trail: AuditTrail, kept: Kept, make_sp: MakeSP) -> None:
    signal = {"name": "PredictedOOMKill", "severity": "Sev1"}
    trail.classified(make_sp(status=STATUS | {"phase": "Categorizing"}, signal=signal), 0.05)
    assert kept.events[0]["duration_ms"] == 50
    assert kept.data == {
        "event_type": "signalprocessing.classification.decision",
        "phase": "Categorizing",
        "signal": "PredictedOOMKill",
        "duration_ms": 50,
        "severity": "critical",
        "external_severity": "Sev1",
        "normalized_severity": "critical",
        "determination_source": "rego-policy",
        "policy_hash": "0f" * 32,
        "signal_mode": "proactive",
        "source_signal_name": "PredictedOOMKill",
        "environment": "production",
        "environment_source": "labels",
        "priority": "P0",
        "priority_source": "rego",
    }


@pytest.mark.behaviour(82)
def test_the_business_and_the_whole_are_told_at_the_end(trail: AuditTrail, kept: Kept, make_sp: MakeSP) -> None:
    sp = make_sp(status=STATUS)
    trail.business(sp)
    trail.processed(sp)
    business, processed = (event["event_data"] for event in kept.events)
    assert business == {
        "event_type": "signalprocessing.business.classified",
        "phase": "Completed",
        "signal": "OOMKilled",
        "severity": "critical",
        "business_unit": "payments",
        "criticality": "high",
        "sla_requirement": "Gold",
    }
    assert (
        processed.items()
        >= {
            "severity": "critical",
            "environment": "production",
            "criticality": "high",
            "has_owner_chain": True,
            "owner_chain_length": 1,
            "degraded_mode": False,
        }.items()
    )
    assert "error" not in processed, "there was none"
    assert [event["event_action"] for event in kept.events] == ["classification", "processed"]


@pytest.mark.behaviour("W9")
def test_a_failed_signal_is_processed_with_failure_and_without_what_is_not_known(
    trail: AuditTrail, kept: Kept, make_sp: MakeSP
) -> None:
    trail.processed(make_sp(status={"phase": "Failed", "failureInfo": {"error": "timed out"}}))
    assert kept.events[0]["event_outcome"] == "failure"
    assert kept.data == {
        "event_type": "signalprocessing.signal.processed",
        "phase": "Failed",
        "signal": "OOMKilled",
        "severity": "unknown",
        "has_owner_chain": False,
        "owner_chain_length": 0,
        "degraded_mode": False,
        "error": "timed out",
    }


def test_an_error_names_the_phase_that_it_happened_in(trail: AuditTrail, kept: Kept, make_sp: MakeSP) -> None:
    trail.failed(make_sp(status={"phase": "Failed"}), "Enriching", "cannot read")
    assert (kept.data["phase"], kept.data["error"], kept.events[0]["event_action"]) == (
        "Enriching",
        "cannot read",
        "error",
    )


@pytest.mark.behaviour("W15")
@pytest.mark.parametrize(
    ("part", "value", "member", "word"),
    [
        ("environmentClassification", {"environment": "Test", "source": "x"}, "environment", None),
        ("environmentClassification", {"environment": "Unknown", "source": "x"}, "environment", None),
        ("environmentClassification", {"environment": "Staging", "source": "default"}, "environment_source", "default"),
        ("environmentClassification", {"environment": "Staging", "source": "cmdb"}, "environment_source", "rego"),
        ("businessClassification", {"criticality": "Medium"}, "criticality", None),
        ("businessClassification", {"criticality": "Low"}, "criticality", "low"),
    ],
)
def test_only_words_of_the_schema_are_told(
    trail: AuditTrail, kept: Kept, make_sp: MakeSP, part: str, value: dict[str, str], member: str, word: str | None
) -> None:
    trail.processed(make_sp(status=STATUS | {part: value}))
    assert kept.data.get(member) == word


def test_without_a_parent_there_is_no_event(trail: AuditTrail, kept: Kept, make_sp: MakeSP) -> None:
    sp = make_sp(remediationRequestRef={"name": ""}, status=STATUS)
    trail.transition(sp, "")
    trail.processed(sp)
    assert kept.events == []

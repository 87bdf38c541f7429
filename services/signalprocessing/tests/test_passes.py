"""From a signal to its end, pass by pass: what is written, with which requests, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from scenarios.signalprocessing import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM, signal_processing
from scenarios.signalprocessing_in_process import POLICY_HASH, SignalProcessingDesk

from kubernaut_api import ClusterContext, KubernetesContext, NamespaceContext
from kubernaut_policy import Failure, PolicyInputError, Undefined, Value
from kubernaut_signalprocessing.enrichment import InvalidTargetError, RemoteClusterError
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

MakeDesk = Callable[..., SignalProcessingDesk]


@pytest.mark.behaviour(1, 3, "W2")
async def test_a_signal_is_completed_with_five_writes_and_no_reads(
    desk: SignalProcessingDesk, ledger: RequestLedger
) -> None:
    desk.create()
    await desk.phase("Completed")
    ref = f"{PLURAL}/{desk.namespace}/one"
    ledger.assert_requests(ref, {"patch/status": 5}, user_agent=PROGRAM, only=True)
    assert ledger.phases(ref) == ["", "Pending", "Enriching", "Classifying", "Categorizing", "Completed"]
    assert_invariants(ledger, ref, CONTRACT)
    accepted = ledger.history(ref)[1].status
    assert accepted["phase"] == "Pending"
    assert accepted["startTime"] == desk.status["startTime"]
    generations = [(v.body.get("status") or {}).get("observedGeneration") for v in ledger.history(ref)]
    assert generations == [None] * 5 + [1], "only at the end: the Go controller skips objects on it"


@pytest.mark.behaviour(88, 101, 102)
async def test_the_status_of_a_completed_signal_has_everything_that_was_found(desk: SignalProcessingDesk) -> None:
    desk.create(name="PredictedOOMKill")
    await desk.phase("Completed")
    status, now = desk.status, desk.clock.now().isoformat().replace("+00:00", "Z")
    assert status["startTime"] == status["completionTime"] == now
    assert status["kubernetesContext"]["ownerChain"] == [
        {"namespace": "shop", "kind": "ReplicaSet", "name": "api", "api_version": "apps/v1"}
    ]
    assert status["kubernetesContext"]["customLabels"] == {"tier": ["gold"]}
    assert status["environmentClassification"] == {
        "environment": "Production",
        "source": "namespace-labels",
        "classifiedAt": now,
    }
    assert status["priorityAssignment"] == {
        "priority": "P0",
        "source": "rego-policy",
        "policyName": "production-critical",
        "assignedAt": now,
    }
    assert status["signalClassification"] == {
        "severity": "critical",
        "policyHash": POLICY_HASH,
        "signalMode": "proactive",
        "signalName": "OOMKilled",
        "sourceSignalName": "PredictedOOMKill",
    }
    assert status["businessClassification"] == {
        "businessUnit": "payments",
        "criticality": "High",
        "slaRequirement": "Gold",
    }
    assert "failureInfo" not in status
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [
        ("EnrichmentComplete", "True"),
        ("ClassificationComplete", "True"),
        ("CategorizationComplete", "True"),
        ("ProcessingComplete", "True"),
        ("Ready", "True"),
    ]


@pytest.mark.behaviour(95, 99)
async def test_a_completed_signal_has_six_events_and_nine_audit_events(desk: SignalProcessingDesk) -> None:
    desk.create(clusterID="")
    await desk.phase("Completed")
    assert [reason for reason, _ in desk.events.told] == [
        "PhaseTransition",
        "SignalEnriched",
        "PhaseTransition",
        "PhaseTransition",
        "PhaseTransition",
        "SignalProcessed",
    ]
    phases = ("Pending", "Enriching", "Classifying", "Categorizing", "Completed")
    for message, (before, after) in zip(desk.events.of("PhaseTransition"), pairwise(phases), strict=True):
        assert f"{before} → {after}" in message
    assert desk.audit_types == [
        "phase.transition",
        "phase.transition",
        "enrichment.completed",
        "phase.transition",
        "classification.decision",
        "phase.transition",
        "phase.transition",
        "signal.processed",
        "business.classified",
    ], "in the Go controller's order"
    entered = [e["event_data"]["to_phase"] for e in desk.audit if e["event_type"].endswith("transition")]
    assert entered == list(phases)
    assert {event["correlation_id"] for event in desk.audit} == {"rr-1"}


async def test_the_metrics_count_each_phase_once(desk: SignalProcessingDesk) -> None:
    desk.create()
    await desk.phase("Completed")

    def counted(phase: str, result: str) -> float | None:
        labels = {"phase": phase, "result": result}
        return desk.metrics.get_sample_value("signalprocessing_processing_total", labels)

    for phase in ("pending", "enriching", "classifying", "categorizing"):
        assert (counted(phase, "attempt"), counted(phase, "success"), counted(phase, "failure")) == (1, 1, 0)
    assert (counted("completed", "success"), counted("completed", "failure")) == (1, 0)
    assert desk.counted("signalprocessing_contexts_total", "context") == {"full": 1}
    assert desk.failures == {}


@pytest.mark.behaviour(4, 5)
@pytest.mark.parametrize("end", ["Completed", "Failed"])
async def test_what_ended_is_left_alone(desk: SignalProcessingDesk, end: str) -> None:
    if end == "Failed":
        desk.policy.answers["severity"] = Undefined()
    desk.create()
    await desk.phase(end)
    sent = len(desk.requests)
    desk.queue.add(desk.key)
    await desk.idle()
    assert (len(desk.requests), desk.queue.due_in(desk.key)) == (sent, None)


@pytest.mark.behaviour(2)
async def test_a_name_that_no_object_has_asks_for_nothing(desk: SignalProcessingDesk) -> None:
    desk.queue.add(desk.key)
    await eventually_async(lambda: desk.passes == 1)
    await desk.idle()
    assert (desk.requests, desk.queue.due_in(desk.key)) == ([], None)
    assert desk.counted("controller_runtime_reconcile_total", "result") == {"success": 1}


@pytest.mark.behaviour(6)
async def test_the_generation_at_the_end_is_the_one_that_was_processed(desk: SignalProcessingDesk) -> None:
    """An object may get its spec after its creation, once."""
    whole = signal_processing(desk.namespace, "one")
    desk.control_plane.api.create({key: value for key, value in whole.items() if key != "spec"})
    desk.control_plane.api.patch(API_VERSION, KIND, desk.namespace, "one", {"spec": whole["spec"]})
    desk.store.observe("ADDED", desk.write_status({"phase": "Categorizing", "startTime": "2026-03-01T10:00:00Z"}))
    await desk.phase("Completed")
    assert (desk.stored()["metadata"]["generation"], desk.status["observedGeneration"]) == (2, 2)


@pytest.mark.behaviour(61, 62, 63)
@pytest.mark.parametrize("labels", [{"environment": "production", "tier": "gold"}, None])
async def test_the_class_of_a_cluster_is_told_beside_its_labels_if_it_has_one(
    desk: SignalProcessingDesk, labels: dict[str, str] | None
) -> None:
    if labels:
        desk.cluster.context.cluster = ClusterContext(labels=labels)
        desk.policy.answers["cluster"] = Value("production")
    desk.create(clusterID="prod-east-1")
    await desk.phase("Completed")
    assert desk.status["kubernetesContext"].get("cluster") == ({"labels": labels} if labels else None)
    wanted = "production" if labels else None
    assert desk.status["signalClassification"].get("clusterClassification") == wanted
    assert desk.policy.inputs[-1]["cluster"] == ({"labels": labels} if labels else {})


@pytest.mark.behaviour(96)
async def test_a_degraded_enrichment_is_told_and_goes_on(desk: SignalProcessingDesk) -> None:
    desk.cluster.context = KubernetesContext(namespace=NamespaceContext(name="shop"), degraded_mode=True)
    desk.create(targetType="aws")
    await desk.phase("Completed")
    assert desk.conditions["EnrichmentComplete"][:2] == ("True", "DegradedMode")
    reasons = [reason for reason, _ in desk.events.told]
    assert "EnrichmentDegraded" in reasons
    assert "SignalEnriched" not in reasons
    assert desk.events.of("UnsupportedTargetType") == [
        'Target type "aws" is not supported; only what the cluster knows is added'
    ]
    assert desk.counted("signalprocessing_contexts_total", "context") == {"degraded": 1}


@pytest.mark.behaviour(77, 78, "W4", "W9")
@pytest.mark.parametrize(
    ("rule", "answer", "reason", "said"),
    [
        ("environment", Undefined(), "ClassificationFailed", "environment classification failed: the rule is undef"),
        (
            "environment",
            Value({"environment": "qa", "source": "labels"}),
            "ClassificationFailed",
            'environment "qa", which is none of Production, Staging, Development, Test, Unknown',
        ),
        ("priority", Value({"priority": "P9"}), "ClassificationFailed", "priority assignment failed: the rule gave pr"),
        ("severity", Failure("two values"), "RegoEvaluationError", "policy evaluation failed: two values"),
    ],
)
async def test_a_rule_that_gives_nothing_storable_ends_in_failed_before_anything_is_refused(
    desk: SignalProcessingDesk, rule: str, answer: Any, reason: str, said: str
) -> None:
    """Weak point 4: there, the API server refuses the write for ever."""
    desk.policy.answers[rule] = answer
    desk.create()
    await desk.phase("Failed")
    assert desk.verbs == ["patch"] * 4
    assert said in desk.status["failureInfo"]["error"]
    assert {name: found[:2] for name, found in desk.conditions.items()} == {
        "EnrichmentComplete": ("True", "EnrichmentSucceeded"),
        "ClassificationComplete": ("False", reason),
        "CategorizationComplete": ("False", "CategorizationFailed"),
        "ProcessingComplete": ("False", "ProcessingFailed"),
        "Ready": ("False", "NotReady"),
        "Stalled": ("True", "ProcessingFailed"),
    }
    assert said in desk.events.of("PolicyEvaluationFailed")[0]
    assert desk.audit_types[-3:] == ["error.occurred", "phase.transition", "signal.processed"]
    assert [event["event_outcome"] for event in desk.audit[-3:]] == ["failure", "success", "failure"]
    assert desk.audit[-3]["event_data"]["phase"] == "Classifying"
    assert (desk.status["observedGeneration"], desk.queue.due_in(desk.key)) == (1, None)
    assert desk.status["completionTime"] >= desk.status["startTime"]
    assert desk.failures == desk.counted("signalprocessing_policy_errors_total", "error_type") == {rule: 1}


async def test_a_policy_that_cannot_take_the_input_ends_in_failed(desk: SignalProcessingDesk) -> None:
    desk.policy.errors = [PolicyInputError("the answer is too large")]
    desk.create()
    await desk.phase("Failed")
    assert desk.status["failureInfo"]["error"] == "policy evaluation failed: the answer is too large"
    assert desk.conditions["ClassificationComplete"][1] == "RegoEvaluationError"
    assert desk.failures == {"policy": 1}
    assert desk.counted("signalprocessing_policy_errors_total", "error_type") == {"input": 1}


@pytest.mark.behaviour(97, "W7", "W9")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RemoteClusterError("east"), "remote_cluster"),
        (InvalidTargetError("cannot enrich Pod: no namespace"), "invalid_target"),
    ],
)
async def test_what_can_never_be_enriched_fails_at_once_and_says_why(
    desk: SignalProcessingDesk, error: Exception, why: str
) -> None:
    desk.cluster.errors = [error]
    desk.create(clusterID="east")
    await desk.phase("Failed")
    assert desk.cluster.calls == [0]
    assert desk.status["failureInfo"]["error"] == str(error)
    assert desk.conditions["EnrichmentComplete"] == ("False", "EnrichmentFailed", str(error))
    assert desk.conditions["ProcessingComplete"][:2] == ("False", "ProcessingFailed")
    assert desk.events.of("EnrichmentFailed") == [str(error)]
    assert {event["cluster_id"] for event in desk.audit} == {"east"}
    assert desk.failures == {why: 1}


async def test_in_sequential_mode_each_change_is_a_write_and_the_end_is_the_same(
    make_desk: MakeDesk, ledger: RequestLedger
) -> None:
    desk = make_desk(mode="sequential")
    desk.create()
    await desk.phase("Completed")
    ref = f"{PLURAL}/{desk.namespace}/one"
    ledger.assert_requests(ref, {"patch/status": 2 + 1 + 3 + 5 + 3}, user_agent=PROGRAM, only=True)
    assert ledger.phases(ref)[-1] == "Completed"
    assert len(desk.conditions) == 5
    assert (len(desk.events.told), len(desk.audit)) == (6, 9)


async def test_an_object_that_is_being_deleted_is_left_alone(desk: SignalProcessingDesk) -> None:
    created = desk.control_plane.api.create(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"namespace": desk.namespace, "name": "one", "finalizers": ["test.example/keep"]},
        }
    )
    desk.control_plane.api.delete(API_VERSION, KIND, desk.namespace, "one")
    desk.store.observe("ADDED", desk.stored())
    await desk.idle()
    assert desk.requests == []
    desk.control_plane.api.patch(
        created["apiVersion"], created["kind"], desk.namespace, "one", {"metadata": {"finalizers": None}}
    )


async def test_a_signal_without_a_parent_is_completed_without_audit_events(desk: SignalProcessingDesk) -> None:
    """The schema takes an object without a spec; nothing could be correlated."""
    created = desk.control_plane.api.create(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"namespace": desk.namespace, "name": "one"},
        }
    )
    desk.store.observe("ADDED", created)
    await desk.phase("Completed")
    assert desk.audit == []

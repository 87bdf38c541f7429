from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from kubernaut_api import (
    BusinessClassification,
    Condition,
    EnvironmentClassification,
    KubernetesContext,
    PriorityAssignment,
    SignalClassification,
    TargetResource,
)
from kubernaut_signalprocessing.conditions import (
    OWNED_CONDITIONS,
    PHASE_CONDITIONS,
    classification_failed,
    classified,
    completed,
    conditions_for,
    ended,
    enriched,
    enrichment_failed,
    timed_out,
)
from kubernaut_signalprocessing.failure import RuleFailure
from kubernaut_signalprocessing.phases import TERMINAL, TRANSITIONS
from kubernaut_status import ConditionTemplate

POD = TargetResource(kind="Pod", name="api-1", namespace="shop")
FULL = KubernetesContext()
ENVIRONMENT = EnvironmentClassification(environment="Production", source="namespace-labels")
PRIORITY = PriorityAssignment(priority="P0", source="rego-policy")
SIGNAL = SignalClassification(severity="critical", signal_mode="reactive", signal_name="OOMKilled")
PROACTIVE = SignalClassification(
    severity="high", signal_mode="proactive", signal_name="OOMKilled", source_signal_name="PredictedOOMKill"
)
BUSINESS = BusinessClassification(business_unit="payments", criticality="High", sla_requirement="Gold")
UNENDED = [phase for phase in TRANSITIONS if phase and phase not in TERMINAL]


def facts(conditions: Iterable[Condition | ConditionTemplate]) -> list[tuple[str, str, str]]:
    return [(condition.type, condition.status, condition.reason) for condition in conditions]


def along_the_way(now: datetime, context: KubernetesContext = FULL) -> list[Condition]:
    """The conditions of an object that is to be categorized."""
    conditions: list[Condition] = []
    found = {"Classifying": enriched(POD, context), "Categorizing": classified(ENVIRONMENT, PRIORITY, SIGNAL)}
    for phase in UNENDED:
        conditions = conditions_for(conditions, phase, found.get(phase, ()), generation=1, now=now)
    return conditions


@pytest.mark.behaviour(101)
def test_a_completed_object_has_exactly_five_conditions_in_order_and_all_are_true(now: datetime) -> None:
    found = completed(BUSINESS, ENVIRONMENT, PRIORITY, 1.0)
    made = conditions_for(along_the_way(now), "Completed", found, generation=2, now=now)
    assert facts(made) == [
        ("EnrichmentComplete", "True", "EnrichmentSucceeded"),
        ("ClassificationComplete", "True", "ClassificationSucceeded"),
        ("CategorizationComplete", "True", "CategorizationSucceeded"),
        ("ProcessingComplete", "True", "ProcessingSucceeded"),
        ("Ready", "True", "Ready"),
    ]


@pytest.mark.behaviour(101)
def test_messages_name_what_was_found(now: datetime) -> None:
    made = [*along_the_way(now), *completed(BUSINESS, ENVIRONMENT, PRIORITY, 1.234)]
    messages = {condition.type: condition.message for condition in made}
    assert "Pod shop/api-1" in messages["EnrichmentComplete"]
    assert messages["ClassificationComplete"] == (
        "environment=Production (source=namespace-labels), priority=P0 (source=rego-policy), "
        "severity=critical (source=rego-policy)"
    )
    assert messages["CategorizationComplete"] == "businessUnit=payments, criticality=High, sla=Gold"
    assert messages["ProcessingComplete"] == (
        "Signal processed successfully in 1.23s: priority=P0, environment=Production"
    )


def test_a_cluster_scoped_target_is_named_without_a_slash() -> None:
    (condition,) = enriched(TargetResource(kind="Node", name="worker-1"), FULL)
    assert "Node worker-1" in condition.message
    assert "/" not in condition.message


@pytest.mark.parametrize(
    ("target", "words"), [(TargetResource(), "without a target"), (TargetResource(namespace="shop"), "shop/")]
)
def test_a_target_without_kind_and_name_still_gives_a_message(target: TargetResource, words: str) -> None:
    assert words in enriched(target, FULL)[0].message


def test_a_degraded_enrichment_is_complete_and_says_so() -> None:
    (condition,) = enriched(POD, KubernetesContext(degraded_mode=True))
    assert (condition.status, condition.reason) == ("True", "DegradedMode")
    assert "Pod shop/api-1" in condition.message
    assert "degraded" in condition.message


def test_a_failed_enrichment_leaves_the_object_on_its_way(now: datetime) -> None:
    failed = conditions_for([], "Enriching", enrichment_failed('namespaces "x"\nnot found'), generation=1, now=now)
    assert facts(failed) == [
        ("EnrichmentComplete", "False", "EnrichmentFailed"),
        ("Reconciling", "True", "Enriching"),
    ]
    assert failed[0].message == 'namespaces "x" not found'
    later = conditions_for(failed, "Classifying", enriched(POD, FULL), generation=1, now=now)
    assert facts(later)[0] == ("EnrichmentComplete", "True", "EnrichmentSucceeded")


def test_a_proactive_signal_is_told_with_both_names() -> None:
    (condition,) = classified(ENVIRONMENT, PRIORITY, PROACTIVE)
    assert condition.message.endswith(", signalMode=proactive, signalName=OOMKilled, sourceSignalName=PredictedOOMKill")
    assert "signalMode" not in classified(ENVIRONMENT, PRIORITY, SIGNAL)[0].message


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("Pending", []),
        ("Enriching", [("EnrichmentComplete", "False", "EnrichmentFailed")]),
        ("Classifying", [("ClassificationComplete", "False", "ClassificationFailed")]),
        ("Categorizing", [("CategorizationComplete", "False", "CategorizationFailed")]),
    ],
)
def test_work_that_is_given_up_has_its_own_condition_and_that_of_the_whole(
    now: datetime, phase: str, expected: list[tuple[str, str, str]]
) -> None:
    made = conditions_for([], "Failed", ended(phase, "in\nvain"), generation=1, now=now)
    assert facts(made)[:-2] == [*expected, ("ProcessingComplete", "False", "ProcessingFailed")]
    assert made[0].message == "in vain"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("environment", "ClassificationFailed"),
        ("priority", "ClassificationFailed"),
        ("severity", "RegoEvaluationError"),
        ("policy", "RegoEvaluationError"),
    ],
)
def test_a_failed_rule_makes_four_conditions_false(now: datetime, rule: str, reason: str) -> None:
    before = conditions_for([], "Classifying", enriched(POD, FULL), generation=1, now=now)
    found = classification_failed(RuleFailure(rule, "rule is undefined"))  # type: ignore[arg-type]
    made = conditions_for(before, "Failed", found, generation=1, now=now)
    assert facts(made) == [
        ("EnrichmentComplete", "True", "EnrichmentSucceeded"),
        ("ClassificationComplete", "False", reason),
        ("CategorizationComplete", "False", "CategorizationFailed"),
        ("ProcessingComplete", "False", "ProcessingFailed"),
        ("Ready", "False", "NotReady"),
        ("Stalled", "True", "ProcessingFailed"),
    ]
    assert made[1].message == "rule is undefined"
    assert "kipped" in made[2].message


@pytest.mark.behaviour(18)
@pytest.mark.parametrize(
    ("phase", "types"),
    [
        ("Pending", ["ProcessingComplete"]),
        ("Enriching", ["EnrichmentComplete", "ProcessingComplete"]),
        ("Classifying", ["ClassificationComplete", "ProcessingComplete"]),
        ("Categorizing", ["CategorizationComplete", "ProcessingComplete"]),
    ],
)
def test_a_deadline_turns_the_condition_of_its_phase(now: datetime, phase: str, types: list[str]) -> None:
    found = timed_out(phase, "processing timed out")
    assert facts(found) == [(type_, "False", "TimedOut") for type_ in types]
    assert {condition.message for condition in found} == {"processing timed out"}
    made = facts(conditions_for([], "Failed", found, generation=1, now=now))
    assert ("Ready", "False", "NotReady") in made


def test_every_phase_has_its_words_for_kstatus() -> None:
    assert PHASE_CONDITIONS.keys() == TRANSITIONS.keys() - {""}


@pytest.mark.parametrize("phase", [phase for phase in TRANSITIONS if phase])
def test_kstatus_agrees_with_the_phase(phase: str, now: datetime) -> None:
    before = conditions_for([], "Pending", generation=1, now=now)
    found = {condition.type: condition.status for condition in conditions_for(before, phase, generation=1, now=now)}
    assert ("Reconciling" in found) is (phase not in TERMINAL)
    assert ("Stalled" in found) is (phase == "Failed")
    assert found.get("Ready") == {"Completed": "True", "Failed": "False"}.get(phase)


def test_conditions_of_others_stay_where_they_are(now: datetime) -> None:
    foreign = Condition(type="example.com/Seen", status="True", reason="X", message="", last_transition_time=now)
    made = conditions_for([foreign], "Failed", timed_out("Pending", "late"), generation=1, now=now)
    assert made[0] == foreign
    assert {condition.type for condition in made[1:]} <= OWNED_CONDITIONS


def test_what_does_not_flip_keeps_its_transition_time(now: datetime) -> None:
    later = now + timedelta(minutes=5)
    before = conditions_for([], "Enriching", enrichment_failed("one"), generation=1, now=now)
    after = conditions_for(before, "Enriching", enrichment_failed("two"), generation=1, now=later)
    assert after[0].message == "two"
    assert after[0].last_transition_time == now
    flipped = conditions_for(after, "Classifying", enriched(POD, FULL), generation=1, now=later)
    assert flipped[0].last_transition_time == later


def test_the_same_facts_give_the_same_bytes(now: datetime) -> None:
    first = along_the_way(now)
    again = conditions_for(
        first, "Categorizing", classified(ENVIRONMENT, PRIORITY, SIGNAL), generation=1, now=now + timedelta(hours=1)
    )
    assert [condition.to_wire() for condition in again] == [condition.to_wire() for condition in first]


def test_every_condition_of_a_pass_carries_the_generation(now: datetime) -> None:
    made = conditions_for([], "Completed", completed(BUSINESS, None, None, 0), generation=7, now=now)
    assert [condition.observed_generation for condition in made] == [7, 7, 7]

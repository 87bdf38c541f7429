"""Whole policies, evaluated for real: one that adds up scores, the shipped one, and ones that lack something."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import pytest

from kubernaut_api import ClusterContext, KubernetesContext, SignalProcessing, WorkloadContext
from kubernaut_policy import Policy, PolicyCompileError, PolicyEvaluator, PolicyUnavailableError
from kubernaut_signalprocessing.classification.policy import QUERIES, Classification, Classifier
from kubernaut_signalprocessing.classification.policy_file import load_policy
from kubernaut_signalprocessing.classification.signal_mode import SignalModes
from kubernaut_testing.clock import FakeClock

MakeSP = Callable[..., SignalProcessing]

SHIPPED = files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_text()
SCORES = """
package signalprocessing

import rego.v1

label := lower(input.namespace.labels["kubernaut.ai/environment"])

environment := {"environment": label, "source": "namespace-labels"} if {
	label != ""
} else := {"environment": "staging", "source": "rego-inference"} if {
	startswith(input.namespace.name, "staging")
} else := {"environment": "production", "source": "rego-inference"} if {
	startswith(input.namespace.name, "prod")
} else := {"environment": "unknown", "source": "default"}

of_severity := {"critical": 3, "high": 2, "warning": 2, "info": 1}

of_environment := {"production": 3, "staging": 2, "development": 1, "test": 1}

of_place := object.get(of_environment, environment.environment, 0)

score := object.get(of_severity, lower(input.signal.severity), 0) + of_place

priority := {"priority": "P0", "policy_name": "score"} if {
	score >= 6
} else := {"priority": "P1", "policy_name": "score"} if {
	score == 5
} else := {"priority": "P2", "policy_name": "score"} if {
	score == 4
} else := {"priority": "P3", "policy_name": "score"}

default severity := "unknown"

severity := lower(input.signal.severity) if lower(input.signal.severity) in {"critical", "high", "warning", "info"}
"""
FAILING_LABELS = """
labels["team"] := "one"
labels["team"] := "two"
"""


@pytest.fixture
async def scores() -> AsyncIterator[Classifier]:
    async with PolicyEvaluator(Policy.from_bytes(SCORES.encode()), spares=0, queries=QUERIES) as evaluator:
        yield Classifier(evaluator, SignalModes())


@pytest.fixture
async def shipped() -> AsyncIterator[Classifier]:
    async with PolicyEvaluator(Policy.from_bytes(SHIPPED.encode()), spares=0, queries=QUERIES) as evaluator:
        yield Classifier(evaluator, SignalModes())


def signal_in(make_sp: MakeSP, name: str, label: str, severity: str) -> SignalProcessing:
    labels = {"labels": {"kubernaut.ai/environment": label}} if label else {}
    context = {"namespace": {"name": name, **labels}}
    return make_sp(signal={"name": "a", "severity": severity}, status={"kubernetesContext": context})


SCORED = {
    ("shop", "production", "critical"): ("Production", "namespace-labels", "P0"),
    ("shop", "Staging", "high"): ("Staging", "namespace-labels", "P2"),
    ("shop", "staging", "critical"): ("Staging", "namespace-labels", "P1"),
    ("shop", "development", "low"): ("Development", "namespace-labels", "P3"),
    ("staging-7", "", "info"): ("Staging", "rego-inference", "P3"),
    ("prod-eu", "", "info"): ("Production", "rego-inference", "P2"),
    ("shop", "", "info"): ("Unknown", "default", "P3"),
    ("shop", "", "critical"): ("Unknown", "default", "P3"),
}
"""Namespace, its label, severity -> environment, its source, priority."""


@pytest.mark.behaviour(65, 67, 68, 69, 70, 71, 72, 73)
async def test_a_policy_of_one_s_own_decides_by_label_name_and_severity(
    scores: Classifier, make_sp: MakeSP, now: datetime
) -> None:
    for (name, label, severity), expected in SCORED.items():
        found = await scores.classify(signal_in(make_sp, name, label, severity), now)
        assert isinstance(found, Classification)
        decided = (found.environment.environment, found.environment.source, found.priority.priority)
        assert decided == expected, (name, label, severity)
        assert "rego" in found.priority.source


@pytest.mark.behaviour(61, 62, 66, "W17")
async def test_the_shipped_policy_classifies_the_cluster_by_its_label_and_high_in_production_as_p1(
    shipped: Classifier, make_sp: MakeSP, now: datetime
) -> None:
    sp = signal_in(make_sp, "shop", "production", "High")
    assert sp.status.kubernetes_context is not None
    for labels, expected in (({"environment": "production", "tier": "gold"}, "production"), ({}, "")):
        sp.status.kubernetes_context.cluster = ClusterContext(labels=labels) if labels else None
        found = await shipped.classify(sp, now)
        assert isinstance(found, Classification)
        assert (found.priority.priority, found.priority.policy_name) == ("P1", "production-high")
        assert found.signal.cluster_classification == expected


@pytest.mark.behaviour(64)
async def test_a_policy_without_a_rule_for_clusters_gives_an_empty_class(
    scores: Classifier, make_sp: MakeSP, now: datetime
) -> None:
    sp = make_sp()
    sp.status.kubernetes_context = KubernetesContext(cluster=ClusterContext(labels={"environment": "production"}))
    found = await scores.classify(sp, now)
    assert isinstance(found, Classification)
    assert found.signal.cluster_classification == ""


NODE = KubernetesContext(
    workload=WorkloadContext(kind="Node", name="n", labels={"kubernaut.ai/team": "infra", "kubernaut.ai/tier": "1"})
)


@pytest.mark.behaviour(87)
async def test_a_label_rule_that_fails_leaves_the_labels_of_a_node(make_sp: MakeSP) -> None:
    policy = Policy.from_bytes((SCORES + FAILING_LABELS).encode())
    async with PolicyEvaluator(policy, spares=0, queries=QUERIES) as evaluator:
        labels = await Classifier(evaluator, SignalModes()).custom_labels(make_sp().spec.signal, NODE)
    assert labels == {"team": ["infra"], "tier": ["1"]}


@pytest.mark.behaviour(79)
async def test_without_a_policy_no_mandatory_answer_is_made_up_and_labels_are_the_well_known_ones(
    make_sp: MakeSP, now: datetime
) -> None:
    evaluator = PolicyEvaluator(spares=0, queries=QUERIES)
    try:
        await evaluator.start()
        classifier = Classifier(evaluator, SignalModes())
        with pytest.raises(PolicyUnavailableError):
            await classifier.classify(make_sp(), now)
        assert await classifier.custom_labels(make_sp().spec.signal, NODE) == {"team": ["infra"], "tier": ["1"]}
    finally:
        await evaluator.close()


@pytest.mark.behaviour(80)
async def test_an_evaluation_that_is_cancelled_gives_no_answer_and_the_next_one_does(
    scores: Classifier, make_sp: MakeSP, now: datetime
) -> None:
    sp = signal_in(make_sp, "shop", "production", "critical")
    asked = asyncio.create_task(scores.classify(sp, now))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert isinstance(await scores.classify(sp, now), Classification)


@pytest.mark.behaviour(81, "W16")
async def test_a_new_text_decides_from_the_next_question_on_and_a_broken_one_changes_nothing(
    make_sp: MakeSP, now: datetime
) -> None:
    async with PolicyEvaluator(spares=0, queries=QUERIES) as evaluator:
        classifier, path = Classifier(evaluator, SignalModes()), Path("policy.rego")
        sp = signal_in(make_sp, "shop", "production", "warning")

        async def asked() -> tuple[str, str]:
            found = await classifier.classify(sp, now)
            assert isinstance(found, Classification)
            return found.priority.priority, found.signal.policy_hash

        for text, priority in ((SHIPPED, "P3"), (SCORES, "P1")):
            await load_policy(evaluator, text.encode(), path, FakeClock())
            assert await asked() == (priority, hashlib.sha256(text.encode()).hexdigest())
        with pytest.raises(PolicyCompileError):
            await load_policy(evaluator, b"package signalprocessing\n\nseverity := ", path, FakeClock())
        assert (await asked())[0] == "P1"

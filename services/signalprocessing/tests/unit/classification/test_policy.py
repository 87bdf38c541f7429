"""Answers of a policy, read strictly; and the shipped policy, asked for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenarios.signalprocessing_in_process import POLICY_HASH, ScriptedPolicy

from kubernaut_api import KubernetesContext, NamespaceContext, SignalProcessing
from kubernaut_api.signalprocessing import ENVIRONMENTS, PRIORITIES, SEVERITIES
from kubernaut_policy import (
    Answer,
    Failure,
    Policy,
    PolicyCrashError,
    PolicyError,
    PolicyEvaluator,
    PolicyInputError,
    PolicyTimeoutError,
    PolicyUnavailableError,
    Undefined,
    Value,
)
from kubernaut_signalprocessing.classification.policy import (
    CLASSIFYING_QUERIES,
    MAX_TEXT,
    QUERIES,
    Classification,
    Classifier,
    PolicyBusyError,
)
from kubernaut_signalprocessing.classification.signal_mode import SignalModes
from kubernaut_signalprocessing.failure import RuleFailure
from kubernaut_signalprocessing.metrics import PolicyLack

MakeSP = Callable[..., SignalProcessing]


async def ask(
    sp: SignalProcessing, now: datetime, answers: Mapping[str, Answer] | None = None
) -> Classification | RuleFailure:
    policy = ScriptedPolicy()
    policy.answers.update(answers or {})
    return await Classifier(policy, SignalModes()).classify(sp, now)


@pytest.mark.behaviour("W16")
async def test_all_answers_come_from_one_evaluation_and_carry_its_hash(make_sp: MakeSP, now: datetime) -> None:
    policy = ScriptedPolicy()
    found = await Classifier(policy, SignalModes()).classify(make_sp(), now)
    assert isinstance(found, Classification)
    assert (len(policy.inputs), found.signal.policy_hash) == (1, POLICY_HASH)
    assert list(CLASSIFYING_QUERIES.values()) == [
        f"data.signalprocessing.{name}" for name in ("environment", "priority", "severity", "cluster")
    ]


@pytest.mark.parametrize("name", ["production", "PRODUCTION", "Production"])
async def test_an_environment_is_known_in_any_case(make_sp: MakeSP, now: datetime, name: str) -> None:
    found = await ask(make_sp(), now, {"environment": Value({"environment": name})})
    assert isinstance(found, Classification)
    assert (found.environment.environment, found.environment.source) == ("Production", "default")
    assert found.environment.classified_at == found.priority.assigned_at == now


@pytest.mark.behaviour("W4")
@pytest.mark.parametrize(
    ("answers", "rule", "cause"),
    [
        ({"environment": Undefined()}, "environment", "the rule is undefined for this signal; give it a default"),
        ({"environment": Failure("conflict")}, "environment", "conflict"),
        ({"environment": Value("production")}, "environment", 'the rule gave "production", which is no object'),
        ({"environment": Value(None)}, "environment", "the rule gave null, which is no object"),
        ({"environment": Value({"environment": ""})}, "environment", 'environment "", which is none of Production'),
        ({"environment": Value({"source": "x"})}, "environment", "environment null, which is none of Production"),
        ({"environment": Value({"environment": 1})}, "environment", "environment 1, which is none of Production"),
        ({"priority": Value({"priority": "p0"})}, "priority", 'priority "p0", which is none of P0, P1, P2, P3'),
        ({"priority": Value(["P0"])}, "priority", "which is no object"),
        ({"severity": Value("Critical")}, "severity", '"Critical", which is none of critical, high'),
        ({"severity": Value({})}, "severity", "the rule gave {}, which is none of critical"),
        ({"severity": Undefined()}, "severity", "undefined"),
    ],
)
async def test_what_a_mandatory_rule_must_not_give(
    make_sp: MakeSP, now: datetime, answers: dict[str, Answer], rule: str, cause: str
) -> None:
    failure = await ask(make_sp(), now, answers)
    assert isinstance(failure, RuleFailure)
    assert failure.rule == rule
    assert cause in failure.cause


async def test_the_first_rule_that_failed_is_told(make_sp: MakeSP, now: datetime) -> None:
    failure = await ask(make_sp(), now, {name: Undefined() for name in ("severity", "priority")})
    assert isinstance(failure, RuleFailure)
    assert failure.rule == "priority"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Value("edge"), "edge"),
        (Value(""), ""),
        (Undefined(), ""),
        (Failure("conflict"), ""),
        (Value(7), ""),
        (Value("two\nlines"), "two lines"),
    ],
)
async def test_the_class_of_the_cluster_may_be_missing(
    make_sp: MakeSP, now: datetime, answer: Answer, expected: str
) -> None:
    found = await ask(make_sp(), now, {"cluster": answer})
    assert isinstance(found, Classification)
    assert found.signal.cluster_classification == expected


async def test_texts_of_the_policy_are_bounded(make_sp: MakeSP, now: datetime) -> None:
    long = "x" * 10_000
    found = await ask(
        make_sp(),
        now,
        {
            "environment": Value({"environment": "test", "source": long}),
            "priority": Value({"priority": "P1", "policy_name": long}),
            "cluster": Value(long),
        },
    )
    assert isinstance(found, Classification)
    texts = (found.environment.source, found.priority.policy_name, found.signal.cluster_classification)
    assert [len(text) for text in texts] == [MAX_TEXT] * 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["environment", "source", "priority", "policy_name"])
ANSWERS = st.one_of(
    st.builds(Value, JSON | st.dictionaries(NAMES, JSON | st.sampled_from(["P0", "test"]))),
    st.just(Undefined()),
    st.builds(Failure, st.text(max_size=8)),
)


@pytest.mark.behaviour("W4")
@given(st.fixed_dictionaries(dict.fromkeys(("environment", "priority", "severity", "cluster"), ANSWERS)))
async def test_whatever_a_policy_answers_what_is_classified_can_be_stored(answers: dict[str, Answer]) -> None:
    now = datetime.fromisoformat("2026-03-01T10:00:00Z")
    found = await ask(SignalProcessing(), now, answers)
    if isinstance(found, Classification):
        assert found.environment.environment in ENVIRONMENTS
        assert found.priority.priority in PRIORITIES
        assert found.signal.severity in SEVERITIES
    else:
        assert found.text


@pytest.mark.behaviour("W5")
@pytest.mark.parametrize(
    "error",
    [
        PolicyTimeoutError("evaluate", 5),
        PolicyCrashError("evaluate", -9),
        PolicyUnavailableError("no worker is free", retryable=True),
    ],
)
async def test_no_answer_for_now_is_no_verdict(make_sp: MakeSP, now: datetime, error: PolicyError) -> None:
    policy = ScriptedPolicy()
    policy.errors = [error]
    with pytest.raises(PolicyBusyError, match=r".+"):
        await Classifier(policy, SignalModes()).classify(make_sp(), now)


@pytest.mark.behaviour(13)
async def test_without_an_evaluator_nothing_is_said_of_the_signal(make_sp: MakeSP, now: datetime) -> None:
    policy = ScriptedPolicy()
    policy.errors = [PolicyUnavailableError("the evaluator is closed")]
    with pytest.raises(PolicyUnavailableError):
        await Classifier(policy, SignalModes()).classify(make_sp(), now)


LABELLED = KubernetesContext(namespace=NamespaceContext(name="shop", labels={"kubernaut.ai/team": "payments"}))


@pytest.mark.behaviour(85, 86)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Value({"tier": ["gold", 7, "silver"], "kubernaut.ai/x": ["y"]}), {"tier": ["gold", "silver"]}),
        (Value({"tier": "gold"}), {"tier": ["gold"]}),
        (Value({}), {"team": ["payments"]}),
        (Value(["no", "object"]), {"team": ["payments"]}),
        (Undefined(), {"team": ["payments"]}),
        (Failure("conflict"), {"team": ["payments"]}),
    ],
)
async def test_custom_labels_are_the_policys_or_the_well_known_ones(
    answer: Answer, expected: dict[str, list[str]]
) -> None:
    policy = ScriptedPolicy()
    policy.answers["labels"] = answer
    labels = await Classifier(policy, SignalModes()).custom_labels(SignalProcessing().spec.signal, LABELLED)
    assert labels == expected


class Away:
    """A policy that gives no answer."""

    def __init__(self, error: PolicyError) -> None:
        self.error = error

    async def evaluate(self, queries: Mapping[str, str], document: Any, /) -> Any:
        raise self.error


async def test_a_policy_that_is_busy_decides_nothing_about_custom_labels() -> None:
    lacking: list[PolicyLack] = []
    classifier = Classifier(Away(PolicyTimeoutError("evaluate", 5)), SignalModes(), lacking.append)
    with pytest.raises(PolicyBusyError):
        await classifier.custom_labels(SignalProcessing().spec.signal, LABELLED)
    assert lacking == ["timeout"]


async def test_a_policy_that_cannot_be_asked_leaves_the_well_known_labels() -> None:
    lacking: list[PolicyLack] = []
    classifier = Classifier(Away(PolicyInputError("too large")), SignalModes(), lacking.append)
    assert await classifier.custom_labels(SignalProcessing().spec.signal, LABELLED) == {"team": ["payments"]}
    assert lacking == ["input"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PolicyTimeoutError("evaluate", 5), "timeout"),
        (PolicyCrashError("evaluate", -9), "crash"),
        (PolicyUnavailableError("no worker is free", retryable=True), "unavailable"),
    ],
)
async def test_an_evaluation_without_an_answer_is_told_by_its_kind(
    make_sp: MakeSP, now: datetime, error: PolicyError, kind: PolicyLack
) -> None:
    policy, lacking = ScriptedPolicy(), list[PolicyLack]()
    policy.errors = [error]
    with pytest.raises(PolicyBusyError):
        await Classifier(policy, SignalModes(), lacking.append).classify(make_sp(), now)
    assert lacking == [kind]


async def test_a_rule_that_fails_no_signal_is_told_if_its_answer_is_unusable_and_not_if_there_is_none(
    make_sp: MakeSP, now: datetime
) -> None:
    policy, lacking = ScriptedPolicy(), list[PolicyLack]()
    classifier = Classifier(policy, SignalModes(), lacking.append)
    for answer in (Undefined(), Value(7), Failure("two values")):
        policy.answers |= {"cluster": answer, "labels": answer}
        assert isinstance(await classifier.classify(make_sp(), now), Classification)
        await classifier.custom_labels(SignalProcessing().spec.signal, LABELLED)
    assert lacking == ["cluster", "labels"] * 2


@pytest.mark.behaviour(68, 74, "W17")
async def test_the_shipped_policy_classifies_by_label_and_severity(make_sp: MakeSP, now: datetime) -> None:
    content = files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_bytes()
    context = {"namespace": {"name": "shop", "labels": {"kubernaut.ai/environment": "staging"}}}
    async with PolicyEvaluator(Policy.from_bytes(content), spares=0, queries=QUERIES) as evaluator:
        classifier = Classifier(evaluator, SignalModes({"PredictedOOMKill": "OOMKilled"}))
        signal = {"name": "PredictedOOMKill", "severity": "P0"}
        found = await classifier.classify(make_sp(signal=signal, status={"kubernetesContext": context}), now)
        bare = await classifier.classify(SignalProcessing(), now)
        labels = await classifier.custom_labels(make_sp().spec.signal, LABELLED)
        assert evaluator.policy is not None
        digest = evaluator.policy.hash
    assert isinstance(found, Classification)
    assert (found.environment.environment, found.environment.source) == ("Staging", "namespace-labels")
    assert (found.priority.priority, found.priority.policy_name) == ("P1", "staging-critical")
    assert (found.signal.severity, found.signal.policy_hash) == ("critical", digest)
    assert (found.signal.signal_mode, found.signal.signal_name) == ("proactive", "OOMKilled")
    assert labels == {"team": ["payments"]}
    assert isinstance(bare, Classification), "no signal fails for what its namespace does not say"
    assert (bare.environment.environment, bare.priority.priority, bare.signal.severity) == ("Unknown", "P3", "unknown")

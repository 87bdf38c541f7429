"""The policy's part of the classification: asked once, read strictly.

One evaluation answers all queries of a phase, so no signal mixes two versions of the policy, and the hash in its status
is that of the text that decided.

| query `data.signalprocessing.…` | must be | else |
|---|---|---|
| `environment` | object; `environment` one of five names in any case, `source` text | `RuleFailure` |
| `priority` | object; `priority` P0 to P3, `policy_name` text | `RuleFailure` |
| `severity` | one of five words in lower case | `RuleFailure` |
| `cluster` | text | empty |
| `labels` | object of texts and lists of texts | labels of namespace and workload |

The rules are looked at in this order, and the first that fails is told. A value outside of the CRD's enumerations is a
failure of its rule, told with the value: the API server would refuse it for ever.

That there was no answer in time, or that the evaluator died, says nothing about the signal: `PolicyBusyError`, and the
caller tries again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from kubernaut_api import (
    EnvironmentClassification,
    KubernetesContext,
    PriorityAssignment,
    SignalClassification,
    SignalProcessing,
)
from kubernaut_api.signalprocessing import ENVIRONMENTS, PRIORITIES, SEVERITIES, Signal
from kubernaut_policy import (
    Answer,
    Failure,
    PolicyCrashError,
    PolicyError,
    PolicyInputError,
    PolicyTimeoutError,
    Results,
    Value,
)
from kubernaut_runtime.text import cut, one_line
from kubernaut_signalprocessing.enrichment.labels import custom_labels
from kubernaut_signalprocessing.failure import MandatoryRule, RuleFailure
from kubernaut_signalprocessing.metrics import PolicyLack

from .document import input_document
from .signal_mode import SignalModes

logger = logging.getLogger(__name__)

PACKAGE = "data.signalprocessing"
CLASSIFYING_QUERIES = {name: f"{PACKAGE}.{name}" for name in ("environment", "priority", "severity", "cluster")}
LABELS_QUERY = {"labels": f"{PACKAGE}.labels"}
MANDATORY: tuple[MandatoryRule, ...] = ("environment", "priority", "severity")
"""The rules without which a signal fails."""

QUERIES = (*CLASSIFYING_QUERIES.values(), *LABELS_QUERY.values())
"""All that the policy is ever asked."""

SOURCE_OF_PRIORITY = "rego-policy"
DEFAULT_SOURCE = "default"

MAX_TEXT = 256
"""Code points of a text of the policy's own choice: a source, a rule's name, a cluster's class."""

_MAX_QUOTED = 80


class PolicyBusyError(Exception):
    """The policy gave no answer, and may give one later: out of time, or its process died."""


class PolicyEvaluator(Protocol):
    """What answers queries (`kubernaut_policy.PolicyEvaluator`)."""

    async def evaluate(self, queries: Mapping[str, str], document: Any, /) -> Results:
        """Answer `queries` (name -> reference) over one input with one version of the policy. Raises `PolicyError`."""
        ...


@dataclass(frozen=True, slots=True)
class Classification:
    """Everything that phase Classifying finds out."""

    environment: EnvironmentClassification
    priority: PriorityAssignment
    signal: SignalClassification


class Classifier:
    """Asks `evaluator`, and the table of proactive signals; `lacking` is told what an answer lacks, for the metric."""

    def __init__(
        self, evaluator: PolicyEvaluator, modes: SignalModes, lacking: Callable[[PolicyLack], None] = lambda lack: None
    ) -> None:
        self._evaluator = evaluator
        self._modes = modes
        self._lacking = lacking

    async def classify(self, sp: SignalProcessing, now: datetime) -> Classification | RuleFailure:
        """Return what `sp` is, by its stored context; or the first mandatory rule that failed.

        Raises `PolicyBusyError`, and `PolicyError` when there is no evaluator at all.
        """
        document = input_document(sp.spec.signal, sp.status.kubernetes_context)
        try:
            results = await self._evaluator.evaluate(CLASSIFYING_QUERIES, document)
        except PolicyError as error:
            self._lacking(_kind(error))
            if isinstance(error, PolicyInputError):
                return RuleFailure("policy", str(error))
            if error.retryable:
                raise PolicyBusyError(str(error)) from error
            raise
        found = self._read(results, sp.spec.signal, now)
        if isinstance(found, RuleFailure) and found.rule != "policy":
            self._lacking(found.rule)
        return found

    async def custom_labels(self, signal: Signal, context: KubernetesContext) -> dict[str, list[str]]:
        """Return the custom labels of a target that was just read. A rule that fails leaves the well-known ones.

        Raises `PolicyBusyError`.
        """
        lack: PolicyLack = "labels"
        try:
            answer = (await self._evaluator.evaluate(LABELS_QUERY, input_document(signal, context)))["labels"]
        except PolicyError as error:
            lack, answer = _kind(error), Failure(str(error))
            if error.retryable:
                self._lacking(lack)
                raise PolicyBusyError(str(error)) from error
        if isinstance(answer, Value) and isinstance(answer.value, dict):
            return custom_labels(context, answer.value)
        if not _undefined(answer):
            self._lacking(lack)
            logger.warning("the policy's labels are not used", extra={"rule": "labels", "error": _said(answer)})
        return custom_labels(context, None)

    def _read(self, results: Results, signal: Signal, now: datetime) -> Classification | RuleFailure:
        environment = _environment(results["environment"], now)
        if isinstance(environment, RuleFailure):
            return environment
        priority = _priority(results["priority"], now)
        if isinstance(priority, RuleFailure):
            return priority
        severity = _severity(results["severity"])
        if isinstance(severity, RuleFailure):
            return severity
        mode = self._modes.of(signal.name)
        classes = SignalClassification(
            severity=severity,
            policy_hash=results.hash,
            cluster_classification=self._cluster(results["cluster"]),
            signal_mode=mode.mode,
            signal_name=mode.signal_name,
            source_signal_name=mode.source_signal_name,
        )
        return Classification(environment, priority, classes)

    def _cluster(self, answer: Answer) -> str:
        if isinstance(answer, Value) and isinstance(answer.value, str):
            return _text(answer.value)
        if not _undefined(answer):
            self._lacking("cluster")
            logger.warning(
                "the policy's class of the cluster is not used", extra={"rule": "cluster", "error": _said(answer)}
            )
        return ""


def _kind(error: PolicyError) -> PolicyLack:
    if isinstance(error, PolicyTimeoutError):
        return "timeout"
    if isinstance(error, PolicyCrashError):
        return "crash"
    return "input" if isinstance(error, PolicyInputError) else "unavailable"


_ENVIRONMENT_OF = {name.lower(): name for name in ENVIRONMENTS}


def _environment(answer: Answer, now: datetime) -> EnvironmentClassification | RuleFailure:
    value = _object("environment", answer)
    if isinstance(value, RuleFailure):
        return value
    name = value.get("environment")
    known = _ENVIRONMENT_OF.get(name.lower()) if isinstance(name, str) else None
    if known is None:
        return _outside("environment", "environment", name, ENVIRONMENTS)
    return EnvironmentClassification(
        environment=known, source=_text(value.get("source")) or DEFAULT_SOURCE, classified_at=now
    )


def _priority(answer: Answer, now: datetime) -> PriorityAssignment | RuleFailure:
    value = _object("priority", answer)
    if isinstance(value, RuleFailure):
        return value
    priority = value.get("priority")
    if not isinstance(priority, str) or priority not in PRIORITIES:
        return _outside("priority", "priority", priority, PRIORITIES)
    return PriorityAssignment(
        priority=priority, source=SOURCE_OF_PRIORITY, assigned_at=now, policy_name=_text(value.get("policy_name"))
    )


def _severity(answer: Answer) -> str | RuleFailure:
    if not isinstance(answer, Value):
        return RuleFailure("severity", _said(answer))
    if not isinstance(answer.value, str) or answer.value not in SEVERITIES:
        return _outside("severity", "", answer.value, SEVERITIES)
    return answer.value


def _object(rule: MandatoryRule, answer: Answer) -> Mapping[str, Any] | RuleFailure:
    if not isinstance(answer, Value):
        return RuleFailure(rule, _said(answer))
    if not isinstance(answer.value, dict):
        return RuleFailure(rule, f"the rule gave {_quoted(answer.value)}, which is no object")
    return answer.value


def _outside(rule: MandatoryRule, member: str, value: object, allowed: Sequence[str]) -> RuleFailure:
    what = f"{member} {_quoted(value)}" if member else _quoted(value)
    return RuleFailure(rule, f"the rule gave {what}, which is none of {', '.join(allowed)}")


def _undefined(answer: Answer) -> bool:
    return not isinstance(answer, Value | Failure)


def _said(answer: Answer) -> str:
    if isinstance(answer, Failure):
        return answer.message
    if isinstance(answer, Value):
        return f"the rule gave {_quoted(answer.value)}"
    return "the rule is undefined for this signal; give it a default"


def _text(value: object) -> str:
    return cut(one_line(value), MAX_TEXT) if isinstance(value, str) else ""


def _quoted(value: object) -> str:
    return cut(one_line(json.dumps(value, ensure_ascii=False)), _MAX_QUOTED)

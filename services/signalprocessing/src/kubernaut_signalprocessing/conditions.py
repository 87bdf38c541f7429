"""The conditions of a SignalProcessing, all of them built here.

| type | says |
|---|---|
| `EnrichmentComplete` | the target was read, in full or degraded; False while that fails |
| `ClassificationComplete` | environment, priority and severity, each with where it comes from |
| `CategorizationComplete` | the business behind the target |
| `ProcessingComplete` | how long it took, or why it ended early |
| `Ready` | the end: True when completed, False when failed |
| `Reconciling`, `Stalled` | the phase in the words of kstatus, so that `helm --wait` and Flux agree with it |

Ready, Reconciling and Stalled follow from the phase alone, by one table; the others are findings, one function each. A
completed object has exactly the first five, in this order. Messages are deterministic: the same facts give the same
bytes, so that a status which says nothing new is not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from kubernaut_api import (
    BusinessClassification,
    Condition,
    EnvironmentClassification,
    KubernetesContext,
    PriorityAssignment,
    SignalClassification,
    TargetResource,
)
from kubernaut_status import KSTATUS_TYPES, READY, STALLED, ConditionTemplate, in_progress, with_conditions

from .failure import Culprit, RuleFailure, bounded
from .phases import CATEGORIZING, CLASSIFYING, COMPLETED, ENRICHING, FAILED, PENDING

ENRICHMENT_COMPLETE = "EnrichmentComplete"
CLASSIFICATION_COMPLETE = "ClassificationComplete"
CATEGORIZATION_COMPLETE = "CategorizationComplete"
PROCESSING_COMPLETE = "ProcessingComplete"

OWNED_CONDITIONS = KSTATUS_TYPES | {
    ENRICHMENT_COMPLETE,
    CLASSIFICATION_COMPLETE,
    CATEGORIZATION_COMPLETE,
    PROCESSING_COMPLETE,
}
"""Condition types that only this controller writes; those of others are left as they are."""

REASON_ENRICHED = "EnrichmentSucceeded"
REASON_DEGRADED = "DegradedMode"
REASON_ENRICHMENT_FAILED = "EnrichmentFailed"
REASON_CLASSIFIED = "ClassificationSucceeded"
REASON_CLASSIFICATION_FAILED = "ClassificationFailed"
REASON_REGO_ERROR = "RegoEvaluationError"
REASON_CATEGORIZED = "CategorizationSucceeded"
REASON_CATEGORIZATION_FAILED = "CategorizationFailed"
REASON_PROCESSED = "ProcessingSucceeded"
REASON_PROCESSING_FAILED = "ProcessingFailed"
REASON_TIMED_OUT = "TimedOut"

SEVERITY_SOURCE = "rego-policy"
"""Where severities come from; status has no field for it."""


PHASE_CONDITIONS: Mapping[str, tuple[ConditionTemplate, ...]] = {
    PENDING: in_progress("Pending", "Signal is waiting to be processed"),
    ENRICHING: in_progress("Enriching", "The target is being read"),
    CLASSIFYING: in_progress("Classifying", "The policy is being asked"),
    CATEGORIZING: in_progress("Categorizing", "The business is being determined"),
    COMPLETED: (ConditionTemplate(READY, "True", "Ready", "Signal is ready for analysis"),),
    FAILED: (
        ConditionTemplate(READY, "False", "NotReady", "Signal processing failed"),
        ConditionTemplate(STALLED, "True", "ProcessingFailed", "The signal will not be processed again"),
    ),
}
"""Phase -> its conditions among Ready, Reconciling and Stalled; those of the three that are not named are removed."""

_COMPLETION_OF: Mapping[str, str] = {
    ENRICHING: ENRICHMENT_COMPLETE,
    CLASSIFYING: CLASSIFICATION_COMPLETE,
    CATEGORIZING: CATEGORIZATION_COMPLETE,
}
"""Phase -> the condition that says whether its work is done; Pending has no work of its own."""

_FAILURE_OF: Mapping[str, str] = {
    ENRICHING: REASON_ENRICHMENT_FAILED,
    CLASSIFYING: REASON_CLASSIFICATION_FAILED,
    CATEGORIZING: REASON_CATEGORIZATION_FAILED,
}
"""Phase -> the reason of that condition when the phase's work failed for good."""

_RULE_REASONS: Mapping[Culprit, str] = {
    "environment": REASON_CLASSIFICATION_FAILED,
    "priority": REASON_CLASSIFICATION_FAILED,
    "severity": REASON_REGO_ERROR,
    "policy": REASON_REGO_ERROR,
}

Templates = tuple[ConditionTemplate, ...]


def enriched(target: TargetResource, context: KubernetesContext) -> Templates:
    """EnrichmentComplete is True: in full, or degraded because the target could not be read."""
    if context.degraded_mode:
        message = f"{named(target)}: enriched in degraded mode, without the target's own data"
        return (ConditionTemplate(ENRICHMENT_COMPLETE, "True", REASON_DEGRADED, message),)
    return (ConditionTemplate(ENRICHMENT_COMPLETE, "True", REASON_ENRICHED, f"{named(target)}: enriched"),)


def enrichment_failed(error: str) -> Templates:
    """EnrichmentComplete is False; the phase stays and the enrichment is tried again."""
    return (ConditionTemplate(ENRICHMENT_COMPLETE, "False", REASON_ENRICHMENT_FAILED, bounded(error)),)


def classified(
    environment: EnvironmentClassification, priority: PriorityAssignment, signal: SignalClassification
) -> Templates:
    """ClassificationComplete is True; a proactive signal also says so, with both of its names."""
    facts = [
        f"environment={environment.environment} (source={environment.source})",
        f"priority={priority.priority} (source={priority.source})",
        f"severity={signal.severity} (source={SEVERITY_SOURCE})",
    ]
    if signal.signal_mode == "proactive":
        facts += [
            "signalMode=proactive",
            f"signalName={signal.signal_name}",
            f"sourceSignalName={signal.source_signal_name}",
        ]
    return (ConditionTemplate(CLASSIFICATION_COMPLETE, "True", REASON_CLASSIFIED, bounded(", ".join(facts))),)


def classification_failed(failure: RuleFailure) -> Templates:
    """A mandatory rule gave no answer: classification, categorization and processing are False."""
    reason = _RULE_REASONS[failure.rule]
    missing = "classification" if failure.rule == "policy" else failure.rule
    return (
        ConditionTemplate(CLASSIFICATION_COMPLETE, "False", reason, bounded(failure.cause)),
        ConditionTemplate(
            CATEGORIZATION_COMPLETE, "False", REASON_CATEGORIZATION_FAILED, "Skipped: the classification failed"
        ),
        ConditionTemplate(PROCESSING_COMPLETE, "False", REASON_PROCESSING_FAILED, f"No {missing} could be determined"),
    )


def completed(
    business: BusinessClassification,
    environment: EnvironmentClassification | None,
    priority: PriorityAssignment | None,
    seconds: float,
) -> Templates:
    """CategorizationComplete and ProcessingComplete are True; `seconds` is the time since the start."""
    categories = (
        f"businessUnit={business.business_unit}, criticality={business.criticality}, sla={business.sla_requirement}"
    )
    outcome = (
        f"Signal processed successfully in {max(0.0, seconds):.2f}s: "
        f"priority={priority.priority if priority else ''}, "
        f"environment={environment.environment if environment else ''}"
    )
    return (
        ConditionTemplate(CATEGORIZATION_COMPLETE, "True", REASON_CATEGORIZED, bounded(categories)),
        ConditionTemplate(PROCESSING_COMPLETE, "True", REASON_PROCESSED, outcome),
    )


def ended(phase: str, text: str) -> Templates:
    """The work of `phase` is given up because of `text`: its own condition, if it has one, and ProcessingComplete."""
    types = {_COMPLETION_OF[phase]: _FAILURE_OF[phase]} if phase in _COMPLETION_OF else {}
    return tuple(
        ConditionTemplate(type_, "False", reason, bounded(text))
        for type_, reason in {**types, PROCESSING_COMPLETE: REASON_PROCESSING_FAILED}.items()
    )


def timed_out(phase: str, text: str) -> Templates:
    """The deadline has passed in `phase`: its own condition, if it has one, and ProcessingComplete are False."""
    types = [_COMPLETION_OF[phase]] if phase in _COMPLETION_OF else []
    return tuple(
        ConditionTemplate(type_, "False", REASON_TIMED_OUT, bounded(text)) for type_ in (*types, PROCESSING_COMPLETE)
    )


def conditions_for(
    current: Sequence[Condition],
    phase: str,
    found: Iterable[ConditionTemplate] = (),
    *,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """Return the whole list of conditions that an object in `phase` should have, made from its `current` ones.

    `found` are the findings of the pass, from the functions above; earlier ones stay. So do conditions of other
    writers, the order, and transition times of what did not flip.
    """
    made = with_conditions(
        [condition.to_wire() for condition in current],
        [*found, *PHASE_CONDITIONS.get(phase, ())],
        without=KSTATUS_TYPES,
        observed_generation=generation,
        now=now,
    )
    return [Condition.model_validate(condition) for condition in made]


def named(target: TargetResource) -> str:
    """Return what a target is called in sentences: kind, namespace and name, as far as there are any."""
    place = f"{target.namespace}/{target.name}" if target.namespace else target.name
    return bounded(" ".join(part for part in (target.kind, place) if part)) or "Signal without a target"

"""Audit events of a signal's processing (ADR-034): which there are, and what they say.

| event | when | payload, besides phase and signal |
|---|---|---|
| `signalprocessing.phase.transition` | a phase is entered | from_phase, to_phase |
| `signalprocessing.enrichment.completed` | the target is known | what was found, how long it took |
| `signalprocessing.classification.decision` | the policy has decided | what, and by which policy |
| `signalprocessing.business.classified` | Completed | business unit, criticality, service level |
| `signalprocessing.signal.processed` | Completed or Failed | all results; the error |
| `signalprocessing.error.occurred` | an attempt failed, or the processing | the error, phase where it happened |

A signal that is completed has nine: five transitions and one of each but the last. Unlike in the Go controller a failed
signal has its transition, its error and its `signal.processed` too, whatever made it fail.

Events are told when the write that they tell of is stored. Data Storage's schema knows fewer words than the status
has: what has a word there is told by it (`namespace-labels` as labels, any source of a policy's own as rego), the
environments Test and Unknown and the criticality Medium have none and are left out. Without the name of a
RemediationRequest there is nothing to correlate by, and no event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from kubernaut_api import SignalProcessing
from kubernaut_runtime.audit import AuditSink, EventSource
from kubernaut_runtime.audit.events import Outcome

from .conditions import SEVERITY_SOURCE
from .phases import FAILED

TRANSITION = "signalprocessing.phase.transition"
ENRICHMENT = "signalprocessing.enrichment.completed"
DECISION = "signalprocessing.classification.decision"
BUSINESS = "signalprocessing.business.classified"
PROCESSED = "signalprocessing.signal.processed"
ERROR = "signalprocessing.error.occurred"

_OF_EACH = ("phase", "signal")

SOURCE = EventSource(
    service="signalprocessing",
    category="signalprocessing",
    actor_id="signalprocessing-controller",
    payloads={
        TRANSITION: (*_OF_EACH, "from_phase", "to_phase"),
        ENRICHMENT: _OF_EACH,
        DECISION: _OF_EACH,
        BUSINESS: _OF_EACH,
        PROCESSED: _OF_EACH,
        ERROR: (*_OF_EACH, "error"),
    },
)

_ACTIONS = {
    TRANSITION: "phase_transition",
    ENRICHMENT: "enrichment",
    DECISION: "classification",
    BUSINESS: "classification",
    PROCESSED: "processed",
    ERROR: "error",
}

_ENVIRONMENTS = frozenset({"production", "staging", "development"})
_CRITICALITIES = frozenset({"critical", "high", "low"})
_SOURCES = {"default": "default", "labels": "labels", "namespace-labels": "labels"}
_ANY_RULE = "rego"

Facts = Mapping[str, Any]


class AuditTrail:
    """Gives the events of signals to `sink`; `now` is the clock. Nothing here waits or raises.

    Each method takes the object as it is stored, in the phase that is told of.
    """

    def __init__(self, sink: AuditSink, now: Callable[[], datetime]) -> None:
        self._sink = sink
        self._now = now

    def transition(self, sp: SignalProcessing, before: str) -> None:
        """The object has left phase `before`, empty if it is new."""
        self._emit(TRANSITION, sp, {"from_phase": before, "to_phase": sp.status.phase})

    def enriched(self, sp: SignalProcessing, seconds: float) -> None:
        """The target is known; that took `seconds`."""
        context = sp.status.kubernetes_context
        if context is None:
            return
        kind = context.workload.kind if context.workload is not None else ""
        facts = {
            "has_namespace": context.namespace is not None,
            "has_pod": kind == "Pod",
            "has_deployment": kind == "Deployment",
            "owner_chain_length": len(context.owner_chain),
            "degraded_mode": context.degraded_mode,
        }
        self._emit(ENRICHMENT, sp, facts, seconds=seconds)

    def classified(self, sp: SignalProcessing, seconds: float) -> None:
        """The policy has decided; that took `seconds`."""
        signal = sp.status.signal_classification
        severity = signal.severity if signal is not None else ""
        facts = {
            "severity": severity,
            "external_severity": sp.spec.signal.severity,
            "normalized_severity": severity,
            "determination_source": SEVERITY_SOURCE,
            "policy_hash": signal.policy_hash if signal is not None else "",
            **_classes(sp),
        }
        self._emit(DECISION, sp, facts, seconds=seconds)

    def business(self, sp: SignalProcessing) -> None:
        """The business behind the target is known."""
        business = sp.status.business_classification
        unit = business.business_unit if business is not None else ""
        self._emit(BUSINESS, sp, {"severity": _severity(sp), "business_unit": unit, **_worth(sp)})

    def processed(self, sp: SignalProcessing) -> None:
        """The object has ended."""
        context, info = sp.status.kubernetes_context, sp.status.failure_info
        chain = context.owner_chain if context is not None else []
        facts = {
            "severity": _severity(sp),
            **_classes(sp),
            **_worth(sp),
            "has_owner_chain": bool(chain),
            "owner_chain_length": len(chain),
            "degraded_mode": context is not None and context.degraded_mode,
            "error": (info.error if info is not None else "") or None,
        }
        self._emit(PROCESSED, sp, facts, outcome="failure" if sp.status.phase == FAILED else "success")

    def failed(self, sp: SignalProcessing, phase: str, error: str) -> None:
        """Something went wrong in `phase`, for now or for good."""
        self._emit(ERROR, sp, {"phase": phase, "error": error}, outcome="failure")

    def _emit(
        self,
        event_type: str,
        sp: SignalProcessing,
        facts: Facts,
        *,
        outcome: Outcome = "success",
        seconds: float | None = None,
    ) -> None:
        parent = sp.spec.remediation_request_ref.name
        if not parent:
            return
        duration = None if seconds is None else round(seconds * 1000)
        data = {"phase": sp.status.phase, "signal": sp.spec.signal.name, "duration_ms": duration, **facts}
        event = SOURCE.event(
            event_type,
            _ACTIONS[event_type],
            outcome,
            at=self._now(),
            correlation_id=parent,
            resource_type="SignalProcessing",
            resource_id=sp.metadata.name,
            namespace=sp.metadata.namespace,
            cluster_id=sp.spec.signal.cluster_id or None,
            duration_ms=duration,
            data={name: None if value == "" and name not in _MAY_BE_EMPTY else value for name, value in data.items()},
        )
        self._sink.emit(event)


_MAY_BE_EMPTY = frozenset({"phase", "signal", "from_phase", "error"})


def _severity(sp: SignalProcessing) -> str:
    signal = sp.status.signal_classification
    return (signal.severity if signal is not None else "") or "unknown"


def _classes(sp: SignalProcessing) -> Facts:
    """Mode, environment and priority, in the words of the schema."""
    status = sp.status
    signal, environment, priority = (
        status.signal_classification,
        status.environment_classification,
        status.priority_assignment,
    )
    facts: dict[str, Any] = {}
    if signal is not None:
        facts |= {"signal_mode": signal.signal_mode, "source_signal_name": signal.source_signal_name}
    if environment is not None:
        facts["environment"] = _known(environment.environment, _ENVIRONMENTS)
        facts["environment_source"] = _SOURCES.get(environment.source, _ANY_RULE)
    if priority is not None:
        facts |= {"priority": priority.priority, "priority_source": _SOURCES.get(priority.source, _ANY_RULE)}
    return facts


def _worth(sp: SignalProcessing) -> Facts:
    business = sp.status.business_classification
    if business is None:
        return {}
    return {
        "criticality": _known(business.criticality, _CRITICALITIES),
        "sla_requirement": business.sla_requirement,
    }


def _known(word: str, words: frozenset[str]) -> str | None:
    return word.lower() if word.lower() in words else None

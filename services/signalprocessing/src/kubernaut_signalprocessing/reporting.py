"""What the loop tells the world beside the status: Events, audit events, metrics.

None of it can hold up or fail a pass, and none of it writes status. What tells of a write is told when that is stored,
once: a commit that has to be repeated repeats nothing here. Audit events keep the Go controller's order: what was
found, then the transition that it led to; the end, then the business.

A signal that is completed has six Events: a `PhaseTransition` out of each phase, `SignalEnriched` (or
`EnrichmentDegraded`) and `SignalProcessed`. Texts of the same failure are equal each time, so that it is one Event with
a count.
"""

from __future__ import annotations

from kubernaut_api import SignalProcessing
from kubernaut_runtime import EventRecorder
from kubernaut_runtime.text import cut, one_line

from .audit import AuditTrail
from .conditions import named
from .metrics import FailureReason, SignalProcessingMetrics
from .phases import COMPLETED, PENDING

MAX_EVENT_ERROR = 512
"""Code points of an error that an Event shows."""

TIMED_OUT = "ProcessingTimedOut"
ENRICHMENT_FAILED = "EnrichmentFailed"
POLICY_FAILED = "PolicyEvaluationFailed"
PROCESSING_FAILED = "ProcessingFailed"

KUBERNETES = "kubernetes"
"""The target type whose targets can be read."""


class Reporter:
    """Tells of one service's signals through `events`, `audit` and `metrics`.

    Objects given here are as stored, in the phase that is told of, unless said otherwise.
    """

    def __init__(self, events: EventRecorder, audit: AuditTrail, metrics: SignalProcessingMetrics) -> None:
        self._events = events
        self._audit = audit
        self._metrics = metrics

    def seen(self, sp: SignalProcessing) -> None:
        """The object was looked at; its phase counts in the gauge."""
        self._metrics.seen(sp)

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._metrics.gone(uid)

    def working(self, sp: SignalProcessing) -> None:
        """A pass begins the work of the phase that `sp` is in."""
        self._metrics.started(sp.status.phase)

    def unsupported_target(self, sp: SignalProcessing) -> None:
        """The target is about to be read, as if it were one of Kubernetes, which it is not."""
        target_type = sp.spec.signal.target_type
        if target_type not in ("", KUBERNETES):
            text = f'Target type "{target_type}" is not supported; only what the cluster knows is added'
            self._events.warning(sp.identity(), "UnsupportedTargetType", text)

    def accepted(self, sp: SignalProcessing) -> None:
        """Phase Pending was entered."""
        self._audit.transition(sp, "")
        self._metrics.seen(sp)

    def begun(self, sp: SignalProcessing, seconds: float) -> None:
        """Phase Enriching was entered."""
        self._left(sp, PENDING, seconds)

    def enriched(self, sp: SignalProcessing, before: str, seconds: float) -> None:
        """Phase Classifying was entered, after reads of `seconds` in phase `before`."""
        context, target = sp.status.kubernetes_context, named(sp.spec.signal.target_resource)
        degraded = context is not None and context.degraded_mode
        if degraded:
            text = f"{target}: the target could not be read; enriched in degraded mode"
            self._events.warning(sp.identity(), "EnrichmentDegraded", text)
        else:
            self._events.normal(sp.identity(), "SignalEnriched", f"{target}: enriched")
        self._audit.enriched(sp, seconds)
        self._left(sp, before, seconds)
        self._metrics.enriched(degraded=degraded)

    def classified(self, sp: SignalProcessing, before: str, seconds: float) -> None:
        """Phase Categorizing was entered, after an evaluation of `seconds` in phase `before`."""
        self._audit.classified(sp, seconds)
        self._left(sp, before, seconds)

    def completed(self, sp: SignalProcessing, before: str, seconds: float) -> None:
        """Phase Completed was entered out of phase `before`."""
        self._left(sp, before, seconds)
        priority, environment = sp.status.priority_assignment, sp.status.environment_classification
        text = (
            f"Signal {cut(one_line(sp.spec.signal.name), MAX_EVENT_ERROR)} processed: "
            f"priority={priority.priority if priority is not None else ''}, "
            f"environment={environment.environment if environment is not None else ''}"
        )
        self._events.normal(sp.identity(), "SignalProcessed", text)
        self._audit.processed(sp)
        self._audit.business(sp)
        self._metrics.ended(sp, COMPLETED)

    def attempt_failed(self, sp: SignalProcessing, reason: str, error: str) -> None:
        """An attempt in the phase of `sp` has failed and will be made again; `reason` is the Event's."""
        self._metrics.failed(sp.status.phase)
        self._events.warning(sp.identity(), reason, cut(one_line(error), MAX_EVENT_ERROR))
        self._audit.failed(sp, sp.status.phase, error)

    def failed(self, sp: SignalProcessing, before: str, reason: str, error: str, why: FailureReason) -> None:
        """Phase Failed was entered out of phase `before` because of `error`; `reason` is the Event's, `why` counts."""
        self._metrics.failed(before)
        self._metrics.gave_up(why)
        self._events.warning(sp.identity(), reason, cut(one_line(error), MAX_EVENT_ERROR))
        self._audit.failed(sp, before, error)
        self._audit.transition(sp, before)
        self._audit.processed(sp)
        self._metrics.ended(sp, sp.status.phase)
        self._metrics.seen(sp)

    def _left(self, sp: SignalProcessing, before: str, seconds: float) -> None:
        self._events.normal(sp.identity(), "PhaseTransition", f"Phase changed: {before} → {sp.status.phase}")
        self._audit.transition(sp, before)
        self._metrics.succeeded(before, seconds)
        self._metrics.seen(sp)

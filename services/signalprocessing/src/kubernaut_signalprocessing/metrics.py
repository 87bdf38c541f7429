"""The controller's metrics, under the Go controller's names.

| name | type | labels |
|---|---|---|
| `signalprocessing_processing_total` | counter | phase, result |
| `signalprocessing_processing_duration_seconds` | histogram | phase |
| `signalprocessing_enrichment_errors_total` | counter | error_type |
| `signalprocessing_contexts_total` | counter | context |
| `signalprocessing_policy_errors_total` | counter | error_type |
| `signalprocessing_failures_total` | counter | reason |
| `signalprocessing_reconciler_active` and others | | see `kubernaut_runtime.lifecycle` |

`phase` is in lower case. `result` is `attempt`, `success` or `failure`; `completed` stands for the processing as a
whole and has no attempts. Unlike in the Go controller an end by deadline is counted too: as failure of the phase that
it happened in, and of the whole. `contexts`, `policy_errors` and `failures` tell why signals end Failed or know little
of their target, which no figure of the Go controller does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from kubernaut_api import SignalProcessing
from kubernaut_runtime import Lifecycle
from kubernaut_runtime.lifecycle import DURATION_BUCKETS

from .phases import COMPLETED, PENDING, TERMINAL, TRANSITIONS

ENRICHMENT_ERRORS = ("not_found", "api_error", "remote_reader_unavailable", "remote_not_found")
EnrichmentError = Literal["not_found", "api_error", "remote_reader_unavailable", "remote_not_found"]
"""What an enrichment may lack: the target does not exist, or could not be read; the same for remote clusters."""

PolicyLack = Literal[
    "timeout", "crash", "unavailable", "input", "environment", "priority", "severity", "cluster", "labels"
]
"""What a policy may lack: an answer (no time, a worker that died, no worker, an input that is none), or, by the rule's
name, an answer that can be used. Each attempt counts, `cluster` and `labels` too, which fail no signal."""

FailureReason = Literal[
    "deadline",
    "namespace_missing",
    "forbidden",
    "unreadable",
    "invalid_target",
    "remote_cluster",
    "policy",
    "environment",
    "priority",
    "severity",
    "status_refused",
]
"""Why a signal ended Failed: its deadline, its enrichment (five), the policy as a whole, a rule, the CRD's schema."""

_PREFIX = "signalprocessing"
_WORKING = tuple(phase for phase in TRANSITIONS if phase and phase not in TERMINAL)
_WHOLE = COMPLETED.lower()


class SignalProcessingMetrics:
    """The metrics, registered in `registry`. `now` is the wall clock, which ages are measured with."""

    def __init__(self, registry: CollectorRegistry, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._processing = Counter(
            f"{_PREFIX}_processing",
            "Passes through a phase, by result; phase completed counts whole signals.",
            ["phase", "result"],
            registry=registry,
        )
        self._duration = Histogram(
            f"{_PREFIX}_processing_duration_seconds",
            "Time that a successful pass through a phase took; phase completed: from the start to the end.",
            ["phase"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            f"{_PREFIX}_enrichment_errors",
            "Targets that could not be read, by kind of error.",
            ["error_type"],
            registry=registry,
        )
        self._contexts = Counter(
            f"{_PREFIX}_contexts",
            "Signals that were enriched: full, or degraded because nothing is known of the target.",
            ["context"],
            registry=registry,
        )
        self._policy_errors = Counter(
            f"{_PREFIX}_policy_errors",
            "Evaluations without an answer, and rules without a usable one, by kind of error or rule.",
            ["error_type"],
            registry=registry,
        )
        self._failures = Counter(
            f"{_PREFIX}_failures", "Signals that ended Failed, by reason.", ["reason"], registry=registry
        )
        self._lifecycle = Lifecycle(
            _PREFIX,
            "Signals",
            phases=[phase for phase in TRANSITIONS if phase],
            terminal=TERMINAL,
            registry=registry,
            now=now,
        )
        # From 0 on, so that the first one is seen as an increase.
        for phase in _WORKING:
            for result in ("attempt", "success", "failure"):
                self._processing.labels(phase.lower(), result)
        for result in ("success", "failure"):
            self._processing.labels(_WHOLE, result)
        for error in ENRICHMENT_ERRORS:
            self._errors.labels(error)
        for context in ("full", "degraded"):
            self._contexts.labels(context)
        for lack in get_args(PolicyLack):
            self._policy_errors.labels(lack)
        for reason in get_args(FailureReason):
            self._failures.labels(reason)

    def started(self, phase: str) -> None:
        """Count one pass that begins its work in `phase`."""
        self._processing.labels(phase.lower(), "attempt").inc()

    def succeeded(self, phase: str, seconds: float) -> None:
        """Count one pass that did the work of `phase` in `seconds`; Pending has none, so its time is not observed."""
        self._processing.labels(phase.lower(), "success").inc()
        if phase != PENDING:
            self._duration.labels(phase.lower()).observe(seconds)

    def failed(self, phase: str) -> None:
        """Count one pass that failed in `phase`, for now or for good."""
        self._processing.labels(phase.lower(), "failure").inc()

    def enrichment_error(self, error: EnrichmentError) -> None:
        """Count one target that could not be read."""
        self._errors.labels(error).inc()

    def enriched(self, *, degraded: bool) -> None:
        """Count one signal whose context is stored."""
        self._contexts.labels("degraded" if degraded else "full").inc()

    def policy_error(self, lack: PolicyLack) -> None:
        """Count one evaluation without an answer, or one rule without a usable one."""
        self._policy_errors.labels(lack).inc()

    def gave_up(self, reason: FailureReason) -> None:
        """Count one signal that ended Failed because of `reason`."""
        self._failures.labels(reason).inc()

    def ended(self, sp: SignalProcessing, phase: str) -> None:
        """Count one signal that has just ended in `phase`, a terminal one."""
        self._processing.labels(_WHOLE, "success" if phase == COMPLETED else "failure").inc()
        if phase == COMPLETED and sp.status.start_time is not None:
            self._duration.labels(_WHOLE).observe(max(0.0, (self._now() - sp.status.start_time).total_seconds()))
        self._lifecycle.ended(phase, sp.metadata.creation_timestamp)

    def seen(self, sp: SignalProcessing) -> None:
        """Note the phase that an object is in now; each object counts in one phase."""
        self._lifecycle.seen(sp.metadata.uid, sp.status.phase, sp.metadata.creation_timestamp)

    def gone(self, uid: str) -> None:
        """Note that an object was deleted."""
        self._lifecycle.gone(uid)

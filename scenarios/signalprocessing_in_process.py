"""The SignalProcessing controller in this process; see `in_process`.

The cluster's facts and the policy's answers are scripted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernaut_api import (
    SIGNAL_PROCESSING,
    KubernetesContext,
    NamespaceContext,
    OwnerChainEntry,
    Signal,
    WorkloadContext,
)
from kubernaut_policy import Answer, Failure, PolicyError, Results, Undefined, Value
from kubernaut_signalprocessing.audit import SOURCE, AuditTrail
from kubernaut_signalprocessing.classification.policy import Classifier
from kubernaut_signalprocessing.classification.signal_mode import SignalModes
from kubernaut_signalprocessing.config import SignalProcessingConfig
from kubernaut_signalprocessing.metrics import SignalProcessingMetrics
from kubernaut_signalprocessing.phases import PHASES
from kubernaut_signalprocessing.reconciler import SignalProcessingReconciler
from kubernaut_signalprocessing.reporting import Reporter
from kubernaut_signalprocessing.status import StatusWriter
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.waiting import eventually_async
from scenarios.in_process import Desk
from scenarios.signalprocessing import SignalProcessingSite, signal_processing

PRODUCTION = {"kubernaut.ai/environment": "production", "kubernaut.ai/team": "payments"}
POLICY_HASH = "0f" * 32


class ScriptedCluster:
    """What an enrichment finds: `errors` one after the other (the last stays if `lasting`), then `context`.

    `calls` are the times of the attempts, in seconds since the first one was possible.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.errors: list[Exception] = []
        self.lasting = False
        self.context = KubernetesContext(
            namespace=NamespaceContext(name="shop", labels=dict(PRODUCTION)),
            workload=WorkloadContext(kind="Pod", name="api-1", labels={"app": "api"}),
            owner_chain=[OwnerChainEntry(namespace="shop", kind="ReplicaSet", name="api", api_version="apps/v1")],
        )
        self.calls: list[float] = []
        self._clock = clock
        self._began = clock.monotonic()

    async def enrich(self, signal: Signal) -> KubernetesContext:
        """Note the time, and answer as told."""
        self.calls.append(round(self._clock.monotonic() - self._began, 6))
        if self.errors:
            raise self.errors[0] if self.lasting and len(self.errors) == 1 else self.errors.pop(0)
        return self.context.model_copy(deep=True)


class ScriptedPolicy:
    """What a policy answers: `errors` one after the other, then `answers`; `inputs` are what it was asked about.

    The custom labels meet `label_errors` in their place.
    """

    def __init__(self) -> None:
        self.errors: list[PolicyError] = []
        self.label_errors: list[PolicyError] = []
        self.answers: dict[str, Answer] = {
            "environment": Value({"environment": "production", "source": "namespace-labels"}),
            "priority": Value({"priority": "P0", "policy_name": "production-critical"}),
            "severity": Value("critical"),
            "cluster": Undefined(),
            "labels": Value({"tier": ["gold"]}),
        }
        self.inputs: list[Any] = []

    async def evaluate(self, queries: Mapping[str, str], document: Any, /) -> Results:
        """Answer as told."""
        self.inputs.append(document)
        if errors := self.label_errors if "labels" in queries else self.errors:
            raise errors.pop(0)
        return Results(POLICY_HASH, {name: self.answers.get(name, Failure("no such rule")) for name in queries})


class SignalProcessingDesk(Desk):
    """The SignalProcessing controller, fed by hand.

    `config` are sections of its config file, `options` those of `Desk`.
    """

    site, resource, phases, source = SignalProcessingSite, SIGNAL_PROCESSING, PHASES, SOURCE

    def __init__(
        self, control_plane: ControlPlane, namespace: str, *, config: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(control_plane, namespace, **options)
        self.cluster = ScriptedCluster(self.clock)
        self.policy = ScriptedPolicy()
        self.modes = SignalModes({"PredictedOOMKill": "OOMKilled"})
        metrics = SignalProcessingMetrics(self.metrics, self.clock.now)
        self.work(
            SignalProcessingReconciler(
                self.store,
                StatusWriter(self.manager, self.clock.now),
                self.cluster,
                Classifier(self.policy, self.modes, metrics.policy_error),
                Reporter(self.events, AuditTrail(self.sink, self.clock.now), metrics),
                self.clock,
                SignalProcessingConfig.model_validate(config or {}),
                random=lambda: self.jitter,
            )
        )

    @property
    def failures(self) -> dict[str, float]:
        """The signals that ended Failed: reason -> number."""
        return self.counted("signalprocessing_failures_total", "reason")

    @property
    def audit_types(self) -> list[str]:
        """The types of the audit events so far, without their common beginning."""
        return [event["event_type"].removeprefix("signalprocessing.") for event in self.audit]

    def create(self, **options: Any) -> None:
        """Create the object, and let the controller see it."""
        self.put(signal_processing(self.namespace, "one", **options))

    async def attempts(self, number: int) -> None:
        """Wait until the target was read `number` times and no pass is under way."""
        await eventually_async(lambda: len(self.cluster.calls) == number)
        await self.idle()

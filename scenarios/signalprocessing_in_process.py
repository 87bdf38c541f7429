"""The SignalProcessing controller in this process, with a clock that is turned by hand, on a real API server.

For what a test of the whole program cannot see: waits to the millisecond, passes that do nothing, answers that get
lost, and what another writer does between two requests. The cluster's facts and the policy's answers are scripted.
"""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from kubernaut_api import (
    SIGNAL_PROCESSING,
    KubernetesContext,
    NamespaceContext,
    OwnerChainEntry,
    Signal,
    WorkloadContext,
)
from kubernaut_policy import Answer, Failure, PolicyError, Results, Undefined, Value
from kubernaut_runtime import Connection, Controller, Store, WorkQueue
from kubernaut_runtime.audit import JsonLinesSink
from kubernaut_runtime.audit.jsonlines import LineStream
from kubernaut_runtime.controller import ControllerMetrics
from kubernaut_signalprocessing.audit import SOURCE, AuditTrail
from kubernaut_signalprocessing.classification.policy import Classifier
from kubernaut_signalprocessing.classification.signal_mode import SignalModes
from kubernaut_signalprocessing.config import SignalProcessingConfig
from kubernaut_signalprocessing.metrics import SignalProcessingMetrics
from kubernaut_signalprocessing.phases import PHASES
from kubernaut_signalprocessing.reconciler import SignalProcessingReconciler
from kubernaut_signalprocessing.reporting import Reporter
from kubernaut_signalprocessing.status import StatusWriter
from kubernaut_status import ObjectKey, Request, Response, StatusManager, UpdateMode
from kubernaut_status.retry import Unavailable
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.waiting import eventually_async
from scenarios.in_process import Noting, Send
from scenarios.signalprocessing import API_VERSION, KIND, PLURAL, PROGRAM, signal_processing

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
    """What a policy answers: `errors` one after the other, then `answers`; `inputs` are what it was asked about."""

    def __init__(self) -> None:
        self.errors: list[PolicyError] = []
        self.answers: dict[str, Answer] = {
            "environment": Value({"environment": "production", "source": "namespace-labels"}),
            "priority": Value({"priority": "P0", "policy_name": "production-critical"}),
            "severity": Value("critical"),
            "cluster": Undefined(),
            "labels": Value({"tier": ["gold"]}),
        }
        self.inputs: list[Any] = []

    async def evaluate(self, queries: Mapping[str, str], document: Any, /) -> Results:
        """Answer as told; the custom labels meet no error of the list."""
        self.inputs.append(document)
        if self.errors and "labels" not in queries:
            raise self.errors.pop(0)
        return Results(POLICY_HASH, {name: self.answers.get(name, Failure("no such rule")) for name in queries})


class Desk:
    """The controller with all that it is made of, fed by hand; it handles the one object at `key`.

    `requests` are what it sent, and `meddle` may change a request or its answer; `events` and `audit` are what it told.
    `config` are sections of the config file; `give_up_after` is how long a write may go without an answer, in seconds.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        *,
        mode: UpdateMode = "atomic",
        config: Mapping[str, Any] | None = None,
        clock: FakeClock | None = None,
        give_up_after: float = 0,
    ) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        # A little ahead: it stands still while the server's goes on, and nothing happens before its object exists.
        self.clock = clock or FakeClock(start=(datetime.now(UTC) + timedelta(seconds=10)).replace(microsecond=0))
        self.jitter = 0.0
        self.client = Connection.from_kubeconfig(control_plane.kubeconfig).client(f"{PROGRAM}/in-process")
        self.requests: list[Request] = []
        self.meddle: Callable[[Request, Send], Awaitable[Response]] = lambda request, send: send(request)
        self.queue = WorkQueue(PLURAL, clock=self.clock)
        self.store = Store(SIGNAL_PROCESSING, self.queue.add)
        self.key = ObjectKey(namespace, "one")
        self.cluster = ScriptedCluster(self.clock)
        self.policy = ScriptedPolicy()
        self.modes = SignalModes({"PredictedOOMKill": "OOMKilled"})
        self.metrics = CollectorRegistry()
        self.events = Noting(
            self.client, component="test", instance="test", resource=SIGNAL_PROCESSING, clock=self.clock
        )
        self._audit = io.StringIO()
        metrics = SignalProcessingMetrics(self.metrics, self.clock.now)
        reporter = Reporter(
            self.events,
            AuditTrail(
                JsonLinesSink(LineStream(self._audit), payloads=SOURCE.payloads, now=self.clock.now), self.clock.now
            ),
            metrics,
        )
        manager = StatusManager(
            self,
            SIGNAL_PROCESSING,
            phases=PHASES,
            writes=self.store,
            mode=mode,
            field_manager=PROGRAM,
            unavailable=Unavailable(give_up_after=give_up_after),
        )
        reconciler = SignalProcessingReconciler(
            self.store,
            StatusWriter(manager, self.clock.now),
            self.cluster,
            Classifier(self.policy, self.modes, metrics.policy_error),
            reporter,
            self.clock,
            SignalProcessingConfig.model_validate(config or {}),
            random=lambda: self.jitter,
        )
        self.controller = Controller(
            PLURAL, reconciler, self.queue, clock=self.clock, metrics=ControllerMetrics(self.metrics)
        )

    async def send(self, request: Request) -> Response:
        """As a `StatusClient`: what the controller sends on the object passes here."""
        self.requests.append(request)
        return await self.meddle(request, self.client.send)

    @property
    def verbs(self) -> list[str]:
        """The verbs of the requests so far."""
        return [request.verb for request in self.requests]

    def counted(self, name: str, label: str) -> dict[str, float]:
        """What a counter of one label has counted, zeros left out: label -> number."""
        families = self.metrics.collect()
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {sample.labels[label]: sample.value for sample in samples if sample.value}

    @property
    def passes(self) -> int:
        """How many passes were made."""
        return int(sum(self.counted("controller_runtime_reconcile_total", "result").values()))

    @property
    def failures(self) -> dict[str, float]:
        """The signals that ended Failed: reason -> number."""
        return self.counted("signalprocessing_failures_total", "reason")

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The audit events told so far."""
        return [json.loads(line) for line in self._audit.getvalue().splitlines()]

    @property
    def audit_types(self) -> list[str]:
        """The types of the audit events so far, without their common beginning."""
        return [event["event_type"].removeprefix("signalprocessing.") for event in self.audit]

    def create(self, **options: Any) -> None:
        """Create the object, and let the controller see it."""
        created = self.control_plane.api.create(signal_processing(self.namespace, "one", **options))
        self.store.observe("ADDED", created)

    def stored(self) -> dict[str, Any]:
        """The object as the API server has it."""
        return self.control_plane.api.get(API_VERSION, KIND, self.namespace, "one")

    @property
    def status(self) -> dict[str, Any]:
        """The stored status."""
        return self.stored().get("status") or {}

    @property
    def conditions(self) -> dict[str, tuple[str, str, str]]:
        """The stored conditions: type -> (status, reason, message)."""
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in self.status.get("conditions") or []}

    def write_status(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Write the status as another writer does; returns the object."""
        return self.control_plane.api.patch(
            API_VERSION, KIND, self.namespace, "one", {"status": status}, subresource="status"
        )

    async def phase(self, phase: str) -> None:
        """Wait until the object is in `phase` and no pass is under way."""
        await eventually_async(lambda: (self.store.get(self.key) or {}).get("status", {}).get("phase") == phase)
        await self.idle()

    async def idle(self) -> None:
        """Wait until no pass is under way or to be made at once."""
        await eventually_async(lambda: not self.queue.working and not len(self.queue))

    async def attempts(self, number: int) -> None:
        """Wait until the target was read `number` times and no pass is under way."""
        await eventually_async(lambda: len(self.cluster.calls) == number)
        await self.idle()

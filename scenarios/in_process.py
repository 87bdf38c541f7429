"""A controller in this process, with a clock that is turned by hand, on a real API server.

For what a test of the whole program cannot see: waits to the millisecond, passes that do nothing, answers that get
lost, and what another writer does between two requests. A service's desk adds its reconciler and scripts what that asks
the world for.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry

from kubernaut_runtime import Connection, Controller, EventRecorder, Reconciler, Store, WorkQueue
from kubernaut_runtime.audit import EventSource, JsonLinesSink
from kubernaut_runtime.audit.jsonlines import LineStream
from kubernaut_runtime.controller import ControllerMetrics
from kubernaut_status import ObjectKey, PhaseMachine, Request, Resource, Response, StatusManager, UpdateMode
from kubernaut_status.retry import Unavailable
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.waiting import eventually_async
from scenarios.faults.site import FaultSite

__all__ = ["Desk", "Noting", "Send"]

Send = Callable[[Request], Awaitable[Response]]


class Noting(EventRecorder):
    """Keeps the reasons and messages of the Events that it is to record, and sends none."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[tuple[str, str]] = []

    def normal(self, obj: Any, reason: str, message: str) -> None:
        """Note it."""
        self.told.append((reason, message))

    def warning(self, obj: Any, reason: str, message: str) -> None:
        """Note it."""
        self.told.append((reason, message))

    def of(self, reason: str) -> list[str]:
        """The messages of the Events with this reason."""
        return [message for told, message in self.told if told == reason]


class Desk:
    """A controller with all that it is made of, fed by hand; it handles the one object at `key`.

    `requests` are what it sent, and `meddle` may change a request or its answer; `events` and `audit` are what it told;
    `jitter` spreads its waits; `may_act` is whether this process may. `give_up_after` is how long a write may go
    without an answer, in seconds. A subclass ends its `__init__` in `work`.

    Attributes:
        site: what tells of the kind.
        resource: that kind.
        phases: its phase machine.
        source: of its audit events.
        identities: as for `StatusManager`.
    """

    site: ClassVar[type[FaultSite]]
    resource: ClassVar[Resource]
    phases: ClassVar[PhaseMachine]
    source: ClassVar[EventSource]
    identities: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    controller: Controller

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        *,
        mode: UpdateMode = "atomic",
        clock: FakeClock | None = None,
        give_up_after: float = 0,
    ) -> None:
        self.control_plane, self.namespace, self.mode = control_plane, namespace, mode
        # A little ahead: it stands still while the server's goes on, and nothing happens before its object exists.
        self.clock = clock or FakeClock(start=(datetime.now(UTC) + timedelta(seconds=10)).replace(microsecond=0))
        self.jitter = 0.0
        self.may_act = True
        self.client = Connection.from_kubeconfig(control_plane.kubeconfig).client(f"{self.site.program}/in-process")
        self.requests: list[Request] = []
        self.meddle: Callable[[Request, Send], Awaitable[Response]] = lambda request, send: send(request)
        self.queue = WorkQueue(self.site.plural, clock=self.clock)
        self.store = Store(self.resource, self.queue.add)
        self.key = ObjectKey(namespace, "one")
        self.metrics = CollectorRegistry()
        self.events = Noting(self.client, component="test", instance="test", resource=self.resource, clock=self.clock)
        self._lines = io.StringIO()
        self.sink = JsonLinesSink(LineStream(self._lines), payloads=self.source.payloads, now=self.clock.now)
        self.manager = StatusManager(
            self,
            self.resource,
            phases=self.phases,
            identities=self.identities,
            writes=self.store,
            mode=mode,
            field_manager=self.site.program,
            unavailable=Unavailable(give_up_after=give_up_after),
        )

    def work(self, reconciler: Reconciler) -> None:
        """Make the controller that has `reconciler`."""
        self.controller = Controller(
            self.site.plural,
            reconciler,
            self.queue,
            clock=self.clock,
            fence=lambda: self.may_act,
            metrics=ControllerMetrics(self.metrics),
        )

    def start(self) -> None:
        """Let the controller run, in the present loop."""
        self._task = asyncio.create_task(self.controller.run())

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()

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
        """Passes made so far, whatever came of them."""
        return int(sum(self.counted("controller_runtime_reconcile_total", "result").values()))

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The audit events told so far."""
        return [json.loads(line) for line in self._lines.getvalue().splitlines()]

    def put(self, manifest: Mapping[str, Any]) -> None:
        """Create the object, and let the controller see it."""
        self.store.observe("ADDED", self.control_plane.api.create(manifest))

    async def delete(self) -> None:
        """Delete the object, and let the controller see it."""
        gone = self.stored()
        self.control_plane.api.delete(self.site.api_version, self.site.kind, self.namespace, "one")
        self.store.observe("DELETED", gone)
        await self.idle()

    def stored(self) -> dict[str, Any]:
        """The object as the API server has it."""
        return self.control_plane.api.get(self.site.api_version, self.site.kind, self.namespace, "one")

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
            self.site.api_version, self.site.kind, self.namespace, "one", {"status": status}, subresource="status"
        )

    async def phase(self, phase: str) -> None:
        """Wait until the object is in `phase` and no pass is under way."""
        await eventually_async(lambda: (self.store.get(self.key) or {}).get("status", {}).get("phase") == phase)
        await self.idle()

    async def idle(self) -> None:
        """Wait until no pass is under way or to be made at once."""
        await eventually_async(lambda: not self.queue.working and not len(self.queue))

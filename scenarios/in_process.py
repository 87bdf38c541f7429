"""The Notification controller in this process, with a clock that is turned by hand, on a real API server.

For what a test of the whole program cannot see: waits to the millisecond, passes that do nothing, and states that
only a change of routing, of leadership or of the CRD between two passes brings about.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from kubernaut_api import NOTIFICATION_REQUEST
from kubernaut_notification.audit import AuditTrail
from kubernaut_notification.delivery.breaker import BreakerSettings
from kubernaut_notification.delivery.channel import DeliveryError, RetryableError
from kubernaut_notification.delivery.deliverer import Deliverer
from kubernaut_notification.delivery.lanes import Lanes
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.registry import ChannelRegistry
from kubernaut_notification.metrics import NotificationMetrics
from kubernaut_notification.phases import PHASES
from kubernaut_notification.reconciler import NotificationReconciler
from kubernaut_notification.reporting import Reporter
from kubernaut_notification.routing.router import Resolution
from kubernaut_notification.sending import Sender
from kubernaut_notification.status import ATTEMPT_IDENTITY, StatusWriter
from kubernaut_runtime import Connection, Controller, EventRecorder, Store, WorkQueue
from kubernaut_runtime.audit import JsonLinesSink
from kubernaut_runtime.audit.jsonlines import LineStream
from kubernaut_runtime.controller import ControllerMetrics
from kubernaut_status import ObjectKey, Request, Response, StatusManager, UpdateMode
from kubernaut_status.retry import Unavailable
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.waiting import eventually_async
from scenarios.notification import API_VERSION, KIND, PLURAL, PROGRAM, notification

Send = Callable[[Request], Awaitable[Response]]


class Failing:
    """A channel that notes when it is called.

    `answers` are the errors that it raises, None succeeds, the last stays; while `hangs` is set it does not answer.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.answers: list[DeliveryError | None] = [RetryableError("always busy")]
        self.calls: list[float] = []
        self.hangs = False
        self._clock = clock
        self._began = clock.monotonic()

    async def deliver(self, message: Message) -> None:
        """Note the time, and answer as told."""
        self.calls.append(round(self._clock.monotonic() - self._began, 6))
        while self.hangs:
            await self._clock.sleep(3600)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


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


class Shop:
    """The controller with all that it is made of, fed by hand; it handles the one object at `key`.

    `routed` are the channels that routing picks now, `channel` the first of them (`add` makes more); `acting_since` is
    since when this process acts, and `may_act` whether it may; `requests` are what it sent, and `meddle` may change a
    request or its answer; `events` and `audit` are what it told; `lanes` have two places for each receiver.
    """

    def __init__(self, control_plane: ControlPlane, namespace: str, *, mode: UpdateMode = "atomic") -> None:
        self.control_plane, self.namespace, self.mode = control_plane, namespace, mode
        # A little ahead: it stands still while the server's goes on, and no attempt may be older than its object.
        self.clock = FakeClock(start=datetime.now(UTC) + timedelta(seconds=10))
        self.jitter = 0.0
        self.client = Connection.from_kubeconfig(control_plane.kubeconfig).client(f"{PROGRAM}/in-process")
        self.requests: list[Request] = []
        self.meddle: Callable[[Request, Send], Awaitable[Response]] = lambda request, send: send(request)
        self.queue = WorkQueue(PLURAL, clock=self.clock)
        self.store = Store(NOTIFICATION_REQUEST, self.queue.add)
        self.key = ObjectKey(namespace, "one")
        self.channels = ChannelRegistry()
        self.routed: list[str] = []
        self.channel = self.add("pager")
        self.metrics = CollectorRegistry()
        self.events = Noting(
            self.client, component="test", instance="test", resource=NOTIFICATION_REQUEST, clock=self.clock
        )
        self.audit = io.StringIO()
        reporter = Reporter(
            self.events,
            AuditTrail(JsonLinesSink(LineStream(self.audit)), self.clock.now),
            NotificationMetrics(self.metrics),
        )
        manager = StatusManager(
            self,
            NOTIFICATION_REQUEST,
            phases=PHASES,
            identities=ATTEMPT_IDENTITY,
            writes=self.store,
            mode=mode,
            field_manager=PROGRAM,
            unavailable=Unavailable(give_up_after=0),
        )
        self.acting_since = self.clock.now()
        self.may_act = True
        self.lanes = Lanes(BreakerSettings(), places=2, clock=self.clock, wake=self.queue.add)
        reconciler = NotificationReconciler(
            self.store,
            StatusWriter(manager, self.clock.now),
            lambda nr: Resolution(("pager",), tuple(self.routed), {}),
            Sender(self.store, self.lanes, Deliverer(self.channels, self.clock), reporter, lambda: self.may_act),
            reporter,
            self.clock,
            acting_since=lambda: self.acting_since,
            random=lambda: self.jitter,
        )
        self.controller = Controller(
            PLURAL,
            reconciler,
            self.queue,
            clock=self.clock,
            fence=lambda: self.may_act,
            metrics=ControllerMetrics(self.metrics),
        )

    def add(self, key: str) -> Failing:
        """Let routing pick one more channel."""
        channel = Failing(self.clock)
        self.channels.register(key, channel)
        self.routed.append(key)
        return channel

    async def send(self, request: Request) -> Response:
        """As a `StatusClient`: what the controller sends on the object passes here."""
        self.requests.append(request)
        return await self.meddle(request, self.client.send)

    @property
    def passes(self) -> float:
        """Passes made so far, whatever came of them."""
        name = "controller_runtime_reconcile_total"
        return sum(s.value for metric in self.metrics.collect() for s in metric.samples if s.name == name)

    def create(self, **spec: object) -> None:
        """Create the object, with the default retry policy, and let the controller see it."""
        created = self.control_plane.api.create(
            notification(self.namespace, "one", **{"retryPolicy": None, **spec})  # type: ignore[arg-type]
        )
        self.store.observe("ADDED", created)

    @property
    def status(self) -> dict[str, Any]:
        """The stored status."""
        return self.control_plane.api.get(API_VERSION, KIND, self.namespace, "one").get("status") or {}

    async def attempted(self, number: int) -> None:
        """Wait until attempt `number` is recorded, and the pass that made it has ended."""
        await eventually_async(lambda: (self.store.get(self.key) or {})["status"].get("totalAttempts") == number)
        await self.idle()

    async def idle(self) -> None:
        """Wait until no pass is under way or to be made at once."""
        await eventually_async(lambda: not self.queue.working and not len(self.queue))

"""The Notification controller in this process; see `in_process`.

For states that only a change of routing, of leadership or of the CRD between two passes brings about, too.
"""

from __future__ import annotations

from typing import ClassVar

from kubernaut_api import NOTIFICATION_REQUEST
from kubernaut_notification.audit import SOURCE, AuditTrail
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
from kubernaut_status import UpdateMode
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.waiting import eventually_async
from scenarios.in_process import Desk
from scenarios.notification import NotificationSite, notification


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


class NotificationDesk(Desk):
    """The Notification controller, fed by hand.

    `routed` are the channels that routing picks now, `channel` the first of them (`add` makes more); `acting_since` is
    since when this process acts; `lanes` have two places for each receiver.
    """

    site, resource, phases, source = NotificationSite, NOTIFICATION_REQUEST, PHASES, SOURCE
    identities: ClassVar = ATTEMPT_IDENTITY

    def __init__(self, control_plane: ControlPlane, namespace: str, *, mode: UpdateMode = "atomic") -> None:
        super().__init__(control_plane, namespace, mode=mode)
        self.channels = ChannelRegistry()
        self.routed: list[str] = []
        self.channel = self.add("pager")
        reporter = Reporter(self.events, AuditTrail(self.sink, self.clock.now), NotificationMetrics(self.metrics))
        self.acting_since = self.clock.now()
        self.lanes = Lanes(BreakerSettings(), places=2, clock=self.clock, wake=self.queue.add)
        self.work(
            NotificationReconciler(
                self.store,
                StatusWriter(self.manager, self.clock.now),
                lambda nr: Resolution(("pager",), tuple(self.routed), {}),
                Sender(self.store, self.lanes, Deliverer(self.channels, self.clock), reporter, lambda: self.may_act),
                reporter,
                self.clock,
                acting_since=lambda: self.acting_since,
                random=lambda: self.jitter,
            )
        )

    def add(self, key: str) -> Failing:
        """Let routing pick one more channel."""
        channel = Failing(self.clock)
        self.channels.register(key, channel)
        self.routed.append(key)
        return channel

    def create(self, **spec: object) -> None:
        """Create the object, with the default retry policy, and let the controller see it."""
        self.put(notification(self.namespace, "one", **{"retryPolicy": None, **spec}))  # type: ignore[arg-type]

    async def attempted(self, number: int) -> None:
        """Wait until attempt `number` is recorded, and the pass that made it has ended."""
        await eventually_async(lambda: (self.store.get(self.key) or {})["status"].get("totalAttempts") == number)
        await self.idle()

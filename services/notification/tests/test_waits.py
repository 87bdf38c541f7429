"""The policy's waits to the second: the reconciler in this process, a clock turned by hand, a real API server."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM, notification

from kubernaut_api import NOTIFICATION_REQUEST
from kubernaut_notification.audit import AuditTrail, JsonLinesSink
from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.deliverer import Deliverer
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.registry import ChannelRegistry
from kubernaut_notification.metrics import NotificationMetrics
from kubernaut_notification.phases import PHASES
from kubernaut_notification.reconciler import NotificationReconciler
from kubernaut_notification.reporting import Reporter
from kubernaut_notification.routing.router import Resolution
from kubernaut_notification.status import ATTEMPT_IDENTITY, NotificationStatus
from kubernaut_runtime import Connection, Controller, EventRecorder, Store, WorkQueue
from kubernaut_status import ObjectKey, StatusManager
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async


class Failing:
    """A channel that notes when it is called, and fails; `answers` are its errors, `None` succeeds, the last stays."""

    def __init__(self, clock: FakeClock) -> None:
        self.answers: list[RetryableError | None] = [RetryableError("always busy")]
        self.calls: list[float] = []
        self._clock = clock
        self._began = clock.monotonic()

    async def deliver(self, message: Message) -> None:
        self.calls.append(round(self._clock.monotonic() - self._began, 6))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


class Shop:
    """The controller with all that it is made of, fed by hand; `channel` is the only one."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        # A little ahead: it stands still while the server's goes on, and no attempt may be older than its object.
        self.clock = FakeClock(start=datetime.now(UTC) + timedelta(seconds=10))
        self.channel = Failing(self.clock)
        self.jitter = 0.0
        self.client = Connection.from_kubeconfig(control_plane.kubeconfig).client(f"{PROGRAM}/in-process")
        self.queue = WorkQueue(PLURAL, clock=self.clock)
        self.store = Store(NOTIFICATION_REQUEST, self.queue.add)
        self.key = ObjectKey(namespace, "one")
        registry = ChannelRegistry()
        registry.register("pager", self.channel)
        reporter = Reporter(
            EventRecorder(
                self.client, component="test", instance="test", resource=NOTIFICATION_REQUEST, clock=self.clock
            ),
            AuditTrail(JsonLinesSink(io.StringIO()), self.clock.now),
            NotificationMetrics(CollectorRegistry()),
        )
        manager = StatusManager(
            self.client,
            NOTIFICATION_REQUEST,
            phases=PHASES,
            identities=ATTEMPT_IDENTITY,
            writes=self.store,
            field_manager=PROGRAM,
        )
        began = self.clock.now()
        reconciler = NotificationReconciler(
            self.store,
            NotificationStatus(manager, self.clock.now),
            lambda nr: Resolution(("pager",), ("pager",), {}),
            Deliverer(registry, self.clock),
            reporter,
            self.clock,
            acting_since=lambda: began,
            random=lambda: self.jitter,
        )
        self.controller = Controller(PLURAL, reconciler, self.queue, clock=self.clock)

    def create(self, **spec: object) -> None:
        created = self.control_plane.api.create(
            notification(self.namespace, "one", **{"retryPolicy": None, **spec})  # type: ignore[arg-type]
        )
        self.store.observe("ADDED", created)

    @property
    def status(self) -> dict[str, object]:
        return self.control_plane.api.get(API_VERSION, KIND, self.namespace, "one").get("status") or {}

    async def attempted(self, number: int) -> None:
        """Wait until attempt `number` is recorded, and the pass that made it has ended."""
        await eventually_async(lambda: (self.store.get(self.key) or {})["status"].get("totalAttempts") == number)
        await self.idle()

    async def idle(self) -> None:
        """Wait until no pass is under way or to be made at once."""
        await eventually_async(lambda: not self.queue.working and not len(self.queue))


@pytest.fixture
async def shop(control_plane: ControlPlane, crds: None, namespace: str) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        made = Shop(control_plane, namespace)
        stack.push_async_callback(made.client.close)
        task = asyncio.create_task(made.controller.run())
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_default_waits_are_30_60_120_and_240_seconds_exactly(shop: Shop, ledger: RequestLedger) -> None:
    shop.create()
    await shop.attempted(1)
    for number, wait in enumerate((30, 60, 120, 240), start=2):
        assert shop.queue.due_in(shop.key) == wait
        await shop.clock.advance(wait - 0.001)
        assert len(shop.channel.calls) == number - 1, "not a millisecond early"
        await shop.clock.advance(0.001)
        await shop.attempted(number)
    assert shop.channel.calls == [0, 30, 90, 210, 450]
    assert shop.queue.due_in(shop.key) is None
    assert (shop.status["phase"], shop.status["reason"]) == ("Failed", "MaxRetriesExhausted")
    ref = f"{PLURAL}/{shop.namespace}/one"
    ledger.assert_requests(ref, {"patch/status": 7}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, ref, CONTRACT)


async def test_a_wake_up_before_the_due_time_does_nothing_and_shortens_no_wait(
    shop: Shop, ledger: RequestLedger
) -> None:
    shop.create()
    await shop.attempted(1)
    mark = ledger.mark()
    for _ in range(5):
        await shop.clock.advance(5)
        shop.queue.add(shop.key)
        await shop.idle()
    assert shop.channel.calls == [0]
    assert shop.queue.due_in(shop.key) == 5
    await shop.clock.advance(5)
    await shop.attempted(2)
    assert shop.channel.calls == [0, 30]
    ledger.assert_requests(
        f"{PLURAL}/{shop.namespace}/one", {"patch/status": 1}, user_agent=PROGRAM, since=mark, only=True
    )


async def test_jitter_lengthens_a_wait_by_a_tenth_at_most_and_never_shortens_it(shop: Shop) -> None:
    shop.jitter = 0.999999
    shop.create()
    await shop.attempted(1)
    wait = shop.queue.due_in(shop.key)
    assert wait is not None
    assert 30 < wait <= 33


async def test_a_retry_after_that_is_longer_than_the_policy_s_wait_is_honoured(shop: Shop) -> None:
    shop.channel.answers = [RetryableError("slow down", 95), RetryableError("slow down", 1), None]
    shop.create()
    await shop.attempted(1)
    assert shop.queue.due_in(shop.key) == 95
    await shop.clock.advance(95)
    await shop.attempted(2)
    assert shop.queue.due_in(shop.key) == 60, "a shorter one does not shorten the policy's wait"
    await shop.clock.advance(60)
    await shop.attempted(3)
    assert shop.channel.calls == [0, 95, 155]
    assert shop.status["phase"] == "Sent"


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_makes_no_attempt_earlier_or_later(shop: Shop, hours: int) -> None:
    shop.create()
    await shop.attempted(1)
    shop.clock.jump(hours * 3600)
    shop.queue.add(shop.key)  # anybody's change
    await shop.idle()
    assert shop.channel.calls == [0]
    await shop.clock.advance(30)
    await shop.attempted(2)
    assert shop.queue.due_in(shop.key) == 60
    await shop.clock.advance(60)
    await shop.attempted(3)
    assert shop.channel.calls == [0, 30, 90]

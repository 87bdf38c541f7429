"""The phase machine of a NotificationRequest.

    (none) ──> Pending ──> Sending ─┬─────────────────> Sent
                              │     ├─────────────────> PartiallySent
                              │     ├─────────────────> Failed
                              └──> Retrying ──┘   some channel has the message, another one is tried again

One pass, at most one status write. Every attempt is announced by the write before it (condition `Delivering`:
channel, number, due time), so that whoever comes after a crash finds it and repeats it under the same number. A
pass sends only what is announced and due. Its own write does not wake it: what it returns decides when it runs next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from kubernaut_api import Condition, NotificationRequest
from kubernaut_runtime import Clock, Result
from kubernaut_status import Object, ObjectKey

from .conditions import DELIVERING, conditions_for
from .delivery.announcement import Announced, parse_announcement
from .delivery.deliverer import Deliverer
from .delivery.plan import Decision, Plan, RetryPolicy, decide, plan
from .delivery.result import Attempt, DeliveryResult
from .memory import Memories, Memory
from .phases import FAILED, PARTIALLY_SENT, PENDING, RETRYING, SENDING, SENT
from .reporting import Reporter
from .routing.router import Resolution
from .status import NotificationStatus, Update, Why

DONE = Result()
AGAIN = Result(requeue_after=0)

CLOCK_JUMP = timedelta(seconds=1)
"""A larger difference between wall clock and monotonic clock is a jump; a smaller one is not worth a new due time."""


class AnnouncementLostError(Exception):
    """An announcement was written and is not there: the CRD of the cluster is older than conditions."""


class Objects(Protocol):
    """Where the newest version of an object is found."""

    def get(self, key: ObjectKey) -> Object | None:
        """The object, None if there is none."""
        ...


class NotificationReconciler:
    """Brings one NotificationRequest one step further; may be killed at any instruction.

    `acting_since` tells since when this process acts (its start, or its becoming leader): an announced attempt that
    was due before may have been made by a predecessor. `random` spreads the waits, 0 makes them exact.
    """

    def __init__(
        self,
        objects: Objects,
        status: NotificationStatus,
        resolve: Callable[[NotificationRequest], Resolution],
        deliverer: Deliverer,
        reporter: Reporter,
        clock: Clock,
        *,
        acting_since: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._objects = objects
        self._status = status
        self._resolve = resolve
        self._deliverer = deliverer
        self._report = reporter
        self._clock = clock
        self._random = random
        self._memories = Memories(acting_since, reporter.forget)
        self._steps = {"": self._accept, PENDING: self._announce, SENDING: self._deliver, RETRYING: self._deliver}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Make one pass over the object at `key`."""
        stored = self._objects.get(key)
        if stored is None:
            self._memories.forget(key)
            return DONE
        nr = NotificationRequest.model_validate(stored)
        self._memories.of(nr)
        self._report.seen(nr)
        step = self._steps.get(nr.status.phase)
        return await step(nr) if step is not None else DONE  # a terminal phase has no step

    async def _accept(self, nr: NotificationRequest) -> Result:
        self._report.started(nr)
        update = await self._status.transition_to_pending(nr, self._conditions(nr, PENDING))
        return AGAIN if update.ok else DONE

    async def _announce(self, nr: NotificationRequest) -> Result:
        resolution, planned = self._plan(nr)
        if not planned.channels:
            return await self._conclude(nr, resolution, decide(planned, PENDING), ())
        conditions = self._conditions(nr, SENDING, resolution, planned.announced)
        update = await self._status.transition_to_sending(nr, conditions)
        if not update.ok:
            return DONE
        self._memories.of(nr).announce(planned.announced, self._clock)
        self._report.entered(nr, SENDING)
        return AGAIN

    async def _deliver(self, nr: NotificationRequest) -> Result:
        resolution, planned = self._plan(nr)
        memory = self._memories.of(nr)
        if memory.results is None:
            if planned.unannounced:
                return await self._announce_further(nr, resolution, planned)
            if planned.next_due is not None and not planned.due:
                return Result(requeue_after=max(0.0, (planned.next_due - planned.now).total_seconds()))
            memory.results = await self._make_due_attempts(nr, planned, memory)
        attempts = memory.results.delivery_attempts
        jump = self._clock.now() - memory.now(self._clock)
        if abs(jump) > CLOCK_JUMP:  # what is announced with this write is by the clock as it is set now
            planned = planned.moved(jump)
        return await self._conclude(nr, resolution, decide(planned, nr.status.phase, attempts, self._random), attempts)

    async def _announce_further(self, nr: NotificationRequest, resolution: Resolution, planned: Plan) -> Result:
        """Something is to be sent that is not announced, as when routing names a new channel: announce it first.

        Raises `AnnouncementLostError` if that is impossible.
        """
        conditions = self._conditions(nr, nr.status.phase, resolution, planned.announced)
        update = await self._status.record(nr, (), conditions)
        if not update.ok:
            return DONE
        if not any(condition.type == DELIVERING for condition in update.object.status.conditions):
            name = f"{nr.metadata.namespace}/{nr.metadata.name}"
            raise AnnouncementLostError(
                f"cannot announce the attempts of {name}, so none is made: the API server drops status.conditions; "
                "update the CRD notificationrequests.kubernaut.ai"
            )
        self._memories.of(nr).announced |= frozenset(planned.announced) - frozenset(planned.due)
        return AGAIN

    async def _make_due_attempts(self, nr: NotificationRequest, planned: Plan, memory: Memory) -> DeliveryResult:
        for entry in planned.due:
            if memory.outcome_unknown(entry):
                self._report.outcome_unknown(nr, entry)
        memory.begun = frozenset(planned.due)
        attempts = await self._deliverer.deliver(nr, planned.due)
        for attempt in attempts:
            self._report.attempted(nr, attempt)
        memory.begun = frozenset()
        return DeliveryResult(tuple(attempts))

    async def _conclude(
        self, nr: NotificationRequest, resolution: Resolution, decision: Decision, attempts: Sequence[Attempt]
    ) -> Result:
        """Commit what the pass found out: attempts, phase, and what is announced next; one write."""
        conditions = self._conditions(nr, decision.phase, resolution, decision.announced)
        update = await self._commit(nr, decision, attempts, conditions)
        memory = self._memories.of(nr)
        memory.results = None
        if not update.ok:
            return DONE
        memory.announce(decision.announced, self._clock)
        self._report.scheduled(attempts, decision.announced)
        if decision.changed:
            wait = self._seconds_until(decision.next_due) if decision.next_due else 0.0
            self._report.entered(nr, decision.phase, message=decision.message, wait=wait)
        self._report.seen(update.object)
        return self._wait_until(decision.next_due) if decision.next_due else DONE

    async def _commit(
        self,
        nr: NotificationRequest,
        decision: Decision,
        attempts: Sequence[Attempt],
        conditions: Sequence[Condition],
    ) -> Update:
        if not decision.changed:
            return await self._status.record(nr, attempts, conditions)
        transition = {
            SENT: self._status.transition_to_sent,
            RETRYING: self._status.transition_to_retrying,
            PARTIALLY_SENT: self._status.transition_to_partially_sent,
            FAILED: self._status.transition_to_failed,
        }[decision.phase]
        return await transition(nr, Why(decision.reason, decision.message), attempts, conditions)

    def _plan(self, nr: NotificationRequest) -> tuple[Resolution, Plan]:
        resolution = self._resolve(nr)
        announced = [
            entry
            for condition in nr.status.conditions
            if condition.type == DELIVERING
            for entry in parse_announcement(condition.message)
        ]
        policy, now = RetryPolicy.of(nr.spec.retry_policy), self._memories.of(nr).now(self._clock)
        return resolution, plan(resolution.channels, nr.status.delivery_attempts, announced, policy, now)

    def _conditions(
        self,
        nr: NotificationRequest,
        phase: str,
        resolution: Resolution | None = None,
        announced: Sequence[Announced] = (),
    ) -> list[Condition]:
        return conditions_for(
            nr.status.conditions,
            phase,
            generation=nr.metadata.generation,
            now=self._clock.now(),
            resolution=resolution,
            announced=announced,
        )

    def _wait_until(self, due: datetime) -> Result:
        return Result(requeue_after=self._seconds_until(due))

    def _seconds_until(self, due: datetime) -> float:
        return max(0.0, (due - self._clock.now()).total_seconds())

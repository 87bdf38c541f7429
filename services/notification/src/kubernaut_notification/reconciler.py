"""The phase machine of a NotificationRequest.

    (none) ──> Pending ──> Sending ─┬─────────────────> Sent
                              │     ├─────────────────> PartiallySent
                              │     ├─────────────────> Failed
                              └──> Retrying ──┘   some channel has the message, another one is tried again

One pass, at most one status write. Every attempt is announced by the write before it (condition `Delivering`:
channel, number, due time), so that whoever comes after a crash finds it and repeats it under the same number. A
pass sends only what is announced and due. Its own write does not wake it: what it returns decides when it runs next.

A receiver that is busy or away holds a pass back (`sending`): its attempt keeps number and announcement, costs no call
and no write, and the pass ends. While receivers are called a pass holds no worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from kubernaut_api import Condition, NotificationRequest
from kubernaut_runtime import AGAIN, DONE, Clock, Objects, Result
from kubernaut_status import ObjectKey

from .conditions import DELIVERING, announced_in, conditions_for
from .delivery.announcement import Announced
from .delivery.plan import Decision, Plan, RetryPolicy, decide, plan
from .delivery.result import Attempt
from .memory import CLOCK_JUMP, Memories, Memory, instant
from .phases import PENDING, RETRYING, SENDING, TERMINAL
from .reporting import Reporter
from .routing.router import Resolution
from .sending import Sender
from .status import NotificationStatus


class AnnouncementLostError(Exception):
    """An announcement was written and is not there: the CRD of the cluster is older than conditions."""


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
        sender: Sender,
        reporter: Reporter,
        clock: Clock,
        *,
        acting_since: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._objects = objects
        self._status = status
        self._resolve = resolve
        self._sender = sender
        self._report = reporter
        self._clock = clock
        self._random = random
        self._memories = Memories(acting_since, reporter.forget)
        self._steps = {"": self._accept, PENDING: self._announce, SENDING: self._deliver, RETRYING: self._deliver}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Make one pass over the object at `key`."""
        try:
            result = await self._pass(key)
        except BaseException:
            self._sender.withdraw(key)  # nobody in front of a line may be one that does not come
            raise
        self._sender.over(key)
        return result

    async def _pass(self, key: ObjectKey) -> Result:
        stored = self._objects.get(key)
        if stored is None:
            self._sender.withdraw(key)
            self._memories.forget(key)
            return DONE
        nr = NotificationRequest.model_validate(stored)
        memory = self._memories.of(nr.metadata)
        self._report.seen(nr)
        memory.news.look(nr)
        step = self._steps.get(nr.status.phase)
        if step is None or (nr.metadata.deletion_timestamp and memory.results is None):
            self._sender.withdraw(key)  # ended, or being deleted: nothing is sent any more
            return DONE
        return await step(nr)

    async def _accept(self, nr: NotificationRequest) -> Result:
        self._report.started(nr)
        update = await self._status.transition_to_pending(nr, self._conditions(nr, PENDING))
        return AGAIN if update.ok else DONE

    async def _announce(self, nr: NotificationRequest) -> Result:
        resolution, planned = self._plan(nr)
        if not planned.channels:
            return await self._conclude(nr, resolution, decide(planned, PENDING), ())
        conditions = self._conditions(nr, SENDING, resolution, planned.announced)
        memory, at = self._memories.of(nr.metadata), instant(self._clock)
        self._await_phase(memory, SENDING)
        update = await self._status.transition_to_sending(nr, conditions)
        if not update.ok:
            memory.news.drop()
            return DONE
        memory.announce(planned.announced, at)
        memory.news.tell(nr)
        return AGAIN

    async def _deliver(self, nr: NotificationRequest) -> Result:
        resolution, planned = self._plan(nr)
        memory = self._memories.of(nr.metadata)
        if memory.results is None:
            if planned.unannounced:
                return await self._announce_further(nr, resolution, planned)
            wait = await self._sender.send(nr, planned, memory)
            if memory.results is None:
                return Result(requeue_after=wait)
        attempts = memory.finished(self._clock)
        jump = self._clock.now() - memory.now(self._clock)
        if abs(jump) > CLOCK_JUMP:  # what is announced with this write is by the clock as it is set now
            planned = planned.moved(jump)
        blocked = self._sender.not_before(planned, self._clock.now())
        decision = decide(planned, nr.status.phase, attempts, self._random, blocked)
        result = await self._conclude(nr, resolution, decision, attempts)
        self._sender.held(nr, memory, (e.channel for e in decision.announced if e.due == blocked.get(e.channel)))
        return result

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
        self._memories.of(nr.metadata).announced |= frozenset(planned.announced) - frozenset(planned.due)
        return AGAIN

    async def _conclude(
        self, nr: NotificationRequest, resolution: Resolution, decision: Decision, attempts: Sequence[Attempt]
    ) -> Result:
        """Commit what the pass found out: attempts, phase, and what is announced next; one write."""
        conditions = self._conditions(nr, decision.phase, resolution, decision.announced)
        memory = self._memories.of(nr.metadata)
        wait, at = self._seconds_until(decision.next_due), instant(self._clock)
        memory.news.drop()
        if decision.changed:
            self._await_phase(memory, decision.phase, decision.message, decision.backoff)
        update = await self._status.conclude(nr, decision, attempts, conditions)
        memory.results = None
        if not update.ok:
            memory.news.drop()
            return DONE
        memory.announce(decision.announced, at, announced_in(nr.status.conditions))
        self._report.scheduled(attempts, decision.announced)
        memory.news.tell(nr)
        self._report.seen(update.object)
        spent = self._clock.monotonic() - at[1]  # not by the wall clock, which may have been set meanwhile
        return Result(requeue_after=max(0.0, wait - spent)) if decision.next_due else DONE

    def _await_phase(self, memory: Memory, phase: str, message: str = "", backoff: float = 0.0) -> None:
        """A write that is to bring `phase` begins; `message` and `backoff` (seconds) are what its Event says."""

        def told(nr: NotificationRequest) -> None:
            self._report.entered(nr, phase, message=message, backoff=backoff)
            if phase in TERMINAL:
                memory.results = None

        memory.news.await_write(lambda nr: memory.has_landed(nr, phase), told)

    def _plan(self, nr: NotificationRequest) -> tuple[Resolution, Plan]:
        resolution, announced = self._resolve(nr), announced_in(nr.status.conditions)
        policy, now = RetryPolicy.of(nr.spec.retry_policy), self._memories.of(nr.metadata).now(self._clock)
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

    def _seconds_until(self, due: datetime | None) -> float:
        return max(0.0, (due - self._clock.now()).total_seconds()) if due else 0.0

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

from collections.abc import Callable
from datetime import datetime

from kubernaut_api import NotificationRequest
from kubernaut_runtime import DONE, Clock, Objects, Result
from kubernaut_status import ObjectKey

from .commits import Commits
from .conditions import announced_in
from .delivery.plan import Plan, RetryPolicy, decide, plan
from .memory import CLOCK_JUMP, Memories
from .phases import PENDING, RETRYING, SENDING
from .reporting import Reporter
from .routing.router import Resolution
from .sending import Sender
from .status import StatusWriter


class NotificationReconciler:
    """Brings one NotificationRequest one step further; may be killed at any instruction.

    `acting_since` tells since when this process acts (its start, or its becoming leader): an announced attempt that
    was due before may have been made by a predecessor. `random` spreads the waits, 0 makes them exact.
    """

    def __init__(
        self,
        objects: Objects,
        status: StatusWriter,
        resolve: Callable[[NotificationRequest], Resolution],
        sender: Sender,
        reporter: Reporter,
        clock: Clock,
        *,
        acting_since: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._objects = objects
        self._resolve = resolve
        self._sender = sender
        self._report = reporter
        self._clock = clock
        self._random = random
        self._memories = Memories(acting_since, reporter.forget)
        self._commits = Commits(status, reporter, clock, self._memories)
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
        return await self._commits.accept(nr)

    async def _announce(self, nr: NotificationRequest) -> Result:
        resolution, planned = self._plan(nr)
        if not planned.channels:
            return await self._commits.conclude(nr, resolution, decide(planned, PENDING), ())
        return await self._commits.announce(nr, resolution, planned)

    async def _deliver(self, nr: NotificationRequest) -> Result:
        resolution, planned = self._plan(nr)
        memory = self._memories.of(nr.metadata)
        if memory.results is None:
            if planned.unannounced:
                return await self._commits.announce_further(nr, resolution, planned)
            wait = await self._sender.send(nr, planned, memory)
            if memory.results is None:
                return Result(requeue_after=wait)
        attempts = memory.finished(self._clock)
        jump = self._clock.now() - memory.now(self._clock)
        if abs(jump) > CLOCK_JUMP:  # what is announced with this write is by the clock as it is set now
            planned = planned.moved(jump)
        blocked = self._sender.not_before(planned, self._clock.now())
        decision = decide(planned, nr.status.phase, attempts, self._random, blocked)
        result = await self._commits.conclude(nr, resolution, decision, attempts)
        self._sender.held(nr, memory, (e.channel for e in decision.announced if e.due == blocked.get(e.channel)))
        return result

    def _plan(self, nr: NotificationRequest) -> tuple[Resolution, Plan]:
        resolution, announced = self._resolve(nr), announced_in(nr.status.conditions)
        policy, now = RetryPolicy.of(nr.spec.retry_policy), self._memories.of(nr.metadata).now(self._clock)
        return resolution, plan(resolution.channels, nr.status.delivery_attempts, announced, policy, now)

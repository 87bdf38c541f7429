"""How a pass ends: one write, what is told of it, and when the next pass is due.

Every method returns what the pass returns. What is told of a write is told once, when it is stored, though the pass
was cut off meanwhile (`News`). A write that announces attempts is remembered with the time that their due times were
computed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kubernaut_api import Condition, NotificationRequest
from kubernaut_runtime import AGAIN, DONE, Clock, Result

from .conditions import DELIVERING, announced_in, conditions_for
from .delivery.announcement import Announced
from .delivery.plan import Decision, Plan
from .delivery.result import Attempt
from .memory import Memories, Memory, instant
from .phases import PENDING, SENDING, TERMINAL
from .reporting import Reporter
from .routing.router import Resolution
from .status import StatusWriter


class AnnouncementLostError(Exception):
    """An announcement was written and is not there: the CRD of the cluster is older than conditions."""


class Commits:
    """Ends passes through `status`."""

    def __init__(self, status: StatusWriter, reporter: Reporter, clock: Clock, memories: Memories) -> None:
        self._status = status
        self._report = reporter
        self._clock = clock
        self._memories = memories

    async def accept(self, nr: NotificationRequest) -> Result:
        """Enter Pending."""
        update = await self._status.transition_to_pending(nr, self._conditions(nr, PENDING))
        return AGAIN if update.ok else DONE

    async def announce(self, nr: NotificationRequest, resolution: Resolution, planned: Plan) -> Result:
        """Enter Sending, and announce what is planned."""
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

    async def announce_further(self, nr: NotificationRequest, resolution: Resolution, planned: Plan) -> Result:
        """Stay in the phase, and announce what is planned and not announced, as when routing names a new channel.

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

    async def conclude(
        self, nr: NotificationRequest, resolution: Resolution, decision: Decision, attempts: Sequence[Attempt]
    ) -> Result:
        """Record `attempts`, enter the phase that was decided, and announce what comes next."""
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

"""One pass's calls: which of the due attempts may be made now, making them, and telling what came of each.

Between what is due (`plan`) and the call (`Deliverer`) stand two questions. Is the receiver free (`Lanes`)? If not, the
pass is held: it costs nothing and comes again. And may this process still act, and does the object still want it? That
is asked right before each call, because a process may have been stopped, and an object deleted, since the pass began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from kubernaut_api import NotificationRequest
from kubernaut_runtime import Objects, leave_worker
from kubernaut_status import ObjectKey

from .delivery.announcement import Announced
from .delivery.deliverer import Deliverer
from .delivery.lanes import Lanes, is_remote
from .delivery.plan import Plan
from .delivery.result import Attempt, DeliveryResult
from .memory import Memory
from .priority import urgency
from .reporting import Reporter

MAX_AWAY = 1000
"""Passes that may wait for receivers at once, all together; each receiver has far fewer places."""


class Sender:
    """Makes due attempts through `deliverer`, as far as `lanes` let them in and `fence` lets this process act."""

    def __init__(
        self,
        objects: Objects,
        lanes: Lanes,
        deliverer: Deliverer,
        reporter: Reporter,
        fence: Callable[[], bool] = lambda: True,
    ) -> None:
        self._objects = objects
        self._lanes = lanes
        self._deliverer = deliverer
        self._report = reporter
        self._fence = fence

    async def send(self, nr: NotificationRequest, planned: Plan, memory: Memory) -> float:
        """Make the attempts of `planned` that are due; their results are in `memory.results` afterwards.

        If that is None, nothing was sent, and the pass is to come again in as many seconds as are returned.
        """
        due = planned.due
        self._lanes.settle(_key(nr), but=[entry.channel for entry in due])
        attempts = await self._make(nr, due, memory) if due else []
        if attempts or planned.next_due is None:
            memory.results = DeliveryResult(tuple(attempts))
            return 0.0
        self.held(nr, memory, (entry.channel for entry in due))
        later = [(entry.due - planned.now).total_seconds() for entry in planned.announced if entry not in due]
        return max(0.0, min([*later, *(self._lanes.wait(_key(nr), entry.channel) for entry in due)]))

    def withdraw(self, key: ObjectKey) -> None:
        """The object at `key` sends nothing more for now; it stands in no line."""
        self._lanes.settle(key)

    def over(self, key: ObjectKey) -> None:
        """The pass over the object at `key` has ended: where it stands in line, it can come when it is its turn."""
        self._lanes.back(key)

    def not_before(self, planned: Plan, now: datetime) -> dict[str, datetime]:
        """Return, of the channels of `planned` whose breakers are open at `now`, when they let calls through again."""
        waits = ((state.channel, self._lanes.opens_in(state.channel)) for state in planned.channels)
        return {channel: now + timedelta(seconds=wait) for channel, wait in waits if wait > 0}

    def held(self, nr: NotificationRequest, memory: Memory, channels: Iterable[str]) -> None:
        """Tell that `channels` are held back by their open breakers, for each opening once."""
        for channel in channels:
            opening, error = self._lanes.opening(channel)
            if memory.first_held_by(channel, opening):
                self._report.held(nr, channel, error)

    async def _make(self, nr: NotificationRequest, entries: Sequence[Announced], memory: Memory) -> list[Attempt]:
        key, urgent = _key(nr), urgency(nr.spec.priority)
        called: set[Announced] = set()

        async def enter(entry: Announced) -> bool:
            return await self._lanes.enter(key, urgent, entry.channel)

        def allowed(entry: Announced) -> bool:
            if not self._may_send(nr):
                return False
            if memory.outcome_unknown(entry):
                self._report.outcome_unknown(nr, entry)
            memory.begun |= {entry}
            called.add(entry)
            return True

        if any(is_remote(entry.channel) for entry in entries):
            leave_worker(MAX_AWAY)
        try:
            attempts = await self._deliverer.deliver(
                nr, entries, enter=enter, allowed=allowed, ended=lambda attempt: self._lanes.ended(key, attempt)
            )
        finally:
            self._lanes.leave(key)
        for attempt in attempts:
            self._report.attempted(nr, attempt)
        memory.begun -= called
        return attempts

    def _may_send(self, nr: NotificationRequest) -> bool:
        stored = self._objects.get(_key(nr))
        meta = stored["metadata"] if stored else {}
        return self._fence() and meta.get("uid") == nr.metadata.uid and not meta.get("deletionTimestamp")


def _key(nr: NotificationRequest) -> ObjectKey:
    return ObjectKey(nr.metadata.namespace, nr.metadata.name)

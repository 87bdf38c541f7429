"""The work queue between what happens (events, due times, failures) and who acts on it (the workers).

It keeps the promises of client-go's queue, on which reconcilers are built:

* a key is queued at most once, however often it is added;
* a key is worked on by at most one worker; added meanwhile, it is queued again when that worker is done;
* a delayed add that is earlier than the pending one replaces it, a later one changes nothing;
* a failing key waits longer each time (`add_rate_limited`), alone, until `forget`.

Two things are its own. Keys wait on levels, and the highest goes first. A key's level is made of two facts: what it
is (`priority`, asked of the service: LOW to CRITICAL), and why it comes. What changed or came due (HIGH) stands
`NEWS` levels above what was merely listed at start (LOW), so that thousands of old objects do not delay a fresh one:

| | Critical | High | Medium | Low |
|---|---|---|---|---|
| changed or due | 5 | 4 | 3 | 2 |
| listed | 3 | 2 | 1 | 0 |

A key that waits is lifted when it is added at a higher level, never lowered. Nobody starves: one of `FAIR_SHARE` keys
that are taken is the oldest of those in front of their levels, however low it stands. So a key that comes to its level
as one of n that wait is taken after at most `FAIR_SHARE * n` takes, whatever comes after it.

And taking a key drops its pending delay, because the pass that begins decides anew when the next one is due: an old
due time must not wake a key that has since been dealt with.

Everything happens in one event loop; no method but `get` waits.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kubernaut_status import ObjectKey

from .backoff import Backoff
from .clock import Clock, SystemClock

DEFAULT_BACKOFF = Backoff(base=1.0, cap=300.0)
"""Waits of a failing key: 1 s, doubled up to 5 min."""

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)


_LEFTOVERS = 100

NEWS = 2
"""Levels by which what changed or came due stands above what was merely listed."""

FAIR_SHARE = 8
"""Of so many keys that are taken one is the oldest, on whatever level."""


class Priority(IntEnum):
    """How urgent a key is, by what it is. As the reason of an add: LOW is a list, HIGH everything else."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


LOW = Priority.LOW
HIGH = Priority.HIGH


@dataclass(frozen=True, slots=True)
class _Waiting:
    arrival: int
    added: float
    reason: Priority


class ShutDownError(Exception):
    """The queue was shut down and nothing is left in it."""


class QueueMetrics:
    """The queue metrics that controller-runtime has, labelled with the queue's name. One instance per process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.depth = Gauge("workqueue_depth", "Keys ready to be taken.", ("name",), registry=registry)
        self.adds = Counter("workqueue_adds_total", "Keys that were queued.", ("name",), registry=registry)
        self.retries = Counter(
            "workqueue_retries_total", "Keys queued again after a failure.", ("name",), registry=registry
        )
        self.waited = Histogram(
            "workqueue_queue_duration_seconds",
            "Time from add to get.",
            ("name",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.worked = Histogram(
            "workqueue_work_duration_seconds",
            "Time from get to done.",
            ("name",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.longest = Gauge(
            "workqueue_longest_running_processor_seconds",
            "Time since the key that is worked on longest was taken; 0 if none is.",
            ("name",),
            registry=registry,
        )

    def begin(self, name: str, longest: Callable[[], float]) -> None:
        """Show queue `name` from now on, counters from 0, so that the first of everything is seen as an increase."""
        self.depth.labels(name).set(0)
        self.adds.labels(name)
        self.retries.labels(name)
        self.longest.labels(name).set_function(longest)


class WorkQueue:
    """A deduplicating queue of object keys with delays, per-key backoff and priorities.

    `name` labels its metrics; `backoff` are the waits of failing keys, in seconds; `clock` is asked for
    all times; `priority` says how urgent a key is, each time it is queued. A queue without `metrics` counts for
    itself only.
    """

    def __init__(
        self,
        name: str = "",
        *,
        backoff: Backoff = DEFAULT_BACKOFF,
        clock: Clock | None = None,
        metrics: QueueMetrics | None = None,
        priority: Callable[[ObjectKey], Priority] = lambda key: Priority.MEDIUM,
    ) -> None:
        self.name = name
        self._priority = priority
        self._clock = clock or SystemClock()
        self._backoff = backoff
        self._metrics = metrics or QueueMetrics(CollectorRegistry())
        self._ready: dict[int, OrderedDict[ObjectKey, _Waiting]] = {
            level: OrderedDict() for level in range(Priority.CRITICAL + NEWS, -1, -1)
        }
        self._level: dict[ObjectKey, int] = {}
        self._arrivals = 0
        self._taken = 0
        self._working: dict[ObjectKey, tuple[Priority, float]] = {}
        self._again: dict[ObjectKey, tuple[Priority, float]] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._due: dict[ObjectKey, float] = {}
        self._heap: list[tuple[float, int, ObjectKey, Priority]] = []
        self._sequence = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = 0.0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False
        self._metrics.begin(name, self.longest_running)

    def __len__(self) -> int:
        """Keys ready to be taken: neither those being worked on nor those that are delayed."""
        return len(self._level)

    @property
    def working(self) -> frozenset[ObjectKey]:
        """The keys that were taken and are not done."""
        return frozenset(self._working)

    def longest_running(self) -> float:
        """Seconds since the key that is worked on longest was taken, 0.0 if none is. From any thread."""
        taken = [since for _, since in list(self._working.values())]  # in one step: the loop's thread may change it
        return max(0.0, self._clock.monotonic() - min(taken)) if taken else 0.0

    def due_in(self, key: ObjectKey) -> float | None:
        """Seconds until the delayed add of `key`; None if none is pending."""
        due = self._due.get(key)
        return None if due is None else max(0.0, due - self._clock.monotonic())

    def failures(self, key: ObjectKey) -> int:
        """How often `key` failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def add(self, key: ObjectKey, priority: Priority = HIGH) -> None:
        """Queue `key` now; once only, and not beside a worker that has it. Ignored after `shut_down`."""
        if not self._shut_down:
            self._push(key, priority, self._clock.monotonic())

    def add_after(self, key: ObjectKey, seconds: float, priority: Priority = HIGH) -> None:
        """Queue `key` in `seconds`, unless an earlier delay is pending; now if not positive."""
        if self._shut_down:
            return
        if seconds <= 0:
            self.add(key, priority)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key, priority))
        self._arm()

    def add_rate_limited(self, key: ObjectKey, at_least: float = 0.0) -> float:
        """Count a failure of `key` and queue it after the backoff's wait, which is returned (seconds).

        `at_least` is how long to wait in any case (Retry-After).
        """
        self._failures[key] = self.failures(key) + 1
        wait = max(self._backoff.wait(self._failures[key]), at_least)
        if not self._shut_down:
            self._metrics.retries.labels(self.name).inc()
            self.add_after(key, wait)
        return wait

    def forget(self, key: ObjectKey) -> None:
        """`key` succeeded, or is gone: its next failure is its first."""
        self._failures.pop(key, None)

    async def get(self) -> ObjectKey:
        """Take the next key; the caller owes `done` or `give_back`. Waits while there is none.

        Raises `ShutDownError` once the queue is shut down and empty.
        """
        while not len(self):
            if self._shut_down:
                raise ShutDownError(f"queue {self.name!r} is shut down")
            await self._wait()
        now = self._clock.monotonic()
        level = self._next_level()
        key, waiting = self._ready[level].popitem(last=False)
        del self._level[key]
        self._working[key] = (waiting.reason, now)
        self._due.pop(key, None)
        self._metrics.depth.labels(self.name).set(len(self))
        self._metrics.waited.labels(self.name).observe(now - waiting.added)
        return key

    def done(self, key: ObjectKey) -> None:
        """The worker has finished with `key`; if it was added meanwhile, it is queued now."""
        _, started = self._working.pop(key)
        self._metrics.worked.labels(self.name).observe(self._clock.monotonic() - started)
        again = self._again.pop(key, None)
        if again is not None:
            self._push(key, *again)

    def give_back(self, key: ObjectKey) -> None:
        """The worker could not act on `key`: queue it again with the priority that it had.

        This works after `shut_down` too, so that a pass that was cut off leaves its key visible.
        """
        self._push(key, self._working[key][0], self._clock.monotonic())
        self.done(key)

    def shut_down(self) -> None:
        """Take no more keys and drop the delayed ones; what is queued can still be taken."""
        self._shut_down = True
        self._due.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)

    def _push(self, key: ObjectKey, priority: Priority, added: float) -> None:
        if key in self._working:
            known, since = self._again.get(key, (priority, added))
            self._again[key] = (max(known, priority), since)
            return
        level, waits_at = self._level_of(key, priority), self._level.get(key)
        if waits_at is not None:
            if level <= waits_at:
                return
            before = self._ready[waits_at].pop(key)
            self._ready[level][key] = replace(before, reason=max(before.reason, priority))
        else:
            self._arrivals += 1
            self._ready[level][key] = _Waiting(self._arrivals, added, priority)
            self._metrics.adds.labels(self.name).inc()
        self._level[key] = level
        self._metrics.depth.labels(self.name).set(len(self))
        self._wake_one()

    def _level_of(self, key: ObjectKey, reason: Priority) -> int:
        return self._priority(key) + (NEWS if reason >= HIGH else 0)

    def _next_level(self) -> int:
        filled = [level for level, keys in self._ready.items() if keys]
        self._taken += 1
        if self._taken % FAIR_SHARE:
            return filled[0]
        return min(filled, key=lambda level: next(iter(self._ready[level].values())).arrival)

    async def _wait(self) -> None:
        getter = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            await getter
        except asyncio.CancelledError:
            # A getter that was woken and cancelled in the same step hands the key on.
            if getter.done() and not getter.cancelled() and len(self):
                self._wake_one()
            raise
        finally:
            if getter in self._getters:
                self._getters.remove(getter)

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _arm(self) -> None:
        """Keep one timer, for the earliest delay."""
        if len(self._heap) > 2 * len(self._due) + _LEFTOVERS:  # delays that were dropped or replaced
            self._heap = list({entry[2]: entry for entry in self._heap if self._due.get(entry[2]) == entry[0]}.values())
            heapq.heapify(self._heap)
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap or (self._timer is not None and self._timer_due <= self._heap[0][0]):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._heap[0][0]
        self._timer = asyncio.create_task(self._fire_at(self._timer_due), name=f"delays of queue {self.name}")

    async def _fire_at(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        self._timer = None
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            when, _, key, priority = heapq.heappop(self._heap)
            if self._due.get(key) == when:
                del self._due[key]
                self._push(key, priority, now)
        self._arm()

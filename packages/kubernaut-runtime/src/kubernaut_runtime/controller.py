"""The reconcile loop: workers take keys, call the reconciler, and do what it asked for.

A reconciler is level-based: it gets a key, not an event, looks at the newest object, makes at most one
status write, and says when it wants to be called again. Nothing else wakes it but news: the store
absorbs the echo of its own write, so `requeue_after` is what happens next.

* A pass that raises is logged once and retried after a wait that grows per key; no object, however
  broken, stops the queue for the others. A lost conflict race is not an error: counted, retried, quiet.
* Workers act only while this process leads (`pause`, `resume`) and `fence()` says that it still may;
  the fence is asked right before each pass, because a process that was stopped for a minute does not
  know yet that it was replaced. The queue keeps and dedupes what comes meanwhile.
* A pass that waits for somebody else for long (a receiver, a busy server) may `leave_worker`: it goes on beside the
  workers, and its worker takes the next key. Its key stays its own, and `drain` and `abandon` hold for it as for any
  other. Only so many are away at once; beyond that a pass keeps its worker, which bounds what the process holds in
  memory.
* `drain` ends the work in order: no new pass, running ones get their time, then they are cancelled. A
  cancelled pass gives its key back; restart plus the stored status are enough to go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kubernaut_status import ApiError, ConflictError, ConflictsExhaustedError, ObjectKey

from .clock import Clock, SystemClock
from .queue import WorkQueue

logger = logging.getLogger(__name__)

_CONFLICTS = (ConflictError, ConflictsExhaustedError)
_FENCE_RETRY = 1.0

AWAY = 100
"""Passes that may be away from their workers at once, where the caller of `leave_worker` does not say."""

_leave: ContextVar[Callable[[int], bool]] = ContextVar("leave_worker")


def leave_worker(at_most: int = AWAY) -> bool:
    """Let the pass that this is called in go on without its worker, for good; call it before a long wait.

    Returns whether the pass holds no worker now: False if `at_most` are away already, or outside of a pass.
    """
    leave = _leave.get(None)
    return leave is not None and leave(at_most)


@dataclass(frozen=True, slots=True)
class Result:
    """What a pass asks for: another one in `requeue_after` seconds, or none until something changes."""

    requeue_after: float | None = None


DONE = Result()
"""Nothing more to do until something changes."""

AGAIN = Result(requeue_after=0)
"""The next pass follows at once."""


class Reconciler(Protocol):
    """What brings one object a step further."""

    async def reconcile(self, key: ObjectKey) -> Result:
        """Make one pass over the object at `key`, which may be gone. Any exception means: again, later."""
        ...


class ControllerMetrics:
    """The metrics of controller-runtime's reconcile loop. One instance per process.

    `controller_runtime_reconcile_total{controller,result}` has the results success, requeue_after,
    requeue (a conflict) and error.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        label = ("controller",)
        self.passes = Counter(
            "controller_runtime_reconcile_total", "Passes by result.", (*label, "result"), registry=registry
        )
        self.errors = Counter("controller_runtime_reconcile_errors_total", "Failed passes.", label, registry=registry)
        self.seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time per pass.",
            label,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=registry,
        )
        self.active = Gauge("controller_runtime_active_workers", "Passes under way.", label, registry=registry)
        self.workers = Gauge(
            "controller_runtime_max_concurrent_reconciles", "Passes that may run at once.", label, registry=registry
        )

    def begin(self, name: str, workers: int) -> None:
        """Show controller `name` from now on, counters from 0, so that the first of everything is an increase."""
        self.workers.labels(name).set(workers)
        self.active.labels(name).set(0)
        self.errors.labels(name)
        for result in ("success", "requeue_after", "requeue", "error"):
            self.passes.labels(name, result)


class Controller:
    """Up to `workers` passes at once over the keys of `queue`, while this process leads.

    `fence` is asked before each pass whether this process may still act; `leading` is whether it starts
    with the leadership (else `resume` tells it). Raises ValueError for fewer than one worker.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        queue: WorkQueue,
        *,
        workers: int = 1,
        clock: Clock | None = None,
        fence: Callable[[], bool] = lambda: True,
        metrics: ControllerMetrics | None = None,
        leading: bool = True,
    ) -> None:
        if workers < 1:
            raise ValueError(f"cannot run controller {name!r} with {workers} workers; set at least 1")
        self.name = name
        self.queue = queue
        self._reconciler = reconciler
        self._clock = clock or SystemClock()
        self._fence = fence
        self._metrics = metrics or ControllerMetrics(CollectorRegistry())
        self._metrics.begin(name, workers)
        self._slots = asyncio.Semaphore(workers)
        self._leading = asyncio.Event()
        if leading:
            self._leading.set()
        self._draining = asyncio.Event()
        self._running: dict[asyncio.Task[None], ObjectKey] = {}
        self._begun: set[asyncio.Task[None]] = set()
        self._away: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> frozenset[ObjectKey]:
        """The keys whose passes are under way."""
        return frozenset(self._running.values())

    def pause(self) -> None:
        """Begin no pass until `resume`. Those under way go on; `abandon` ends them."""
        self._leading.clear()

    def resume(self) -> None:
        """Begin passes again."""
        self._leading.set()

    async def run(self) -> None:
        """Work until `drain`. Cancelling this cancels the passes under way; their keys stay in the queue."""
        dispatcher = asyncio.create_task(self._dispatch(), name=f"dispatcher of {self.name}")
        draining = asyncio.create_task(self._draining.wait(), name=f"drain of {self.name}")
        try:
            await asyncio.wait({dispatcher, draining}, return_when=asyncio.FIRST_COMPLETED)
            if dispatcher.done() and not self._draining.is_set():  # a queue that is shut down ends the dispatcher too
                dispatcher.result()
            await _cancel(dispatcher)
            while self._running:
                await asyncio.wait(set(self._running))
        finally:
            await _cancel(dispatcher, draining, *self._running)

    async def drain(self, timeout: float) -> bool:
        """Begin no pass any more, give those under way `timeout` seconds, then cancel them.

        Returns whether all ended by themselves.
        """
        self._draining.set()
        self.queue.shut_down()
        return await self.abandon(timeout)

    async def abandon(self, timeout: float) -> bool:
        """Give the passes under way `timeout` seconds, then cancel them; their keys go back to the queue.

        For a lost lease: `pause` first, then this. Returns whether all ended by themselves.
        """
        limit = asyncio.create_task(self._clock.sleep(timeout))
        try:
            while self._running and not limit.done():
                await asyncio.wait({limit, *self._running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(limit)
        left = dict(self._running)
        if left:
            logger.warning(
                "cancelled the passes of %s that did not end within %g s: %s",
                self.name,
                timeout,
                ", ".join(sorted(map(str, left.values()))),
            )
            await _cancel(*left)
        return not left

    async def _dispatch(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                key = await self._next()
            except BaseException:
                self._slots.release()
                raise
            task = asyncio.create_task(self._pass(key), name=f"{self.name} {key}")
            self._running[task] = key
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        key = self._running.pop(task)
        if task not in self._begun:  # cancelled before its first step
            self.queue.give_back(key)
        self._begun.discard(task)
        if task in self._away:
            self._away.discard(task)
        else:
            self._slots.release()

    def _leave_worker(self, task: asyncio.Task[None], at_most: int) -> bool:
        if task in self._away:
            return True
        if task not in self._running or len(self._away) >= at_most:
            return False
        self._away.add(task)
        self._slots.release()
        return True

    async def _next(self) -> ObjectKey:
        while True:
            await self._leading.wait()
            key = await self.queue.get()
            if self._leading.is_set() and self._fence():
                return key
            self.queue.give_back(key)
            if self._leading.is_set():
                await self._clock.sleep(_FENCE_RETRY)

    async def _pass(self, key: ObjectKey) -> None:
        this = cast("asyncio.Task[None]", asyncio.current_task())
        self._begun.add(this)
        _leave.set(partial(self._leave_worker, this))
        metrics, name, queue = self._metrics, self.name, self.queue
        metrics.active.labels(name).inc()
        began = self._clock.monotonic()
        given_back = False
        try:
            after = (await self._reconciler.reconcile(key)).requeue_after
        except asyncio.CancelledError as error:
            if not this.cancelling():  # not we: something that the pass awaited was cancelled
                self._failed(key, error)
            else:
                given_back = True
                queue.give_back(key)
                raise
        except _CONFLICTS as error:
            wait = queue.add_rate_limited(key)
            metrics.passes.labels(name, "requeue").inc()
            logger.debug("%s lost a conflict race for %s, again in %.1f s: %s", name, key, wait, error)
        except Exception as error:  # noqa: BLE001 - no object, however broken, stops the queue
            self._failed(key, error)
        else:
            queue.forget(key)
            metrics.passes.labels(name, "success" if after is None else "requeue_after").inc()
            if after is not None:
                queue.add_after(key, after)
        finally:
            metrics.active.labels(name).dec()
            metrics.seconds.labels(name).observe(self._clock.monotonic() - began)
            if not given_back:
                queue.done(key)

    def _failed(self, key: ObjectKey, error: BaseException) -> None:
        """Try again later. Where in the code it failed is told once, and not of what the API server answered."""
        asked = error.retry_after if isinstance(error, ApiError) else None
        wait = self.queue.add_rate_limited(key, at_least=asked or 0.0)
        self._metrics.passes.labels(self.name, "error").inc()
        self._metrics.errors.labels(self.name).inc()
        unexplained = self.queue.failures(key) == 1 and not isinstance(error, ApiError)
        logger.error(
            "cannot reconcile %s %s: %s: %s; again in %.1f s",
            self.name,
            key,
            type(error).__name__,
            error,
            wait,
            exc_info=error if unexplained else None,
        )


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks` and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

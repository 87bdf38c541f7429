"""A clock that a test turns by hand.

``FakeClock`` has the three methods that clocks of the runtime have (``now``, ``monotonic``, ``sleep``), so it can
be handed to whatever takes a clock. Nothing moves until the test says so:

    clock = FakeClock()
    task = asyncio.create_task(retry_later(clock))
    await clock.wait_for_sleepers(1)
    await clock.advance(30)

``advance`` moves both clocks and wakes sleepers in the order of their due times, each at its own time.
``jump`` moves the wall clock alone, as a corrected system clock does: no sleeper may care.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import itertools

from kubernaut_testing.waiting import PATIENCE

__all__ = ["FakeClock"]

_SETTLING_ROUNDS = 50


class FakeClock:
    """A clock for one event loop.

    Args:
        start: the first wall-clock time, aware; default 2026-01-01T00:00:00Z.
        monotonic: the first monotonic reading, in seconds.
    """

    def __init__(self, start: dt.datetime | None = None, monotonic: float = 1000.0) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("cannot start a clock at a time without a time zone: pass an aware datetime")
        self._now = (start or dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).astimezone(dt.UTC)
        self._monotonic = monotonic
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> dt.datetime:
        """The wall clock, aware UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never go backwards; only differences mean something."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Sleep until the test has advanced the clock by ``seconds``; zero or less only yields to the loop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> list[float]:
        """In how many seconds each sleeper is due, the next first; cancelled ones are not among them."""
        return sorted(due - self._monotonic for due, _, woken in self._sleepers if not woken.done())

    async def wait_for_sleepers(self, count: int = 1, *, timeout: float = PATIENCE) -> list[float]:
        """Let the loop run until ``count`` tasks sleep; returns ``sleepers``.

        Raises TimeoutError after ``timeout`` real seconds.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while len(self.sleepers) < count:
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"cannot see {count} sleepers within {timeout:g} s: {len(self.sleepers)} sleep")
            await asyncio.sleep(0.001)
        return self.sleepers

    async def advance(self, seconds: float) -> None:
        """Move both clocks on, wake each sleeper at its own time, let woken tasks run until they wait again.

        A task that sleeps again within the span is woken again within it. Tasks that wait for input and output
        (a request) are not waited for: wait for their effect.
        """
        if seconds < 0:
            raise ValueError("cannot advance a clock backwards: use jump() for the wall clock")
        end = self._monotonic + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue  # cancelled
            self._move(max(due, self._monotonic))
            woken.set_result(None)
            await self._settle()
        self._move(end)
        await self._settle()

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, forwards or backwards."""
        self._now += dt.timedelta(seconds=seconds)

    def _move(self, to: float) -> None:
        self._now += dt.timedelta(seconds=to - self._monotonic)
        self._monotonic = to

    async def _settle(self) -> None:
        for _ in range(_SETTLING_ROUNDS):
            await asyncio.sleep(0)

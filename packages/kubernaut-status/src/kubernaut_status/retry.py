"""How often and how long to try again.

Two different things are retried, and they have two budgets: a *conflict* means that the object moved
on, and a few quick tries on the fresh object settle it; an *unavailable* server means waiting, longer
each time, and at least as long as its Retry-After says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from .errors import ConflictError, ConflictsExhaustedError, believed

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class ConflictRetry:
    """Tries on conflict: `steps` in all, `duration` seconds apart, times `factor` each.

    `jitter` is the share of a wait by which it may be longer.
    """

    steps: int = 5
    duration: float = 0.010
    factor: float = 1.0
    jitter: float = 0.1

    def wait(self, tries: int) -> float:
        """Seconds to wait after try number `tries` (from 1)."""
        return self.duration * self.factor ** (tries - 1) * (1 + random.random() * self.jitter)


DEFAULT_RETRY = ConflictRetry()
"""client-go's `retry.DefaultRetry`: 5 tries, 10 ms apart, factor 1.0, jitter 0.1."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Waiting for a server that is busy, failing or out of reach.

    Waits `base` seconds, doubled up to `cap`, up to a tenth later; gives up `give_up_after` seconds after
    the first try, at once if the server asks for more than is left of them.
    """

    base: float = 0.2
    cap: float = 10.0
    give_up_after: float = 120.0

    def wait(self, tries: int, retry_after: float | None) -> float:
        """Seconds to wait after try number `tries`: not less than the server asked for, up to `RETRY_AFTER_LIMIT`."""
        delay = min(self.base * 2.0 ** min(tries - 1, 30), self.cap)
        return max(delay, believed(retry_after) or 0.0) * (1 + random.random() * 0.1)


async def retry_on_conflict(
    retry: ConflictRetry, attempt: Callable[[], Awaitable[T]], *, what: str = "the object", sleep: Sleep = asyncio.sleep
) -> T:
    """Run `attempt` until it meets no 409; for code that writes without a manager (DD-PERF-001, direct loop).

    `attempt` reads, builds the whole status in memory and writes once; it must have no other effect,
    since it may run again. Returns what it returns. Raises `ConflictsExhaustedError` after
    `retry.steps` conflicts; every other error passes through at once.
    """
    for tries in range(1, retry.steps + 1):
        try:
            return await attempt()
        except ConflictError as conflict:
            if tries == retry.steps:
                raise ConflictsExhaustedError(what, tries) from conflict
            await sleep(retry.wait(tries))
    raise ValueError("cannot retry: steps must be at least 1")

"""Waits that grow: `base * factor**(n-1)`, capped, with a jitter that only ever adds.

The platform's rule: attempt numbers start at 1 (less counts as 1), a base of 0 means no wait at all, the
result stays within `[base, cap]`. Jitter here is one-sided: a wait is never shorter than the policy
says and at most `jitter` (a tenth) longer, so that a due time which was announced is also kept.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A policy of growing waits, in seconds.

    `base` is the first wait, `cap` the longest, `factor` the growth per attempt, `jitter` the largest
    part that is added at random (0.1 = up to a tenth; 0 = exact, for tests).
    Raises ValueError for negative values, a factor below 1, or a cap below the base.
    """

    base: float
    cap: float
    factor: float = 2.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if self.base < 0 or self.jitter < 0 or self.factor < 1 or self.cap < self.base:
            raise ValueError(
                f"cannot use {self}: need base >= 0, cap >= base, factor >= 1 and jitter >= 0 (durations in seconds)"
            )

    def policy(self, n: int) -> float:
        """The wait after the `n`-th attempt without jitter."""
        if self.base == 0:
            return 0.0
        try:
            return float(min(self.cap, self.base * self.factor ** (max(1, n) - 1)))
        except OverflowError:
            return float(self.cap)

    def wait(self, n: int, random: Callable[[], float] = random_module.random) -> float:
        """Seconds to wait after the `n`-th attempt: `policy(n)` or up to `jitter` more, never above the cap.

        `random` returns a number in [0, 1).
        """
        exact = self.policy(n)
        return min(float(self.cap), exact + exact * self.jitter * random())

    def endless(self) -> EndlessWaits:
        """The waits after attempts 1, 2, 3, ..., as often as they are asked for."""
        return EndlessWaits(self)


@dataclass(frozen=True, slots=True)
class EndlessWaits:
    """An iterable of a backoff's waits that never ends and starts anew with each iteration.

    It has no length on purpose: kopf takes an endless `error_backoffs` only as an unsized iterable.
    """

    backoff: Backoff

    def __iter__(self) -> Iterator[float]:
        n = 0
        while True:
            n += 1
            yield self.backoff.wait(n)

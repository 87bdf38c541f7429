"""The loads that are measured: how many notifications, and when they are created."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.modes import ATOMIC, MODES, SEQUENTIAL, Mode


@dataclass(frozen=True, slots=True)
class Load:
    """One load. `per_minute` is the rate of creation, None for as fast as the API server takes them.

    With `backlog` the notifications are there before the operator starts; `fresh` more are created while it works
    through them, one after another.
    """

    name: str
    title: str
    notifications: int
    rounds: int = 1
    modes: tuple[Mode, ...] = (ATOMIC, SEQUENTIAL)
    per_minute: float | None = None
    backlog: bool = False
    fresh: int = 0

    def sized(self, notifications: int | None, rounds: int | None) -> Load:
        """The same load with other numbers; None keeps its own. A rate lasts as long as it then takes."""
        return Load(
            self.name,
            self.title,
            notifications or self.notifications,
            rounds or self.rounds,
            self.modes,
            self.per_minute,
            self.backlog,
            min(self.fresh, notifications or self.fresh),
        )


BURST = Load("burst", "1,000 at once", 1000, rounds=3, modes=MODES)
STEADY = Load("steady", "100 a minute for 5 minutes", 500, per_minute=100)
BUSY = Load("busy", "1,000 a minute for 5 minutes", 5000, per_minute=1000)
BACKLOG = Load("backlog", "5,000 at start", 5000, backlog=True, fresh=20)

LOADS = (BURST, STEADY, BUSY, BACKLOG)
"""All loads, in the order of the report."""


def paced(names: Iterable[str], per_minute: float | None) -> Iterator[str]:
    """Yield each name when it is its turn; an open loop, so a slow server does not lower the rate."""
    start = time.monotonic()
    for number, name in enumerate(names):
        if per_minute is not None:
            time.sleep(max(0.0, start + number * 60 / per_minute - time.monotonic()))
        yield name

"""What a load is: how many objects, and when they are created. The loads themselves are in `services`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from benchmarks.modes import ATOMIC, SEQUENTIAL, Mode


@dataclass(frozen=True, slots=True)
class Load:
    """One load. `per_minute` is the rate of creation, None for as fast as the API server takes them.

    With `backlog` the objects are there before the operator starts; `fresh` more are created while it works through
    them, one after another.
    """

    name: str
    title: str
    objects: int
    rounds: int = 1
    modes: tuple[Mode, ...] = (ATOMIC, SEQUENTIAL)
    per_minute: float | None = None
    backlog: bool = False
    fresh: int = 0

    def sized(self, objects: int | None, rounds: int | None) -> Load:
        """The same load with other numbers; None keeps its own. A rate lasts as long as it then takes."""
        return replace(
            self,
            objects=objects or self.objects,
            rounds=rounds or self.rounds,
            fresh=min(self.fresh, objects or self.fresh),
        )


def paced(names: Iterable[str], per_minute: float | None) -> Iterator[str]:
    """Yield each name when it is its turn; an open loop, so a slow server does not lower the rate."""
    start = time.monotonic()
    for number, name in enumerate(names):
        if per_minute is not None:
            time.sleep(max(0.0, start + number * 60 / per_minute - time.monotonic()))
        yield name

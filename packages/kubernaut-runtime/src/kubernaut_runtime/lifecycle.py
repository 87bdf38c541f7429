"""Where the objects of one kind are on their way: metrics that every controller has, under its own prefix.

| name | type | says |
|---|---|---|
| `<prefix>_reconciler_active{phase}` | gauge | objects that are in this phase now |
| `<prefix>_time_to_terminal_seconds{phase}` | histogram | from creation to the end, by the phase it ended in |
| `<prefix>_oldest_unfinished_seconds` | gauge | age of the oldest object that has not ended |

The figures are of what the process has seen; each object counts once. Ages are told by the wall clock and never
negative: the clocks of API server and controller may disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, Histogram

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds that one step of the work takes, for the controllers' own histograms."""

TERMINAL_BUCKETS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Lifecycle:
    """The metrics of one kind, registered in `registry`.

    `prefix` starts every name, `objects` is the plural that help texts use, `phases` are in their order, `terminal`
    those that end an object. `now` is the wall clock.
    """

    def __init__(
        self,
        prefix: str,
        objects: str,
        *,
        phases: Sequence[str],
        terminal: Collection[str],
        registry: CollectorRegistry,
        now: Callable[[], datetime],
    ) -> None:
        self._terminal = frozenset(terminal)
        self._now = now
        self._active = Gauge(
            f"{prefix}_reconciler_active", f"{objects} that are in this phase now.", ["phase"], registry=registry
        )
        self._active.labels(phases[0]).set(0)
        self._times = Histogram(
            f"{prefix}_time_to_terminal_seconds",
            f"Time from creation to the end of {objects.lower()}, by the phase they ended in.",
            ["phase"],
            buckets=TERMINAL_BUCKETS,
            registry=registry,
        )
        for phase in sorted(self._terminal):
            self._times.labels(phase)  # from 0 on, so that the first one is seen as an increase
        oldest = Gauge(
            f"{prefix}_oldest_unfinished_seconds",
            f"Age of the oldest of the {objects.lower()} that have not ended; 0 if all have.",
            registry=registry,
        )
        oldest.set_function(self.oldest_unfinished)
        self._unfinished: dict[str, datetime] = {}
        self._phases: dict[str, str] = {}
        self._counts: dict[str, int] = dict.fromkeys(phases, 0)

    def seen(self, uid: str, phase: str, created: datetime | None) -> None:
        """Note the phase that an object is in now, empty if it has none yet; `created` is aware."""
        self._move(uid, phase)
        if created is not None and phase not in self._terminal:
            self._unfinished[uid] = created
        else:
            self._unfinished.pop(uid, None)

    def ended(self, phase: str, created: datetime | None) -> None:
        """Count one object that has just ended in `phase`, and how long that took since it was `created`."""
        if created is not None:
            self._times.labels(phase).observe(self._age(created))

    def gone(self, uid: str) -> None:
        """Note that an object was deleted; one that was never seen is no error."""
        self._move(uid, "")
        self._unfinished.pop(uid, None)

    def oldest_unfinished(self) -> float:
        """Return the age in seconds of the oldest object that has not ended, 0.0 if all have. From any thread."""
        created = list(self._unfinished.values())  # in one step: the loop's thread may change it meanwhile
        return self._age(min(created)) if created else 0.0

    def _age(self, created: datetime) -> float:
        return max(0.0, (self._now() - created).total_seconds())

    def _move(self, uid: str, phase: str) -> None:
        before = self._phases.pop(uid, "")
        if phase:
            self._phases[uid] = phase
        if before == phase:
            return
        for name, step in ((before, -1), (phase, 1)):
            if name:
                self._counts[name] = self._counts.get(name, 0) + step
                self._active.labels(name).set(self._counts[name])

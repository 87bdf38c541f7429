"""A circuit breaker: leaves a receiver alone that does not answer. Pure but for the clock that it is given.

    closed ──`failures` in a row within `window`──> open ──`open_for` later──> half-open ──`probes` successes──> closed
                                                     ^                            │
                                                     └──────────one failure───────┘

Only failures that a later call may not meet count (429, 5xx, no answer). A receiver that refuses a message with any
other 4xx is alive, so that counts as a success: one bad message must not shut a receiver off for all others. Each
opening and closing begins a new term, and results of calls that were begun in an earlier term count for nothing: a slow
call from before the opening says nothing about the receiver now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """State of a breaker, as the number that the metric shows; the larger the worse."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens and closes; times in seconds."""

    failures: int = 3
    window: float = 10.0
    open_for: float = 30.0
    probes: int = 2


class CircuitBreaker:
    """One receiver's breaker. `monotonic` tells the time in seconds.

    `openings` counts how often it opened out of being closed; an open period that a failed probe prolongs is the same
    opening. `error` is the text of the failure that opened it.
    """

    def __init__(self, settings: BreakerSettings, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._opened: float | None = None
        self._term = 0
        self._failed: list[float] = []
        self._succeeded = 0
        self.openings = 0
        self.error = ""

    @property
    def state(self) -> State:
        """The state now; an open one turns half-open by time alone."""
        if self._opened is None:
            return State.CLOSED
        return State.OPEN if self.opens_in > 0 else State.HALF_OPEN

    @property
    def opens_in(self) -> float:
        """Seconds until an open breaker lets probes through, 0 if it lets calls through now."""
        if self._opened is None:
            return 0.0
        return max(0.0, self._settings.open_for - (self._monotonic() - self._opened))

    @property
    def term(self) -> int:
        """What a call that begins now is begun in; to be told with its result."""
        return self._term

    @property
    def probes(self) -> int:
        """Calls that may be under way at once while half-open."""
        return self._settings.probes

    def succeeded(self, term: int) -> None:
        """The receiver answered a call that was begun in `term`."""
        if term != self._term:
            return
        self._failed.clear()
        if self._opened is not None:
            self._succeeded += 1
            if self._succeeded >= self._settings.probes:
                self._opened = None
                self._begin()

    def failed(self, term: int, error: str) -> None:
        """A call that was begun in `term` failed and may succeed later; `error` is the text that is recorded of it."""
        if term != self._term:
            return
        now = self._monotonic()
        self._failed = [*(time for time in self._failed if now - time < self._settings.window), now]
        if self._opened is None and len(self._failed) < self._settings.failures:
            return
        if self._opened is None:
            self.openings += 1
        self.error = error
        self._opened = now
        self._begin()

    def _begin(self) -> None:
        self._term += 1
        self._failed = []
        self._succeeded = 0

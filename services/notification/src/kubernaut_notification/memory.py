"""What this process knows of an object and the object's status does not say. Losing all of it is safe.

It makes some things better than the status alone could: an attempt that was certainly not made is not told as
unknown; a finished attempt whose commit failed is committed and not made again; a phase whose commit failed and landed
all the same is told; an open circuit breaker is told once; a wait does not care for a wall clock that jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kubernaut_api import NotificationRequest
from kubernaut_runtime import Clock, News
from kubernaut_runtime import Memories as PerObject
from kubernaut_runtime.memory import Identity

from .delivery.announcement import Announced
from .delivery.result import Attempt, DeliveryResult

CLOCK_JUMP = timedelta(seconds=1)
"""A larger difference between wall clock and monotonic clock is a jump; a smaller one is not worth a new due time."""


Instant = tuple[datetime, float]
"""One moment by the wall clock and by the monotonic one."""


def instant(clock: Clock) -> Instant:
    """This moment. Take it before the write that announces: the wall clock may be set while that is under way."""
    return clock.now(), clock.monotonic()


@dataclass(slots=True)
class Memory:
    """The memory of one object.

    `announced` are the announcements that this process wrote since `acting_since`: nobody has made their attempts.
    `begun` are attempts that may have been begun, here and cut off, or by a predecessor: nobody knows what came of
    them. `results` are finished attempts whose commit failed: they are committed by the next pass. `announced_at` is
    when it last announced, by the wall clock and by the monotonic one. `news` are of the phase that a commit is to
    bring. `told_openings` has the opening of each channel's circuit breaker that this
    object was told of.
    """

    acting_since: datetime
    announced: frozenset[Announced] = frozenset()
    begun: frozenset[Announced] = frozenset()
    results: DeliveryResult | None = None
    announced_at: Instant | None = None
    news: News[NotificationRequest] = field(default_factory=News)
    told_openings: dict[str, int] = field(default_factory=dict)

    def announce(self, entries: Sequence[Announced], at: Instant, before: Iterable[Announced] = ()) -> None:
        """The write that announces `entries`, and nothing else, is stored; their due times were computed `at`.

        An attempt that was announced `before`, and may have been made, is not known any better for being announced
        again, as when its receiver is busy and another channel's result is recorded meanwhile.
        """
        doubtful = {(entry.channel, entry.attempt) for entry in before if self.outcome_unknown(entry)}
        again = frozenset(entry for entry in entries if (entry.channel, entry.attempt) in doubtful)
        self.announced, self.begun = frozenset(entries) - again, again
        self.announced_at = at

    def now(self, clock: Clock) -> datetime:
        """The time to compare due times with: the wall clock's, as it was set when they were announced."""
        if self.announced_at is None:
            return clock.now()
        wall, monotonic = self.announced_at
        return wall + timedelta(seconds=clock.monotonic() - monotonic)

    def finished(self, clock: Clock) -> list[Attempt]:
        """The attempts of `results`, with times by the wall clock as it is set now: their waits begin at their ends."""
        return [_by(clock, attempt) for attempt in (self.results.delivery_attempts if self.results else ())]

    def has_landed(self, nr: NotificationRequest, phase: str) -> bool:
        """Whether `nr` is what the commit that was to bring `phase` would have stored, although it raised."""
        if nr.status.phase != phase:
            return False
        recorded = {(attempt.channel, attempt.attempt) for attempt in nr.status.delivery_attempts}
        made = self.results.delivery_attempts if self.results else ()
        return all((attempt.channel, attempt.attempt) in recorded for attempt in made)

    def first_held_by(self, channel: str, opening: int) -> bool:
        """Whether this opening of the channel's breaker holds the object for the first time; remembers that it does."""
        if opening == 0 or self.told_openings.get(channel) == opening:
            return False
        self.told_openings[channel] = opening
        return True

    def outcome_unknown(self, entry: Announced) -> bool:
        """Whether the announced attempt may have been made already: by a predecessor, or by a pass that was cut off."""
        return entry in self.begun or (entry not in self.announced and entry.due <= self.acting_since)


def _by(clock: Clock, attempt: Attempt) -> Attempt:
    if attempt.clock is None:
        return attempt
    jump = clock.now() - attempt.ended - timedelta(seconds=clock.monotonic() - attempt.clock)
    return (
        attempt
        if abs(jump) <= CLOCK_JUMP
        else replace(attempt, started=attempt.started + jump, ended=attempt.ended + jump)
    )


class Memories(PerObject[Memory]):
    """The memories of all objects. `acting_since` tells since when this process acts."""

    def __init__(self, acting_since: Callable[[], datetime], forgotten: Callable[[str], None]) -> None:
        super().__init__(lambda: Memory(acting_since()), forgotten)
        self._acting_since = acting_since

    def of(self, metadata: Identity) -> Memory:
        """Return the memory of an object, as far as it still holds."""
        memory, since = super().of(metadata), self._acting_since()
        if memory.acting_since != since:  # another process may have led meanwhile, and made what was announced here
            memory.acting_since, memory.announced, memory.announced_at = since, frozenset(), None
        return memory

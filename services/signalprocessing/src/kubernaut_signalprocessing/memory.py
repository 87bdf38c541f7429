"""What this process knows of an object and the object's status does not say. Losing all of it is safe.

Two things. A write that raised may have landed all the same: what was to be told of it is told by the next pass. And
waits and deadlines are kept by the monotonic clock, which no administrator sets: a wall clock that is set forward must
not end all signals with a deadline, for good. After a restart they are taken from the object and the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from kubernaut_api import SignalProcessing
from kubernaut_runtime import Clock, News

from .failure import RETRY, failures_of, retry_not_before

LATEST = 1.0 + RETRY.jitter
"""The longest wait, as a multiple of the policy's."""

BEHIND_DEADLINE = 0.001
"""Seconds: a deadline has passed when it is in the past, so nobody comes at the very moment."""

_SECOND = 1.0
"""Times in a status are cut to whole seconds, so what they tell may be this much later."""


@dataclass(frozen=True, slots=True)
class Due:
    """When the attempt after failure number `failures`, recorded at `recorded`, is due by the monotonic clock."""

    failures: int
    recorded: datetime | None
    at: float


@dataclass(slots=True)
class Memory:
    """The memory of one object: the news of the write that is under way, when the next attempt is due, its deadline."""

    news: News[SignalProcessing] = field(default_factory=News)
    due: Due | None = None
    deadline: float | None = None
    """By the monotonic clock; None without one, and before the first look."""

    def seconds_to_deadline(self, sp: SignalProcessing, clock: Clock) -> float:
        """Return how long until the deadline of `sp` is behind us, 0.0 or less if it is; infinite without one."""
        if sp.spec.times_out_at is None:
            return inf
        if self.deadline is None:
            left = (sp.spec.times_out_at - clock.now()).total_seconds()
            self.deadline = clock.monotonic() + left + BEHIND_DEADLINE
        return self.deadline - clock.monotonic()

    def wait_for(self, sp: SignalProcessing, clock: Clock, seconds: float) -> None:
        """Remember that the attempt after the failure in the status of `sp` is due in `seconds`."""
        self.due = Due(failures_of(sp.status), _recorded(sp), clock.monotonic() + seconds)

    def seconds_left(self, sp: SignalProcessing, clock: Clock) -> float:
        """Return how long the next attempt has to wait; 0.0 if it need not.

        What another process recorded since, or this one before its restart, is known from the status alone; then a
        wall clock that was set meanwhile makes the wait a tenth longer than the policy's at most. It is asked once:
        from then on the wait is kept by the monotonic clock.
        """
        failures = failures_of(sp.status)
        if self.due is not None and (self.due.failures, self.due.recorded) == (failures, _recorded(sp)):
            return max(0.0, self.due.at - clock.monotonic())
        earliest = retry_not_before(sp.status)
        if earliest is None:
            return 0.0
        left = (earliest - clock.now()).total_seconds() + _SECOND
        left = min(max(0.0, left), RETRY.policy(failures) * LATEST)
        self.wait_for(sp, clock, left)
        return left


def _recorded(sp: SignalProcessing) -> datetime | None:
    return sp.status.failure_info.last_failure_time if sp.status.failure_info is not None else None

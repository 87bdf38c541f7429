"""Time, injected: everything in this package that waits or stamps asks a `Clock`.

Two times are kept apart. `now` is the wall clock, for what is written into objects; it may jump.
`monotonic` is for waiting: no due time, timeout or lease check is computed from the wall clock, so a
clock that jumps by an hour neither fires a mass of timeouts nor delays a retry.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits for it."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of monotonic time; at once if not positive."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The wall clock in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        await asyncio.sleep(max(0.0, seconds))


def format_time(moment: datetime, *, micro: bool = False) -> str:
    """`moment` as RFC 3339 in UTC: whole seconds like metav1.Time, six digits like metav1.MicroTime if `micro`.

    Raises ValueError for a datetime without a time zone: it names no moment.
    """
    if moment.tzinfo is None:
        raise ValueError(f"cannot format {moment.isoformat()}: it has no time zone; use datetime.now(UTC)")
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds" if micro else "seconds") + "Z"


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 text names, in UTC; digits beyond microseconds are cut.

    Raises ValueError for anything else, a time without an offset included.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"cannot read {text!r} as a time; expected RFC 3339 such as 2006-01-02T15:04:05Z") from None
    raise ValueError(f"cannot read {text!r} as a time: it has no offset; add Z or +00:00")

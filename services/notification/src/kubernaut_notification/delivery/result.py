"""What came of an attempt, and how it is recorded.

The recorded text is all that later passes know of an error, so permanence must be readable from it without doubt: a
permanent error's text starts with `permanent failure: `, and no other error's text does, whatever a receiver answered.
The Go controller searches the text for the phrase instead; so that a rollback to it stops no retry, no other error's
text contains it at all.
Texts are one line, bounded, and cut on a code point.

Counters are never incremented; they are computed from the recorded attempts, each time anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from kubernaut_api import DeliveryAttempt
from kubernaut_notification.delivery.channel import DeliveryError, RetryableError
from kubernaut_runtime.clock import format_time
from kubernaut_runtime.text import cut, one_line

SUCCESS: Literal["success"] = "success"
FAILED: Literal["failed"] = "failed"

PERMANENT_PREFIX = "permanent failure: "
"""How the text of a permanent error starts, and that of no other."""

_PHRASE, _IN_OTHERS = "permanent failure", "permanent-failure"

MAX_ERROR = 1024
"""Longest recorded error text, in code points: ten channels with ten attempts each stay far below an object's limit."""


def error_text(text: str, *, permanent: bool) -> str:
    """Return the text to record for an error: one line, at most `MAX_ERROR` code points, prefixed when permanent."""
    line = one_line(text) or "no error text"
    return cut(PERMANENT_PREFIX + line if permanent else line.replace(_PHRASE, _IN_OTHERS), MAX_ERROR)


def is_permanent(text: str) -> bool:
    """Whether a recorded error text is that of a permanent error. Only its start decides."""
    return text.startswith(PERMANENT_PREFIX)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one channel, finished.

    `attempt` counts from 1 per channel; `started` and `ended` are aware wall-clock times; `duration` is measured in
    seconds on the monotonic clock, which read `clock` at the end; `error` is the recorded text, empty on success;
    `reason` is its word for metrics.
    """

    channel: str
    attempt: int
    started: datetime
    ended: datetime
    status: Literal["success", "failed"]
    error: str = ""
    duration: float = 0.0
    retry_after: float | None = None
    permanent: bool = False
    reason: str = ""
    outcome_unknown: bool = False
    clock: float | None = None

    @classmethod
    def success(cls, channel: str, attempt: int, started: datetime, ended: datetime, duration: float) -> Attempt:
        """Return an attempt that delivered."""
        return cls(channel, attempt, started, ended, SUCCESS, duration=duration)

    @classmethod
    def failure(
        cls, channel: str, attempt: int, started: datetime, ended: datetime, duration: float, error: DeliveryError
    ) -> Attempt:
        """Return an attempt that failed with `error`; what is not a `RetryableError` is permanent."""
        permanent = not isinstance(error, RetryableError)
        return cls(
            channel,
            attempt,
            started,
            ended,
            FAILED,
            error=error_text(error.text, permanent=permanent),
            duration=duration,
            retry_after=error.retry_after if isinstance(error, RetryableError) else None,
            permanent=permanent,
            reason=error.reason,
            outcome_unknown=error.outcome_unknown,
        )

    @property
    def succeeded(self) -> bool:
        """Whether the channel has the message."""
        return self.status == SUCCESS

    def to_wire(self) -> dict[str, Any]:
        """Return the entry for `status.deliveryAttempts`: end time to the second, duration to the millisecond."""
        wire: dict[str, Any] = {
            "channel": self.channel,
            "attempt": self.attempt,
            "timestamp": format_time(self.ended),
            "status": self.status,
        }
        if self.error:
            wire["error"] = self.error
        if duration := round(self.duration, 3):
            wire["durationSeconds"] = duration
        return wire


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What one pass did: the attempts that it made."""

    delivery_attempts: tuple[Attempt, ...] = ()

    @property
    def successes(self) -> int:
        """Number of attempts of this pass that delivered."""
        return count_successful_attempts(self.delivery_attempts)


def count_successful_attempts(attempts: Iterable[Attempt]) -> int:
    """Return how many of `attempts` delivered."""
    return sum(attempt.succeeded for attempt in attempts)


class Counters(NamedTuple):
    """The status counters, in the order in which they stand in the status."""

    total_attempts: int
    successful_deliveries: int
    failed_deliveries: int


def counters(attempts: Sequence[DeliveryAttempt]) -> Counters:
    """Return the counters of recorded `attempts`: entries; channels that ever succeeded; channels that only failed."""
    channels = {attempt.channel for attempt in attempts}
    succeeded = {attempt.channel for attempt in attempts if attempt.status == SUCCESS}
    return Counters(len(attempts), len(succeeded), len(channels - succeeded))

"""What `failureInfo` says, and how long a failed enrichment waits.

Four kinds of failure, told apart here and nowhere else:

| failure | phase | `failureInfo` |
|---|---|---|
| transient: the API server or the policy is busy | stays | error, one more failure in a row, its time; waits grow |
| lasting: a namespace or a permission is missing | stays, after some attempts Failed | the same |
| a mandatory rule gave no answer | Failed | error; tried again it would give the same |
| the deadline has passed | Failed | error: phase, time it took, deadline |

A success in between clears error and count and leaves the time of the last failure. Messages are one line and bounded:
they quote other programs.

The Go controller writes the count and is woken by its own write, so it never waits. `retry_not_before` is the wait as
the status tells it: it holds over a restart too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from kubernaut_api import FailureInfo, SignalProcessing, format_time
from kubernaut_api.signalprocessing import SignalProcessingStatus
from kubernaut_runtime import Backoff
from kubernaut_runtime.durations import format_duration
from kubernaut_runtime.text import cut, one_line

RETRY = Backoff(base=30, cap=300)
"""Waits after transient failures: 30 s, 60 s, 120 s, 240 s, 300 s, ..., at most a tenth longer."""

MAX_ERROR = 4096
"""Code points of an error that status shows."""

MandatoryRule = Literal["environment", "priority", "severity"]
"""The rules of the policy without whose answer a signal cannot be classified, in the order they are asked."""

Culprit = MandatoryRule | Literal["policy"]
"""A mandatory rule, or the policy as a whole when it cannot be evaluated."""

_WORDS: dict[Culprit, str] = {
    "policy": "policy evaluation failed",
    "environment": "environment classification failed",
    "priority": "priority assignment failed",
    "severity": "severity: policy evaluation failed",
}


def bounded(error: str) -> str:
    """Return `error` as status may show it: one line, at most `MAX_ERROR` code points."""
    return cut(one_line(error), MAX_ERROR)


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """A mandatory rule, or a whole policy, that gave no answer; `cause` is the evaluator's text."""

    rule: Culprit
    cause: str

    @property
    def text(self) -> str:
        """What `failureInfo.error` says."""
        return bounded(f"{_WORDS[self.rule]}: {self.cause}")


def timeout_text(sp: SignalProcessing, now: datetime) -> str:
    """Return what is said when the deadline of `sp` has passed: phase, whole seconds since the start, deadline."""
    after = ""
    if sp.status.start_time is not None:
        seconds = max(0, int((now - sp.status.start_time).total_seconds()))
        after = f" after {format_duration(seconds)}"
    deadline = format_time(sp.spec.times_out_at) if sp.spec.times_out_at is not None else "none"
    return f"processing timed out{after} in phase {sp.status.phase or 'Pending'} (deadline {deadline})"


def record_end(status: SignalProcessingStatus, text: str) -> None:
    """Put the reason of a self-made end into `status`; what was counted before it stays."""
    _info(status).error = bounded(text)


def failures_of(status: SignalProcessingStatus) -> int:
    """Return how many attempts have failed in a row."""
    return status.failure_info.consecutive_failures if status.failure_info is not None else 0


def record_attempt(status: SignalProcessingStatus, error: str, failures: int, now: datetime) -> None:
    """Put an attempt that failed at `now` into `status`: number `failures` in a row.

    The number is given, not counted up: the change may run more than once, and must say the same each time.
    """
    info = _info(status)
    info.error = bounded(error)
    info.consecutive_failures = failures
    info.last_failure_time = now


def clear_failures(status: SignalProcessingStatus) -> None:
    """Forget the failures in a row: the phase has succeeded. The time of the last one stays."""
    info = status.failure_info
    if info is not None and (info.error or info.consecutive_failures):
        info.error, info.consecutive_failures = "", 0


def retry_not_before(status: SignalProcessingStatus) -> datetime | None:
    """Return when the next attempt after a transient failure is due by policy; None if none has failed."""
    info = status.failure_info
    if info is None or info.last_failure_time is None or info.consecutive_failures < 1:
        return None
    return info.last_failure_time + timedelta(seconds=RETRY.policy(info.consecutive_failures))


def _info(status: SignalProcessingStatus) -> FailureInfo:
    if status.failure_info is None:
        status.failure_info = FailureInfo()
    return status.failure_info

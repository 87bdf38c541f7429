"""Announce, then act: which attempt a channel is about to make, and when, written down before it is made.

The list lives in the message of condition `Delivering`, one line per channel:

    slack:sre-critical#2 2026-03-01T10:00:31.250000Z

A process that finds a line which is past due and has no recorded result knows that the attempt *may* have been made:
it makes it again under the same number. Lines are for people too, so the format is plain; characters that would break
a line are escaped as `%` and four hex digits. Reading is tolerant: a line that is not ours is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kubernaut_api.meta import MAX_CONDITION_MESSAGE
from kubernaut_runtime.clock import format_time, parse_time

_UNSAFE = re.compile(r"[%\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPED = re.compile(r"%([0-9A-F]{4})")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Announced:
    """Attempt number `attempt` (from 1) of `channel` (its key) is made at `due` (aware, microseconds kept)."""

    channel: str
    attempt: int
    due: datetime

    def line(self) -> str:
        """Return the announcement's line."""
        key = _UNSAFE.sub(lambda match: f"%{ord(match[0]):04X}", self.channel)
        return f"{key}#{self.attempt} {format_time(self.due, micro=True)}"


def with_room(announced: Iterable[Announced]) -> list[Announced]:
    """Return those of `announced`, from the first, whose lines fit into one condition message.

    The others are announced, and made, when some of these are settled.
    """
    fitting: list[Announced] = []
    size = 0
    for entry in announced:
        size += len(entry.line()) + 1
        if size - 1 > MAX_CONDITION_MESSAGE:
            break
        fitting.append(entry)
    return fitting


def format_announcement(announced: Iterable[Announced]) -> str:
    """Return the condition message for `announced`, as far as there is room."""
    return "\n".join(entry.line() for entry in with_room(announced))


def parse_announcement(message: str) -> list[Announced]:
    """Return the announcements in a condition message, in its order; lines that are not announcements are skipped."""
    return [entry for line in message.split("\n") if (entry := _parse_line(line)) is not None]


def _parse_line(line: str) -> Announced | None:
    # From the right: a channel key may itself contain blanks and number signs.
    rest, _, stamp = line.rpartition(" ")
    key, _, number = rest.rpartition("#")
    if not _NUMBER.fullmatch(number):
        return None
    try:
        due = parse_time(stamp)
    except (ValueError, OverflowError):
        return None
    return Announced(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), key), int(number), due)

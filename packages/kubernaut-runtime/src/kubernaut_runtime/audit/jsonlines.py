"""Audit events as JSON lines, on standard output or in a file.

The file is only ever appended to. It is opened again when something else stands at its path (log rotation), and a line
that could be written in part only (disk full) is ended before the next one begins, so every other line stays whole.
Errors never reach the caller.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

from .accounts import Accounts
from .lines import InvalidEventError, to_line


class LineTarget(Protocol):
    """Where lines go."""

    def write(self, data: bytes) -> None:
        """Write `data` and a line end; OSError or ValueError if that is impossible."""
        ...

    def close(self) -> None:
        """No more lines come."""
        ...


class LineStream:
    """A text stream, by default standard output at the time of writing; it is not closed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        """Write and flush one line."""
        stream = self._stream or sys.stdout
        stream.write(data.decode() + "\n")
        stream.flush()

    def close(self) -> None:
        """Leave the stream open: it is not ours."""


class LineFile:
    """A file that lines are appended to. Raises OSError from the start if it cannot be opened for that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._torn = False
        self._descriptor: int | None = self._open()

    def write(self, data: bytes) -> None:
        """Append one line; raises OSError, after which the next call tries again."""
        if self._descriptor is not None and self._moved(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor, self._torn = self._open(), False
        left = memoryview((b"\n" if self._torn else b"") + data + b"\n")
        while left:
            written = os.write(self._descriptor, left)
            self._torn = self._torn or written > 0
            left = left[written:]
        self._torn = False

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _moved(self, descriptor: int) -> bool:
        """Whether the path names another file than the one that is open."""
        try:
            there = self.path.stat()
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(descriptor))


class JsonLinesSink:
    """Writes each event as one line. `payloads` are as for `to_line`; `now` is the clock."""

    def __init__(
        self,
        target: LineTarget | None = None,
        accounts: Accounts | None = None,
        *,
        payloads: Mapping[str, Sequence[str]] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._target: LineTarget = target or LineStream()
        self._accounts = accounts or Accounts("unnamed")
        self._payloads, self._now = payloads, now
        self._lock = threading.Lock()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write one line; an event that cannot be written is dropped, counted and told."""
        event_type = str(event.get("event_type", "")) if isinstance(event, Mapping) else ""
        try:
            line = to_line(event, self._now(), self._payloads)
            with self._lock:
                self._target.write(line.data)
        except InvalidEventError as error:
            self._accounts.lost("invalid", detail=str(error), event_type=event_type)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self._accounts.lost("unwritable", detail=reason, event_type=event_type)
        else:
            self._accounts.delivered("written")

    def close(self) -> None:
        """End; a file is closed."""
        self._target.close()

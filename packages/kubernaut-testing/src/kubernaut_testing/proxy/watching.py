"""What a rule does to a watch: to the stream itself, and to single events in it.

Actions on events take ``when(event)``, which sees the decoded event ({"type": ..., "object": ...}) and chooses,
and ``first``, how many events at most they touch over all watches. Bookmarks are never touched. They count what
they have done in ``count``.
"""

# An action's class says what its __call__ does.
# ruff: noqa: D102

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubernaut_testing.proxy.actions import Proceed, Reply, Reset, status_body
from kubernaut_testing.proxy.requests import ProxiedRequest

__all__ = ["BlackHole", "DropWatch", "Duplicate", "ErrorFrame", "Reorder", "Replay", "Swallow"]

Event = Mapping[str, Any]
Active = Callable[[], bool]


@dataclass
class DropWatch:
    """End each watch after ``seconds``: in good order, or with ``reset`` by a RST."""

    seconds: float
    reset: bool = False

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Active) -> Reply:
        reply = await proceed()
        if reply.lines is not None:
            reply.lines = self._until_due(reply.lines)
        return reply

    async def _until_due(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        deadline = time.monotonic() + self.seconds
        async for line in _with_deadline(lines, lambda: time.monotonic() >= deadline):
            yield line
        if self.reset and time.monotonic() >= deadline:
            raise Reset


@dataclass
class BlackHole:
    """A watch that stays open and says nothing, after its first ``after_events`` lines; ends with the rule."""

    after_events: int = 0

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Active) -> Reply:
        reply = await proceed()
        if reply.lines is not None:
            reply.lines = self._silent(reply.lines, active)
        return reply

    async def _silent(self, lines: AsyncIterator[bytes], active: Active) -> AsyncIterator[bytes]:
        passed = 0
        while passed < self.after_events:
            try:
                yield await anext(lines)
            except StopAsyncIteration:
                return
            passed += 1
        # A rule can be removed from any thread, hence no event of this loop.
        while active():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@dataclass
class ErrorFrame:
    """Put an ERROR event into the stream, after ``after_events`` lines or ``after_seconds``, and end it.

    Code 410 is what a server sends for a resourceVersion that it no longer has; 500 what it sends when its
    storage fails.
    """

    code: int = 410
    after_events: int = 0
    after_seconds: float | None = None
    message: str = ""

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Active) -> Reply:
        reply = await proceed()
        if reply.lines is not None:
            reply.lines = self._then_error(reply.lines)
        return reply

    async def _then_error(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self.after_seconds is not None:
            deadline = time.monotonic() + self.after_seconds
            async for line in _with_deadline(lines, lambda: time.monotonic() >= deadline):
                yield line
        else:
            for _ in range(self.after_events):
                try:
                    yield await anext(lines)
                except StopAsyncIteration:
                    return
        yield json.dumps({"type": "ERROR", "object": status_body(self.code, message=self.message)}).encode() + b"\n"


@dataclass
class _EventAction:
    when: Callable[[Event], bool] = lambda event: True
    first: int | None = None
    count: int = field(default=0, init=False)

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Active) -> Reply:
        reply = await proceed()
        if reply.lines is not None:
            reply.lines = self._changed(reply.lines, active)
        return reply

    def _changed(self, lines: AsyncIterator[bytes], active: Active) -> AsyncIterator[bytes]:
        raise NotImplementedError

    def _chosen(self, line: bytes, active: Active) -> Event | None:
        """The decoded event if it is to be touched."""
        if not active() or (self.first is not None and self.count >= self.first):
            return None
        event: Event = json.loads(line)
        if event["type"] == "BOOKMARK" or not self.when(event):
            return None
        self.count += 1
        return event


@dataclass
class Swallow(_EventAction):
    """Chosen events never arrive."""

    async def _changed(self, lines: AsyncIterator[bytes], active: Active) -> AsyncIterator[bytes]:
        async for line in lines:
            if self._chosen(line, active) is None:
                yield line


@dataclass
class Duplicate(_EventAction):
    """Chosen events arrive ``times`` times."""

    times: int = 2

    async def _changed(self, lines: AsyncIterator[bytes], active: Active) -> AsyncIterator[bytes]:
        async for line in lines:
            for _ in range(self.times if self._chosen(line, active) else 1):
                yield line


@dataclass
class Replay(_EventAction):
    """After a chosen event, the first event ever seen of the same object arrives once more: an old one."""

    _oldest: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)

    async def _changed(self, lines: AsyncIterator[bytes], active: Active) -> AsyncIterator[bytes]:
        async for line in lines:
            yield line
            event = json.loads(line)
            meta = (event.get("object") or {}).get("metadata") or {}
            if event["type"] == "BOOKMARK" or "uid" not in meta:
                continue
            oldest = self._oldest.setdefault(meta["uid"], line)
            if oldest != line and self._chosen(line, active):
                yield oldest


@dataclass
class Reorder(_EventAction):
    """A chosen event arrives after the one that follows it, or at the stream's end if none does."""

    async def _changed(self, lines: AsyncIterator[bytes], active: Active) -> AsyncIterator[bytes]:
        held: bytes | None = None
        async for line in lines:
            if held is None and self._chosen(line, active):
                held = line
                continue
            yield line
            if held is not None:
                yield held
                held = None
        if held is not None:
            yield held


async def _with_deadline(lines: AsyncIterator[bytes], due: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Pass lines on until ``due()``; also while none come."""
    following: asyncio.Task[bytes] | None = None
    try:
        while not due():
            following = following or asyncio.ensure_future(_next(lines))
            done, _ = await asyncio.wait({following}, timeout=0.02)
            if done:
                task, following = following, None
                try:
                    yield task.result()
                except _Ended:
                    return
    finally:
        if following is not None:
            following.cancel()


class _Ended(Exception):  # noqa: N818
    """StopAsyncIteration cannot leave a task."""


async def _next(lines: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(lines)
    except StopAsyncIteration:
        raise _Ended from None

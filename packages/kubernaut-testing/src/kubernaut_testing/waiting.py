"""Waiting for conditions instead of sleeping: ``eventually`` something holds, and it ``stays`` so.

``eventually`` ends a test's hopeful sleeps: it asks until the answer is truthy, and its failure shows the last
answer. ``stays`` is the proof of quiet (an operator at rest writes nothing): a value is watched over a window
and a difference is printed.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["PATIENCE", "eventually", "eventually_async", "stays", "stays_async"]

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds that a condition may take when nothing is said: more than a busy machine needs, and it ends a hang. It is
less than the half minute that operators wait before they try again, so that such a wait is not taken for an answer."""


def eventually(
    probe: Callable[[], T],
    *,
    timeout: float = PATIENCE,
    interval: float = 0.05,
    message: str | Callable[[], str] = "",
) -> T:
    """Call ``probe`` until it returns something truthy, and return that.

    Args:
        probe: may raise AssertionError, LookupError, OSError or RuntimeError, which count as "not yet".
        timeout: seconds until it must hold; it is asked once more after that.
        interval: seconds between two calls.
        message: what is waited for; a callable is asked only on failure.

    Raises AssertionError with the message and the last answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() > deadline
        try:
            last: Any = probe()
            if last:
                return last  # type: ignore[no-any-return]
        except _NOT_YET as error:
            last = error
        if late:
            raise AssertionError(_failure(timeout, message, last))
        time.sleep(interval)


async def eventually_async(
    probe: Callable[[], T | Awaitable[T]],
    *,
    timeout: float = PATIENCE,
    interval: float = 0.02,
    message: str | Callable[[], str] = "",
) -> T:
    """As ``eventually``, without blocking the event loop; ``probe`` may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() > deadline
        try:
            answer = probe()
            last: Any = await answer if inspect.isawaitable(answer) else answer
            if last:
                return last  # type: ignore[no-any-return]
        except _NOT_YET as error:
            last = error
        if late:
            raise AssertionError(_failure(timeout, message, last))
        await asyncio.sleep(interval)


def stays(probe: Callable[[], Any], *, seconds: float, interval: float = 0.2) -> None:
    """Fail with a diff if the value of ``probe`` changes within the window.

    Args:
        probe: returns something comparable, such as an object or the resourceVersions of many.
        seconds: the window.
        interval: seconds between two looks.
    """
    first = probe()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(interval)
        _same(first, probe(), seconds)


async def stays_async(probe: Callable[[], Any], *, seconds: float, interval: float = 0.2) -> None:
    """As ``stays``, without blocking the event loop; ``probe`` may be a coroutine function."""

    async def look() -> Any:
        answer = probe()
        return await answer if inspect.isawaitable(answer) else answer

    first = await look()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(interval)
        _same(first, await look(), seconds)


_NOT_YET = (AssertionError, LookupError, OSError, RuntimeError)


def _failure(timeout: float, message: str | Callable[[], str], last: Any) -> str:
    text = message() if callable(message) else message
    shown = repr(last)
    return f"{text or 'the condition'} did not hold within {timeout:g} s; last answer: {shown[:2000]}"


def _same(before: Any, after: Any, seconds: float) -> None:
    if before == after:
        return
    lines = difflib.unified_diff(_lines(before), _lines(after), "at first", "now", lineterm="", n=1)
    raise AssertionError(f"should have stayed the same for {seconds:g} s:\n" + "\n".join(lines))


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=1, sort_keys=True, default=str).splitlines()

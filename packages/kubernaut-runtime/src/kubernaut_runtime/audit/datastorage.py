"""Sends audit events to Data Storage: buffered, in batches, again until it has them.

    emit ──> check ──> [ oldest ... newest ] ──batch──> POST ──┬─ 2xx: gone from the buffer
                            bounded buffer                     ├─ no answer, 401, 403, 408, 429, 5xx, other: again
                                                               └─ 400, 413, 422: halves, down to the one that is bad

* `emit` never waits. A full buffer (`bufferSize` events, or 64 MiB) drops the newest event and keeps the oldest.
* A batch goes out when `batchSize` events wait, or the oldest has waited `flushInterval`. It holds at most 500 events
  and 5 MiB, whatever is configured: Data Storage refuses more.
* A batch that was not taken stays at the head and is sent again after 1 s, 2 s, 4 s ... 30 s (up to a tenth longer, and
  at least what Retry-After asks for) as long as the process runs. The Go controllers drop it after `maxRetries`
  attempts; here that many failures in a row make an outage, which is told as an error, and the buffer's size is what
  bounds it. There is one layer of retries: this one.
* A refused batch (400, 413, 422) holds a bad event. It is sent in halves, so that only what Data Storage refuses alone
  is dropped. A batch that is answered 500 again and again is halved too; an event that does so alone goes to the end of
  the buffer, where it holds up nobody.

Data Storage knows no idempotency key: if it stored a batch and its answer was lost, or was a 5xx, the events are
stored twice. The bytes are the same, so a reader can tell: type, time to the microsecond, correlation id and payload
are equal.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.clock import Clock, SystemClock
from kubernaut_runtime.sections import DATA_STORAGE_BATCH, DataStorageBuffer

from .accounts import TOLD_EVERY, Accounts
from .client import Answer, NoAnswerError
from .jsonlines import LineTarget
from .lines import InvalidEventError, Line, to_line

log = logging.getLogger(__name__)

MAX_BODY = 5 * 1024 * 1024
"""Bytes that Data Storage takes in one request."""

MAX_BUFFER_BYTES = 64 * 1024 * 1024
"""Bytes of waiting events; with `bufferSize` alone, large events could fill the pod's memory."""

RETRY_AFTER_LIMIT = 300.0
"""The longest Retry-After that is believed, in seconds."""

_HIDDEN = "[...]"
_TELLING = 8  # characters in a row that a reason shares with the payload only if it quotes it

REFUSED = frozenset({400, 413, 422})
"""Answers that say something about the events, not about the way."""


class Sender(Protocol):
    """Sends a body once."""

    async def send(self, body: bytes) -> Answer:
        """Return the answer; `NoAnswerError` if none came."""
        ...


@dataclass(frozen=True, slots=True)
class SendTimes:
    """When to send again: the waits after 1, 2, 3 ... failures in a row, and the randomness in them (0 for none)."""

    retry: Backoff = field(default_factory=lambda: Backoff(1.0, 30.0))
    random: Callable[[], float] = random_module.random


class DataStorageSink:
    """The sink; `run` sends, `close` ends. `emit` may be called from any thread.

    `spare` gets what Data Storage does not (`audit.file`). `payloads` are as for `to_line`.
    """

    def __init__(
        self,
        client: Sender,
        settings: DataStorageBuffer,
        accounts: Accounts,
        *,
        payloads: Mapping[str, Sequence[str]] | None = None,
        spare: LineTarget | None = None,
        clock: Clock | None = None,
        times: SendTimes | None = None,
    ) -> None:
        self._client, self._settings, self._accounts = client, settings, accounts
        self._payloads, self._spare = payloads, spare
        self._clock: Clock = clock or SystemClock()
        self._times = times or SendTimes()
        self._batch = min(settings.batch_size, settings.buffer_size, DATA_STORAGE_BATCH)
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._some, self._enough, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._resting = asyncio.Event()
        self._resting.set()
        self._parts: deque[int] = deque()  # sizes of the next batches, while a bad event is searched for
        self._failures = 0
        self._internal_errors = 0  # of the batch at the head
        self._tell_at = 0.0

    def __len__(self) -> int:
        """Events that wait, those being sent included."""
        return len(self._lines)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Take one event; returns at once and never raises."""
        try:
            line = to_line(event, self._clock.now(), self._payloads)
        except InvalidEventError as error:
            event_type = str(event.get("event_type", "")) if isinstance(event, Mapping) else ""
            self._accounts.lost("invalid", detail=str(error), event_type=event_type)
            return
        with self._lock:
            full = len(self._lines) >= self._settings.buffer_size or self._bytes + len(line.data) > MAX_BUFFER_BYTES
            if not full and not self._closed:
                self._append(line)
                return
        self._lose(line, "full" if full else "unsent")

    async def run(self) -> None:
        """Send until `close` is called."""
        self._loop = asyncio.get_running_loop()
        self._resting.clear()
        try:
            while not self._closing.is_set():
                await self._first_of(self._some, self._closing)
                with self._lock:
                    if not self._lines:  # told by another thread of an event that went with the last batch
                        self._some.clear()
                        continue
                await self._pause(self._settings.flush_interval, self._enough)
                while self._lines and not self._closing.is_set():
                    await self._pause(await self._send_next())
                    if len(self._lines) < self._batch and not self._parts and not self._failures:
                        break  # the rest may wait for company
        finally:
            self._resting.set()

    async def close(self, within: float = 5.0) -> None:
        """Send what waits, for at most `within` seconds; then save or count what is left.

        It may be cut off at any time: what is left is saved or counted all the same.
        """
        self._closing.set()
        try:
            async with asyncio.timeout(within):
                await self._resting.wait()
                while self._lines:
                    await self._clock.sleep(await self._send_next())
        except TimeoutError:
            pass
        finally:
            self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            self._closed = True
            left = list(self._lines)
            self._lines.clear()
            self._bytes = 0
        self._accounts.buffered.set(0)
        saved = sum(self._saved(line) for line in left)
        for count, kept in ((saved, True), (len(left) - saved, False)):
            if count:
                self._accounts.lost("unsent", count, saved=kept, detail="the process ended")

    # The buffer --------------------------------------------------------------------------------------------

    def _append(self, line: Line) -> None:
        self._lines.append(line)
        self._bytes += len(line.data)
        self._accounts.buffered.set(len(self._lines))
        if len(self._lines) == 1:
            self._signal(self._some)
        if len(self._lines) == self._batch:
            self._signal(self._enough)

    def _signal(self, event: asyncio.Event) -> None:
        if self._loop is None:
            event.set()  # nobody waits yet
            return
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            event.set()
        else:
            self._loop.call_soon_threadsafe(event.set)

    def _head(self) -> list[Line]:
        """Return the next batch: as many events as it may hold, one at least."""
        most = self._parts[0] if self._parts else DATA_STORAGE_BATCH if self._closing.is_set() else self._batch
        batch: list[Line] = []
        size = 2
        with self._lock:
            for line in self._lines:
                size += len(line.data) + 1
                if len(batch) >= most or (batch and size > MAX_BODY):
                    break
                batch.append(line)
        return batch

    def _remove(self, count: int) -> list[Line]:
        with self._lock:
            removed = [self._lines.popleft() for _ in range(min(count, len(self._lines)))]  # `close` may have been here
            self._bytes -= sum(len(line.data) for line in removed)
            if not self._lines:
                self._some.clear()
            if len(self._lines) < self._batch:
                self._enough.clear()
            self._accounts.buffered.set(len(self._lines))
        if self._parts:
            self._parts[0] -= count
            if self._parts[0] <= 0:
                self._parts.popleft()
        self._internal_errors = 0
        return removed

    def _lose(self, line: Line, reason: str, detail: str = "") -> None:
        self._accounts.lost(reason, saved=self._saved(line), detail=detail, event_type=line.event_type)

    def _saved(self, line: Line) -> bool:
        if self._spare is None:
            return False
        try:
            with self._lock:
                self._spare.write(line.data)
        except (OSError, ValueError):
            return False
        self._accounts.delivered("written")
        return True

    # Sending -----------------------------------------------------------------------------------------------

    async def _send_next(self) -> float:
        """Send the batch at the head once; return the seconds to wait before the next."""
        batch = self._head()
        try:
            answer = await self._client.send(b"[" + b",".join(line.data for line in batch) + b"]")
        except NoAnswerError as error:
            self._accounts.answered(None)
            return self._failed(str(error), None)
        except Exception as error:  # noqa: BLE001 (nothing here may end the process: events would be lost)
            frame = traceback.extract_tb(error.__traceback__)[-1]  # not its text, which may quote events
            log.error(
                "sending audit events failed unexpectedly",
                extra={"error": type(error).__name__, "at": f"{frame.filename}:{frame.lineno}"},
            )
            return self._failed(type(error).__name__, None)
        self._accounts.answered(answer.code)
        if answer.ok:
            self._accounts.delivered("deferred" if answer.code == 202 else "stored", len(batch))
            self._remove(len(batch))
            self._succeeded()
            return 0.0
        if answer.code in REFUSED:
            self._succeeded()
            if len(batch) > 1:
                self._halve(len(batch))
            else:
                line = self._remove(1)[0]
                self._lose(line, "rejected", _without_payload(f"{answer.code} {answer.reason}".strip(), line))
            return 0.0
        if answer.code == 500:
            self._internal_errors += 1
            if self._internal_errors > self._settings.max_retries:
                self._set_apart(len(batch))
        return self._failed(f"it answers {answer.code}", answer.retry_after)

    def _halve(self, count: int) -> None:
        if self._parts:
            self._parts.popleft()
        self._parts.extendleft((count - count // 2, count // 2))
        self._internal_errors = 0

    def _set_apart(self, count: int) -> None:
        """The batch at the head is answered 500 for ever: search the event that is to blame, and let others pass it."""
        if count > 1:
            self._halve(count)
            return
        line = self._remove(1)[0]
        with self._lock:
            self._append(line)

    def _failed(self, reason: str, retry_after: float | None) -> float:
        self._failures += 1
        wait = self._times.retry.wait(self._failures, self._times.random)
        wait = max(wait, min(retry_after or 0.0, RETRY_AFTER_LIMIT))
        now = self._clock.monotonic()
        outage = self._failures == self._settings.max_retries + 1
        if self._failures == 1 or outage or now >= self._tell_at:
            self._tell_at = now + TOLD_EVERY
            log.log(
                logging.ERROR if self._failures > self._settings.max_retries else logging.WARNING,
                "cannot send audit events to Data Storage; they wait and are sent again",
                extra={"reason": reason, "failures": self._failures, "waiting": len(self._lines)},
            )
        return wait

    def _succeeded(self) -> None:
        if self._failures:
            log.info("Data Storage takes audit events again", extra={"waiting": len(self._lines)})
        self._failures = 0

    async def _pause(self, seconds: float, *until: asyncio.Event) -> None:
        """Sleep, but not beyond `close` or one of the events."""
        if seconds > 0:
            await self._first_of(self._closing, *until, sleep=seconds)

    async def _first_of(self, *events: asyncio.Event, sleep: float | None = None) -> None:
        if any(event.is_set() for event in events):
            return
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        if sleep is not None:
            waits.append(asyncio.ensure_future(self._slept(sleep)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _slept(self, seconds: float) -> Any:
        await self._clock.sleep(seconds)
        return True


def _without_payload(text: str, line: Line) -> str:
    """Return `text` without what it quotes from the event, in whole or in part: quotations are cut and escaped."""
    values: list[str] = []
    stack: list[Any] = [orjson.loads(line.data)["event_data"]]
    while stack:
        value = stack.pop()
        if isinstance(value, dict | list):
            stack.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, str) and len(value) >= 6 and value != line.event_type:
            text = text.replace(value, _HIDDEN)
            values.append(value)
    payload = "\n".join(values)
    shown, at = "", 0
    while at < len(text):
        end = at + _TELLING
        if text[at:end] in payload and end <= len(text):
            while end < len(text) and text[end - _TELLING + 1 : end + 1] in payload:
                end += 1
            shown, at = shown + _HIDDEN, end
        else:
            shown, at = shown + text[at], at + 1
    return shown

"""A receiver in the place of Slack or of any webhook: it answers by script and remembers everything.

What counts is what arrives here, not what the sender believes: two calls 0.1 s apart, or the same message
twice, are seen with the receiver's own clock.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from kubernaut_testing.loopthread import LoopServer, listen
from kubernaut_testing.waiting import PATIENCE

__all__ = ["Answer", "Received", "WebhookReceiver"]


@dataclass(frozen=True)
class Answer:
    """How one request is answered.

    Attributes:
        status: HTTP status code.
        body: text; Slack answers "ok", or 200 with an error text. Lone surrogates go out as the bytes that they are.
        retry_after: seconds for the Retry-After header.
        delay: seconds before the answer.
        after: it is not given before this is set.
        drop: after the request was taken in (and the delay), reset the connection instead of answering.
        headers: further headers.
    """

    status: int = 200
    body: str = "ok"
    retry_after: int | None = None
    delay: float = 0.0
    after: threading.Event | None = None
    drop: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    """One request as it arrived, and the answer it was given.

    ``monotonic`` is in seconds and comparable with ``time.monotonic()`` of this process; ``time`` is aware UTC.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    monotonic: float
    time: dt.datetime
    answer: Answer

    @property
    def json(self) -> Any:
        """The decoded body; ValueError if it is not JSON."""
        return json.loads(self.body)


Script = Answer | int | Callable[[Received], Answer | int]


class WebhookReceiver(LoopServer):
    """An HTTP server on loopback; a context manager.

    Args:
        default: the answer when no script is left: an ``Answer``, a status code, or a function of the request.
        https: serve HTTPS with a certificate that nobody trusts unless told to (``ca_file``).
        port: 0 takes a free one; ``start`` after ``stop`` takes the same again, as a receiver that was away does.
    """

    def __init__(self, default: Script = 200, *, https: bool = False, port: int = 0) -> None:
        super().__init__("receiver", tls=https, port=port)
        self.default = default
        self._scripts: dict[str | None, deque[Script]] = {}
        self._requests: list[Received] = []
        self._changed = threading.Condition()

    async def _listen(self, tls: ssl.SSLContext | None, port: int) -> int:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        return await listen(self._runner, tls, port=port)

    async def _close(self) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``; every path below it is served."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def script(self, *answers: Script, path: str | None = None) -> None:
        """Give the next requests these answers, in order; with ``path`` only requests to that path."""
        self._scripts.setdefault(path, deque()).extend(answers)

    @property
    def requests(self) -> list[Received]:
        """Everything received so far, in order of arrival."""
        with self._changed:
            return list(self._requests)

    def to(self, path: str) -> list[Received]:
        """What was received at one path."""
        return [request for request in self.requests if request.path == path]

    def clear(self) -> None:
        """Forget what was received and what was scripted."""
        with self._changed:
            self._requests.clear()
            self._scripts.clear()

    def wait_for(self, count: int, *, path: str | None = None, timeout: float = PATIENCE) -> list[Received]:
        """Block until ``count`` requests have come (to ``path``) and return them.

        Raises AssertionError after ``timeout`` seconds.
        """

        def come() -> list[Received]:
            return [request for request in self._requests if path in (None, request.path)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(come()) >= count, timeout):
                raise AssertionError(f"{len(come())} requests came within {timeout:g} s, not {count}")
            return come()

    def gaps(self, path: str | None = None) -> list[float]:
        """Seconds between one arrival and the next."""
        times = [request.monotonic for request in self.requests if path in (None, request.path)]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    async def _serve(self, incoming: web.Request) -> web.Response:
        arrived, wall = time.monotonic(), dt.datetime.now(dt.UTC)
        parts = (incoming.method, incoming.path, dict(incoming.headers), await incoming.read(), arrived, wall)
        with self._changed:
            queue = self._scripts.get(incoming.path) or self._scripts.get(None)
            chosen: Script = queue.popleft() if queue else self.default
            if callable(chosen):
                chosen = chosen(Received(*parts, Answer()))
            answer = Answer(chosen) if isinstance(chosen, int) else chosen
            self._requests.append(Received(*parts, answer))
            self._changed.notify_all()
        await asyncio.sleep(answer.delay)
        while answer.after is not None and not answer.after.is_set():  # noqa: ASYNC110 (it is set in another thread)
            await asyncio.sleep(0.02)
        if answer.drop:
            assert incoming.transport is not None
            linger = struct.pack("ii", 1, 0)
            incoming.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            incoming.transport.abort()
            raise asyncio.CancelledError
        headers = dict(answer.headers)
        if answer.retry_after is not None:
            headers["Retry-After"] = str(answer.retry_after)
        body = answer.body.encode("utf-8", "surrogatepass")
        return web.Response(
            status=answer.status, body=body, headers={"Content-Type": "text/plain; charset=utf-8", **headers}
        )

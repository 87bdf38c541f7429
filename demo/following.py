"""Follows the phases of NotificationRequests by a watch, so that none is missed, however short it lasts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson
from scenarios.notification import API_VERSION, PLURAL

from kubernaut_runtime import Connection
from kubernaut_testing.loopthread import LoopThread

__all__ = ["AGENT", "Follower", "Step"]

AGENT = "kubernaut-demo"
"""The user agent of the demo's own requests."""


@dataclass(frozen=True)
class Step:
    """An object entered a phase; `at` is `time.monotonic()` when that was seen here."""

    at: float
    namespace: str
    name: str
    before: str
    phase: str


class Follower:
    """Watches these namespaces from entering to leaving it; a context manager."""

    def __init__(self, connection: Connection, namespaces: Sequence[str]) -> None:
        self._connection = connection
        self._namespaces = namespaces
        self._lock = threading.Lock()
        self._steps: list[Step] = []
        self._phases: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Self:
        self._thread = LoopThread("follower")
        for namespace in self._namespaces:
            asyncio.run_coroutine_threadsafe(self._follow(namespace), self._thread.loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.close()

    def phase(self, namespace: str, name: str) -> str:
        """The last phase that was seen, "" if there was none."""
        with self._lock:
            return self._phases.get((namespace, name), "")

    def steps(self, since: int = 0) -> list[Step]:
        """The transitions that were seen, from number `since` on."""
        with self._lock:
            return self._steps[since:]

    async def _follow(self, namespace: str) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        connector = aiohttp.TCPConnector(ssl=self._connection.ssl)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=1 << 20) as session:
            while True:
                # A watch without a version begins with what is there; whatever ends it, the next one does so again.
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
                    await self._watch(session, namespace)
                await asyncio.sleep(0.2)

    async def _watch(self, session: aiohttp.ClientSession, namespace: str) -> None:
        url = f"{self._connection.server.rstrip('/')}/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}"
        headers = {"User-Agent": AGENT, "Accept": "application/json"}
        if token := self._connection.token():
            headers["Authorization"] = f"Bearer {token}"
        async with session.get(url, params={"watch": "true"}, headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                event = orjson.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._see(namespace, event["object"])

    def _see(self, namespace: str, obj: dict[str, Any]) -> None:
        name, phase = obj["metadata"]["name"], (obj.get("status") or {}).get("phase", "")
        with self._lock:
            before = self._phases.get((namespace, name), "")
            if phase != before:
                self._phases[namespace, name] = phase
                self._steps.append(Step(time.monotonic(), namespace, name, before, phase))

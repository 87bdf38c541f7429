"""Follows objects as `kubectl get --watch` does: the API server's own table of them, row by row as they change.

Columns and cells are the server's, from the CRD; nothing here knows a kind. A watch misses no change, however short
what it shows lasts.
"""

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

from kubernaut_runtime import Connection
from kubernaut_testing.loopthread import LoopThread

__all__ = ["AGENT", "Follower", "Step", "Watched"]

AGENT = "kubernaut-demo"
"""The user agent of the demo's own requests."""

_TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Watched:
    """The objects of one kind in one namespace."""

    api_version: str
    plural: str
    namespace: str


@dataclass(frozen=True)
class Step:
    """A row changed; `at` is `time.monotonic()` when that was seen here. `cells` are by column."""

    at: float
    watched: Watched
    name: str
    cells: dict[str, str]


class Follower:
    """Watches all of these from entering to leaving it; a context manager."""

    def __init__(self, connection: Connection, watched: Sequence[Watched]) -> None:
        self._connection = connection
        self._watched = watched
        self._lock = threading.Lock()
        self._columns: dict[Watched, list[tuple[int, str]]] = {}
        self._steps: dict[Watched, list[Step]] = {each: [] for each in watched}
        self._rows: dict[tuple[Watched, str], dict[str, str]] = {}

    def __enter__(self) -> Self:
        self._thread = LoopThread("follower")
        for watched in self._watched:
            asyncio.run_coroutine_threadsafe(self._follow(watched), self._thread.loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.close()

    def columns(self, watched: Watched) -> list[str]:
        """The columns that kubectl shows, without name and age; empty until the server has told them."""
        with self._lock:
            return [title for _, title in self._columns.get(watched, [])]

    def row(self, watched: Watched, name: str) -> dict[str, str]:
        """The last row of an object that was seen, by column; empty if there was none."""
        with self._lock:
            return self._rows.get((watched, name), {})

    def steps(self, watched: Watched, since: int = 0) -> list[Step]:
        """The changes that were seen, from number `since` on."""
        with self._lock:
            return self._steps[watched][since:]

    async def _follow(self, watched: Watched) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        connector = aiohttp.TCPConnector(ssl=self._connection.ssl)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=1 << 20) as session:
            while True:
                # A watch without a version begins with what is there; whatever ends it, the next one does so again.
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
                    await self._watch(session, watched)
                await asyncio.sleep(0.2)

    async def _watch(self, session: aiohttp.ClientSession, watched: Watched) -> None:
        where = f"apis/{watched.api_version}/namespaces/{watched.namespace}/{watched.plural}"
        headers = {"User-Agent": AGENT, "Accept": _TABLE}
        if token := self._connection.token():
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self._connection.server.rstrip('/')}/{where}"
        async with session.get(url, params={"watch": "true"}, headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                event = orjson.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._see(watched, event["object"])

    def _see(self, watched: Watched, table: dict[str, Any]) -> None:
        with self._lock:
            if definitions := table.get("columnDefinitions"):  # only the first table of a watch has them
                self._columns[watched] = [
                    (number, column["name"])
                    for number, column in enumerate(definitions)
                    if number and not column["priority"] and column["name"] != "Age"
                ]
            for row in table["rows"]:
                name = row["object"]["metadata"]["name"]
                shown = {title: row["cells"][number] for number, title in self._columns[watched]}
                cells = {title: "" if cell is None else str(cell) for title, cell in shown.items()}
                if self._rows.get((watched, name)) != cells:
                    self._rows[watched, name] = cells
                    self._steps[watched].append(Step(time.monotonic(), watched, name, cells))

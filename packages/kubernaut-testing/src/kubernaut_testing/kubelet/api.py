"""The kubelet's own client: requests that outlast a restart of the API server, and a list that a watch keeps true.

Not the client library, for the reason given in ``rest.py``, and not ``rest.py``, because the kubelet waits for many
things at once. Everything sent from here names itself ``local-kubelet``, so the ledger tells it from the operator.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

__all__ = ["KUBELET_AGENT", "KubeApi", "KubeError", "Object"]

KUBELET_AGENT = "local-kubelet"
"""The user agent of every request of the kubelet."""

Object = dict[str, Any]
"""A decoded Kubernetes object."""

_LOG = logging.getLogger("kubernaut_testing.kubelet")
_UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)
_MERGE = "application/merge-patch+json"


class KubeError(Exception):
    """The API server refused: ``status`` (HTTP code), ``reason`` such as "NotFound", and its message."""

    def __init__(self, method: str, path: str, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.message = str(body.get("message", ""))
        super().__init__(f"cannot {method} {path}: {status} {self.reason}: {self.message}")


class KubeApi:
    """One connection pool with one bearer token; made and closed inside a running loop.

    Args:
        url: ``https://host:port``.
        token: bearer token.
        ca_file: PEM file of the authority to trust.
        user_agent: what the ledger shows.
    """

    def __init__(self, url: str, token: str, ca_file: Path, *, user_agent: str = KUBELET_AGENT) -> None:
        tls = ssl.create_default_context(cafile=str(ca_file))
        self._session = aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {token}", "User-Agent": user_agent, "Accept": "application/json"},
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            read_bufsize=2**22,  # a watch event is one line, and an object may be 1.5 MB
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(self, method: str, path: str, body: Any = None, *, seconds: float = 30.0) -> Any:
        """One request, and the decoded answer; a PATCH is a JSON merge patch.

        Raises KubeError for a code of 400 or more, and aiohttp's and the system's own errors when unreachable.
        """
        headers = {"Content-Type": _MERGE if method == "PATCH" else "application/json"} if body is not None else {}
        async with self._session.request(
            method,
            path,
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=seconds),
        ) as response:
            raw = await response.read()
            if response.status >= 400:
                raise KubeError(method, path, response.status, _decoded(raw))
            return _decoded(raw)

    async def insist(self, method: str, path: str, body: Any = None) -> Any:
        """Like ``request``, but an unreachable or overloaded server is asked again until it answers."""
        while True:
            try:
                return await self.request(method, path, body)
            except KubeError as error:
                if error.status != 429 and error.status < 500:
                    raise
                _LOG.info("asking again: %s", error)
            except _UNREACHABLE as error:
                _LOG.info("asking again, %s %s: %r", method, path, error)
            await asyncio.sleep(0.2)

    async def follow(self, path: str, tell: Callable[[str, Object], None], synced: asyncio.Event) -> None:
        """List and watch for ever, telling each change as ("ADDED" | "MODIFIED" | "DELETED", object).

        After a gap everything is listed again, and what vanished meanwhile is told as DELETED in its last known form.
        ``synced`` is set after the first list.
        """
        known: dict[str, Object] = {}
        while True:
            try:
                listing = await self.request("GET", path)
                fresh = {item["metadata"]["uid"]: item for item in listing["items"]}
                for uid in known.keys() - fresh.keys():
                    tell("DELETED", known.pop(uid))
                for uid, item in fresh.items():
                    if uid not in known or _version(known[uid]) != _version(item):
                        tell("MODIFIED" if uid in known else "ADDED", item)
                known = fresh
                synced.set()
                version = listing["metadata"]["resourceVersion"]
                while True:
                    version = await self._watch(path, version, known, tell)
            except KubeError as error:
                if error.status != 410:
                    _LOG.info("watching again: %s", error)
                    await asyncio.sleep(0.2)
            except _UNREACHABLE as error:
                _LOG.info("watching %s again: %r", path, error)
                await asyncio.sleep(0.2)

    async def _watch(
        self, path: str, version: str, known: dict[str, Object], tell: Callable[[str, Object], None]
    ) -> str:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self._session.get(path, params=query, timeout=timeout) as response:
            if response.status >= 400:
                raise KubeError("watch", path, response.status, _decoded(await response.read()))
            async for line in response.content:
                event = orjson.loads(line)
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    raise KubeError("watch", path, int(item.get("code", 500)), item)
                version = item["metadata"]["resourceVersion"]
                if kind == "BOOKMARK":
                    continue
                uid = item["metadata"]["uid"]
                if kind == "DELETED":
                    known.pop(uid, None)
                else:
                    known[uid] = item
                tell(kind, item)
        return version


def _version(item: Object) -> str:
    return str(item["metadata"]["resourceVersion"])


def _decoded(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"message": raw.decode(errors="replace")}

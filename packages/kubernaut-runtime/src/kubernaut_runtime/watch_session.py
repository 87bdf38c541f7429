"""The HTTP session that kopf gets, and what it tells about the watches.

kopf names itself in the user agent, hides its requests and says nothing of its streams. One client
middleware around its session sets the user agent, asks for the token anew for each request, counts every
request under its audit verb, opens no watch more than once a second, and notes signs of life.

A sign of life of a watch is a byte or the orderly end of its stream, or an error that came promptly (a
refused connection, an HTTP error): an API server that is down is not helped by restarting this process.
No sign is what a black hole gives: a connection that is open and silent, or an attempt that times out.
Response headers alone are no sign, they come also from a proxy that forwards nothing behind them.

The session lives in kopf's thread; `WatchSigns` may be read from any thread.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from kubernaut_status import ApiCalls, Resource

from .clock import Clock


class Endpoint(Protocol):
    """How to reach the API server (`Connection` is one). `token` is called before each request."""

    @property
    def server(self) -> str:
        """The URL."""
        ...

    @property
    def ssl(self) -> ssl_module.SSLContext | bool:
        """The TLS context; True for the system's."""
        ...

    @property
    def token(self) -> Callable[[], str | None]:
        """What gives the current bearer token, or None."""
        ...


class WatchSigns:
    """When each kind's watch last gave a sign of life, in the clock's monotonic seconds."""

    def __init__(self, resources: Iterable[Resource], clock: Clock) -> None:
        self._clock = clock
        self._last = dict.fromkeys(resources, clock.monotonic())

    def note(self, resource: Resource) -> None:
        """A sign of life came now."""
        self._last[resource] = self._clock.monotonic()

    def reset(self) -> None:
        """Count from now on: the engine starts."""
        for resource in self._last:
            self.note(resource)

    def age(self, resource: Resource) -> float:
        """Seconds since the last sign."""
        return max(0.0, self._clock.monotonic() - self._last[resource])


class WatchSession:
    """Makes kopf's sessions. `listed` is called, in kopf's thread, when kopf begins to list a kind.

    `discovering` is called there too: with True before each request of its discovery, with False after it.

    `reopen` is the least number of seconds between two openings of one kind's watch, so that a server which
    ends each watch at once is not asked in a tight loop.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        resources: Iterable[Resource],
        *,
        user_agent: str,
        calls: ApiCalls | None,
        signs: WatchSigns,
        listed: Callable[[Resource], None],
        discovering: Callable[[bool], None],
        reopen: float,
    ) -> None:
        self._endpoint = endpoint
        self._resources = {(r.group, r.version, r.plural): r for r in resources}
        self._user_agent = user_agent
        self._calls = calls
        self._signs = signs
        self._listed = listed
        self._discovering = discovering
        self._reopen = reopen
        self._root = urlsplit(endpoint.server).path.rstrip("/")
        self._opened: dict[Resource, float] = {}

    def open(self) -> aiohttp.ClientSession:
        """A new session; to be called in kopf's loop. The caller closes it."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._endpoint.ssl),
            headers={"User-Agent": self._user_agent},
            middlewares=(self._middleware,),
        )

    async def _middleware(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        verb, resource = self._classify(request)
        request.headers["User-Agent"] = self._user_agent
        if token := self._endpoint.token():
            request.headers["Authorization"] = f"Bearer {token}"
        if resource is not None and verb == "watch":
            await self._pace(resource)
        if resource is None:
            self._discovering(True)
        code = 0
        try:
            response = await handler(request)
            code = response.status
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            if resource is not None and not isinstance(error, TimeoutError):
                self._signs.note(resource)
            raise
        finally:
            if resource is None:
                self._discovering(False)
            if self._calls is not None:
                self._calls.count(verb, resource.plural if resource else "", "", code)
        if resource is not None:
            if code >= 400:
                self._signs.note(resource)
            elif verb == "watch":
                # A ClientResponse takes any reader; kopf uses `iter_chunked` of it.
                response.content = _NotedReader(response.content, resource, self._signs)  # type: ignore[assignment]
            elif "continue" not in request.url.query:
                self._listed(resource)
        return response

    def _classify(self, request: ClientRequest) -> tuple[str, Resource | None]:
        """The audit verb, and the kind if it is one of ours (else it is discovery)."""
        parts = request.url.path.removeprefix(self._root).strip("/").split("/")
        if parts[0] == "api":
            parts.insert(1, "")
        if len(parts) >= 6 and parts[3] == "namespaces":
            del parts[3:5]
        resource = self._resources.get((parts[1], parts[2], parts[3])) if len(parts) == 4 else None
        if request.method != "GET":
            return {"POST": "create", "PUT": "update"}.get(request.method, request.method.lower()), resource
        if resource is None:
            return "get", None
        return ("watch" if request.url.query.get("watch") == "true" else "list"), resource

    async def _pace(self, resource: Resource) -> None:
        # Real time on purpose: this protects the server, it is no policy that a test would move.
        now = asyncio.get_running_loop().time()
        wait = self._opened.get(resource, now - self._reopen) + self._reopen - now
        if wait > 0:
            await asyncio.sleep(wait)
        self._opened[resource] = now + max(0.0, wait)


class _NotedReader:
    """A stream reader that notes each chunk and the orderly or broken end of the stream."""

    def __init__(self, reader: aiohttp.StreamReader, resource: Resource, signs: WatchSigns) -> None:
        self._reader = reader
        self._resource = resource
        self._signs = signs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The chunks of the stream."""
        try:
            async for chunk in self._reader.iter_chunked(size):
                self._signs.note(self._resource)
                yield chunk
            self._signs.note(self._resource)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            if not isinstance(error, TimeoutError):
                self._signs.note(self._resource)
            raise

"""The proxy itself: an aiohttp server and client in a thread of their own.

Small rather than borrowed: what matters is that a watch is passed on line by line as it comes, that a
connection can be cut with a real RST, and that a write which has arrived is carried out even if its sender
dies meanwhile, as a server would.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from kubernaut_testing.loopthread import LoopServer, listen
from kubernaut_testing.proxy.actions import Action, Reply, Reset
from kubernaut_testing.proxy.requests import ProxiedRequest
from kubernaut_testing.proxy.rules import Rule
from kubernaut_testing.serverfiles import write_secret

if TYPE_CHECKING:
    from kubernaut_testing.controlplane import ControlPlane

__all__ = ["FaultProxy"]

_HOP_BY_HOP = {
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"),
    *("proxy-authenticate", "proxy-authorization"),
}
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class FaultProxy(LoopServer):
    """A reverse proxy before an API server; a context manager.

    Args:
        upstream: the control plane, or the URL of an API server together with ``ca_file``.
        ca_file: authority of that server.
        https: serve HTTPS with a certificate of its own; False serves plain HTTP.
    """

    def __init__(self, upstream: ControlPlane | str, *, ca_file: Path | None = None, https: bool = True) -> None:
        if isinstance(upstream, str):
            self._upstream, ca = upstream, ca_file
        else:
            self._upstream, ca = upstream.url, upstream.ca_file
        self._client_tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
        super().__init__("fault-proxy", tls=https)
        self._rules: list[Rule] = []
        self._requests: list[ProxiedRequest] = []
        self._kubeconfigs = 0

    def stop(self) -> None:
        """Cut all connections and end; harmless when repeated."""
        self.clear()
        super().stop()

    async def _listen(self, tls: ssl.SSLContext | None, port: int) -> int:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._client_tls),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        return await listen(self._runner, tls, port=port)

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    # For the test ----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the operator finds it."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[ProxiedRequest]:
        """Every request that came through, in order of arrival."""
        return list(self._requests)

    def add(self, rule: Rule) -> Rule:
        """Put a rule in force; returns it, for ``hits``, ``wait`` and ``remove``."""
        rule.added()
        self._rules = [*(other for other in self._rules if other.active), rule]
        return rule

    def clear(self) -> None:
        """Take all rules out of force."""
        for rule in self._rules:
            rule.remove()
        self._rules = []

    def kubeconfig_for(self, kubeconfig: Path, path: Path | None = None) -> Path:
        """A copy of a kubeconfig that goes through this proxy; written to ``path`` or to a private folder."""
        config = yaml.safe_load(kubeconfig.read_text())
        for item in config["clusters"]:
            cluster: dict[str, Any] = item["cluster"]
            for key in ("certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify"):
                cluster.pop(key, None)
            cluster["server"] = self.url
            if self.ca_file is not None:
                cluster["certificate-authority-data"] = base64.b64encode(self.ca_file.read_bytes()).decode()
        self._kubeconfigs += 1
        path = path or self.folder / f"{self._kubeconfigs}.kubeconfig"
        write_secret(path, yaml.safe_dump(config, sort_keys=False))
        return path

    # A request -------------------------------------------------------------------------------------------

    async def _serve(self, incoming: web.Request) -> web.StreamResponse:
        request = ProxiedRequest(
            incoming.method,
            incoming.path,
            dict(incoming.query),
            {key: value for key, value in incoming.headers.items() if key != "Authorization"},
            await incoming.read(),
            started=time.monotonic(),
        )
        self._requests.append(request)
        token = incoming.headers.get("Authorization")

        def innermost() -> Awaitable[Reply]:
            return self._forward(request, token)

        proceed: Callable[[], Awaitable[Reply]] = innermost
        for rule in reversed([rule for rule in self._rules if rule.applies_to(request)]):
            for action in reversed(rule.actions):
                proceed = _layer(action, request, proceed, rule)
        try:
            reply = await proceed()
            if reply.lines is not None:
                return await self._stream(incoming, request, reply)
            request.status = reply.status
            return web.Response(status=reply.status, headers=_end_to_end(reply.headers), body=reply.body)
        except (Reset, aiohttp.ClientError, OSError):
            # A server that went away looks to the operator like what it is: a connection that broke.
            request.status = None
            _cut(incoming)
            raise asyncio.CancelledError from None
        finally:
            request.ended = time.monotonic()

    async def _forward(self, request: ProxiedRequest, token: str | None) -> Reply:
        headers = _end_to_end(request.headers)
        if token is not None:
            headers["Authorization"] = token
        if request.verb == "watch":
            headers.pop("Accept-Encoding", None)  # events are looked at
        url = URL(self._upstream + request.path).with_query(dict(request.query))

        async def ask() -> Reply:
            response = await self._session.request(
                request.method, url, headers=headers, data=request.body or None, allow_redirects=False
            )
            request.upstream_status = response.status
            is_json = "json" in response.headers.get("Content-Type", "")
            if request.verb == "watch" and response.status == 200 and is_json:
                return Reply(response.status, dict(response.headers), lines=_lines(response))
            async with response:
                return Reply(response.status, dict(response.headers), await response.read())

        if request.verb == "watch":
            return await ask()
        # A write that has arrived is carried out, even if its sender is killed now.
        return await asyncio.shield(asyncio.ensure_future(ask()))

    async def _stream(self, incoming: web.Request, request: ProxiedRequest, reply: Reply) -> web.StreamResponse:
        assert reply.lines is not None
        response = web.StreamResponse(status=reply.status, headers=_end_to_end(reply.headers))
        await response.prepare(incoming)
        request.status = reply.status
        async with contextlib.aclosing(reply.lines) as lines:  # type: ignore[type-var]
            async for line in lines:
                await response.write(line)
        await response.write_eof()
        return response


def _layer(
    action: Action, request: ProxiedRequest, proceed: Callable[[], Awaitable[Reply]], rule: Rule
) -> Callable[[], Awaitable[Reply]]:
    request.faults.insert(0, type(action).__name__)
    return lambda: action(request, proceed, lambda: rule.active)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines as they come; objects can be larger than any line limit."""
    async with response:
        rest = bytearray()
        async for chunk in response.content.iter_any():
            rest += chunk
            while (end := rest.find(b"\n") + 1) > 0:
                yield bytes(rest[:end])
                del rest[:end]


def _end_to_end(headers: Any) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _HOP_BY_HOP}


def _cut(incoming: web.Request) -> None:
    transport = incoming.transport
    if transport is not None:
        # Zero linger: closing sends RST instead of FIN.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        transport.abort()

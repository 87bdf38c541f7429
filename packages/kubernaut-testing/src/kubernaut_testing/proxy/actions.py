"""What a rule does to a request and to its answer.

An action is a layer around the request: it gets the request and ``proceed``, which asks the next layer (in the
end the API server), and returns the reply. Not calling ``proceed`` keeps the request from the server; raising
``Reset`` cuts the operator's connection with a TCP RST.
"""

# An action's class says what its __call__ does.
# ruff: noqa: D102

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kubernaut_testing.proxy.requests import ProxiedRequest

__all__ = [
    "Action",
    "After",
    "Before",
    "Delay",
    "Proceed",
    "Reply",
    "Reset",
    "ResetAfter",
    "ResetBefore",
    "StaleList",
    "Status",
    "status_body",
]


class Reset(Exception):  # noqa: N818 - it is what happens, not what went wrong
    """Cut the operator's connection with a RST, now."""


@dataclass
class Reply:
    """An answer: ``body`` for an ordinary one, ``lines`` (whole lines of JSON) for a watch."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    lines: AsyncIterator[bytes] | None = None


Proceed = Callable[[], Awaitable[Reply]]


class Action(Protocol):
    """One layer around a request. ``active`` tells whether the rule is still in force, for actions that last."""

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        """Answer the request."""
        ...


_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def status_body(code: int, reason: str = "", message: str = "", retry_after: int | None = None) -> dict[str, Any]:
    """A ``Status`` object as the API server sends it."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message or f"injected {code}",
        "reason": reason or _REASONS.get(code, "Unknown"),
        "code": code,
    }
    if retry_after is not None:
        body["details"] = {"retryAfterSeconds": retry_after}
    return body


@dataclass
class Status:
    """Answer with an error code instead of asking the server.

    Attributes:
        code: 401, 403, 404, 409, 410, 422, 429, 500, 503 ...
        retry_after: seconds, for the header and the body.
        reason: default is the one that belongs to the code.
        message: for the Status body.
    """

    code: int
    retry_after: int | None = None
    reason: str = ""
    message: str = ""

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        body = json.dumps(status_body(self.code, self.reason, self.message, self.retry_after)).encode()
        headers = {"Content-Type": "application/json"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Reply(self.code, headers, body)


@dataclass
class Delay:
    """Wait ``seconds`` before the request goes on to the server; with ``after`` before its answer goes back.

    A request whose sender has given up meanwhile goes nowhere, unless ``late``: then it arrives all the same, as one
    that was held up in the network does.
    """

    seconds: float
    after: bool = False
    late: bool = False

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        if self.late:
            return await asyncio.shield(asyncio.ensure_future(self._wait(proceed)))
        return await self._wait(proceed)

    async def _wait(self, proceed: Proceed) -> Reply:
        if self.after:
            reply = await proceed()
            await asyncio.sleep(self.seconds)
            return reply
        await asyncio.sleep(self.seconds)
        return await proceed()


@dataclass
class ResetBefore:
    """The connection is reset and the server never sees the request."""

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        raise Reset


@dataclass
class ResetAfter:
    """The server has carried the request out; its answer is thrown away and the connection reset."""

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        await proceed()
        raise Reset


Callback = Callable[[ProxiedRequest], Any]


@dataclass
class Before:
    """Call ``callback(request)`` (plain or async, in the proxy's thread) before the request goes to the server.

    With ``drop`` the request then goes nowhere and the connection is reset: what a crash before the write is.
    """

    callback: Callback
    drop: bool = False

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        await _call(self.callback, request)
        if self.drop:
            raise Reset
        return await proceed()


@dataclass
class After:
    """Call ``callback(request)`` when the server has answered, before the operator learns of it.

    With ``drop`` it never does: what a crash after the write is.
    """

    callback: Callback
    drop: bool = False

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        reply = await proceed()
        await _call(self.callback, request)
        if self.drop:
            raise Reset
        return reply


async def _call(callback: Callback, request: ProxiedRequest) -> None:
    result = callback(request)
    if inspect.isawaitable(result):
        await result


@dataclass
class StaleList:
    """Answer lists from the past, as an API server that lags behind its storage does.

    Attributes:
        resource_version: the server is asked for its list of exactly this version. Without it, the first list
            that comes by is kept and given again to all later ones of the same path.
    """

    resource_version: str = ""
    _kept: dict[str, Reply] = field(default_factory=dict, repr=False)

    async def __call__(self, request: ProxiedRequest, proceed: Proceed, active: Callable[[], bool]) -> Reply:
        if request.verb != "list":
            return await proceed()
        if self.resource_version:
            exact = {"resourceVersion": self.resource_version, "resourceVersionMatch": "Exact"}
            request.query = {**request.query, **exact}
            return await proceed()
        if request.path not in self._kept:
            self._kept[request.path] = await proceed()
        return self._kept[request.path]

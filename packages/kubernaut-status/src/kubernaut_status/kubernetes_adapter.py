"""Adapters for those who already have a client of the `kubernetes` package (37 or later).

`SyncKubernetesClient(api_client)` runs each request of `kubernetes.client.ApiClient` in a thread;
`AsyncKubernetesClient(api_client)` awaits that of `kubernetes.aio.client.ApiClient`. Authentication,
proxies and TLS stay the client's own. The package itself is not imported here: it is big, and the
instance that you pass brings all that is needed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from .aiohttp_client import parsed_body, retry_after_seconds
from .errors import TransportError
from .metrics import ApiCalls
from .patch import well_formed
from .transport import Request, Response

_AUTH = ["BearerToken"]


class SyncKubernetesClient:
    """A `StatusClient` on `kubernetes.client.ApiClient`."""

    def __init__(self, api_client: Any, *, calls: ApiCalls | None = None, timeout: float = 30.0) -> None:
        self._api = api_client
        self._calls = calls
        self._timeout = timeout

    async def send(self, request: Request) -> Response:
        """Send once, in a thread. Raises `TransportError` if no answer came."""
        try:
            response = await asyncio.to_thread(self._send, request)
        except Exception as error:  # noqa: BLE001 - whatever that client raises, no answer came
            _count(self._calls, request, 0)
            raise _transport_error(request, error) from None
        _count(self._calls, request, response.code)
        return response

    def _send(self, request: Request) -> Response:
        call = self._api.param_serialize(**_serialized(request))
        answer = self._api.call_api(*call, _request_timeout=request.timeout or self._timeout)
        return _response(answer.status, answer.read(), answer.headers)


class AsyncKubernetesClient:
    """A `StatusClient` on `kubernetes.aio.client.ApiClient`."""

    def __init__(self, api_client: Any, *, calls: ApiCalls | None = None, timeout: float = 30.0) -> None:
        self._api = api_client
        self._calls = calls
        self._timeout = timeout

    async def send(self, request: Request) -> Response:
        """Send once. Raises `TransportError` if no answer came."""
        try:
            call = await self._api.param_serialize(**_serialized(request))
            answer = await self._api.call_api(*call, _request_timeout=request.timeout or self._timeout)
            response = _response(answer.status, await answer.read(), answer.headers)
        except Exception as error:  # noqa: BLE001 - whatever that client raises, no answer came
            _count(self._calls, request, 0)
            raise _transport_error(request, error) from None
        _count(self._calls, request, response.code)
        return response


def _serialized(request: Request) -> dict[str, Any]:
    headers = {"Accept": request.accept}
    if request.body is not None:
        headers["Content-Type"] = request.content_type
    return {
        "method": request.method,
        "resource_path": request.path,
        "query_params": list(request.query.items()),
        "header_params": headers,
        "body": None if request.body is None else normalize_body(request.body),
        "auth_settings": _AUTH,
    }


def normalize_body(body: object) -> object:
    """The body as plain JSON types; nulls stay, for in a merge patch they are removals."""
    try:
        return orjson.loads(orjson.dumps(body))
    except TypeError:
        return well_formed(body)


def _response(code: int, content: bytes, headers: Any) -> Response:
    return Response(int(code), parsed_body(content), retry_after_seconds(headers))


def _transport_error(request: Request, error: Exception) -> TransportError:
    return TransportError(f"no answer to {request.method} {request.path}: {type(error).__name__}")


def _count(calls: ApiCalls | None, request: Request, code: int) -> None:
    if calls is not None:
        calls.count(request.verb, request.resource, request.subresource, code)

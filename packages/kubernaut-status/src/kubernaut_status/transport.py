"""The one thing that the status package needs from an HTTP client: send this request, give me the answer.

`StatusClient` has a single method, so that any client can be adapted in a few lines. Transports do
not decide anything: method, path and body come from `wire`, and every HTTP status is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

MERGE_PATCH = "application/merge-patch+json"
"""The content type of RFC 7396, the one patch that every custom resource accepts with a resourceVersion in it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API server.

    `verb` is the API's verb (get, list, watch, create, update, patch, delete), as audit log and
    RBAC name it; `resource` and `subresource` are its plural noun and e.g. `status`; `timeout` is in
    seconds, None for the client's default. `accept` is the form of the answer: JSON in any case, but
    for example of an object's metadata alone.
    """

    verb: str
    method: str
    path: str
    resource: str
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: object | None = None
    content_type: str = "application/json"
    timeout: float | None = None
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with whatever HTTP code; `body` is the parsed JSON object, empty if there was none.

    `retry_after` is in seconds, from the header of that name.
    """

    code: int
    body: dict[str, Any]
    retry_after: float | None = None


class StatusClient(Protocol):
    """What can send a request to the API server."""

    async def send(self, request: Request) -> Response:
        """Send once, without retries.

        Returns an answer of any code. Raises `TransportError` if no answer came.
        """
        ...

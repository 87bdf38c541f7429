"""The errors of the status package.

    StatusError
    ├── InvalidTransitionError      the phase machine has no such edge; nothing was sent
    ├── OutsideStatusError          the mutation changed something other than status; nothing was sent
    ├── ConflictsExhaustedError     every try met a 409; nothing of ours was stored
    ├── OutcomeUnknownError         a write was sent, its answer was lost, and nothing proves whether it landed
    ├── TransportError              no answer: connection refused, reset, timed out, or not from an API server
    └── ApiError                    the API server answered with an error (code, reason, message)
        ├── UnauthorizedError       401
        ├── ForbiddenError          403
        ├── NotFoundError           404
        ├── ConflictError           409
        ├── InvalidError            422
        │   └── TooLargeError       413, or 5xx because etcd takes nothing so large
        ├── TooManyRequestsError    429
        └── ServerError             5xx (any other code from 300 on is a plain ApiError)

An object that is gone, or that was replaced by another of the same name, is not an error but a
result (`Outcome.GONE`): there is nothing to retry and nothing to repair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .transport import Request, Response


class StatusError(Exception):
    """The root of everything that this package raises on purpose."""


class InvalidTransitionError(StatusError):
    """A phase change that the phase machine does not know. `current` and `wanted` are phases; empty = none yet."""

    def __init__(self, current: str, wanted: str, *, detail: str = "") -> None:
        self.current = current
        self.wanted = wanted
        super().__init__(f"invalid phase transition from {current!r} to {wanted!r}{detail and f': {detail}'}")


class OutsideStatusError(StatusError):
    """A mutation touched metadata or spec. The status subresource drops such a change silently, so it is refused."""


class ConflictsExhaustedError(StatusError):
    """Each of `tries` conditional writes met a 409."""

    def __init__(self, what: str, tries: int) -> None:
        self.tries = tries
        super().__init__(f"cannot write {what}: {tries} conflicts in a row; another writer is changing it as often")


class OutcomeUnknownError(StatusError):
    """A write may or may not have been stored, and the object does not tell.

    Pass `landed` to the update, or declare the identity of the entries that it appends.
    """


class TransportError(StatusError):
    """No answer came. `may_have_arrived` is False only when the connection was never made."""

    def __init__(self, message: str, *, may_have_arrived: bool = True) -> None:
        self.may_have_arrived = may_have_arrived
        super().__init__(message)


class ApiError(StatusError):
    """The API server refused.

    `code` is the HTTP status, `reason` and `message` are those of the metav1.Status body,
    `retry_after` is in seconds, at most `RETRY_AFTER_LIMIT`, or None if the server did not say.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str = "",
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.details = dict(details or {})
        super().__init__(f"{code} {reason}: {message}" if reason else f"{code}: {message}")


class UnauthorizedError(ApiError):
    """401: the credentials are missing, expired or rotated."""


class ForbiddenError(ApiError):
    """403: the identity may not do this; the message names the missing permission."""


class NotFoundError(ApiError):
    """404: no such object, or no such resource."""


class ConflictError(ApiError):
    """409: the object is at another resourceVersion than the write was based on."""


class InvalidError(ApiError):
    """422: the schema or a validation rule refuses the content; `details["causes"]` names the fields."""


class TooLargeError(InvalidError):
    """The object would be larger than what the API server or etcd takes; sent again it would be refused again."""


class TooManyRequestsError(ApiError):
    """429: the API server asks to come back later."""


class ServerError(ApiError):
    """5xx: the server failed; a write may have been stored nevertheless."""


_BY_CODE: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidError,
    429: TooManyRequestsError,
}


_TOO_LARGE = ("etcdserver: request is too large", "trying to send message larger than max")
"""What etcd and its client say beyond their limits, 1.5 and 2 MiB by default; the API server hands it on as a 500."""


RETRY_AFTER_LIMIT = 300.0
"""The longest Retry-After that is believed, in seconds: a server or a proxy in trouble may name any number."""


def believed(retry_after: float | None) -> float | None:
    """What a server asked for, in seconds, as far as it is believed (`RETRY_AFTER_LIMIT`)."""
    return None if retry_after is None else min(retry_after, RETRY_AFTER_LIMIT)


def is_too_large(response: Response) -> bool:
    """Whether the content was refused for its size."""
    message = str(response.body.get("message") or "")
    return response.code == 413 or (response.code >= 500 and any(words in message for words in _TOO_LARGE))


def api_error(response: Response, request: Request) -> ApiError:
    """The typed error for a response with a code of 300 or more: redirects are not followed."""
    kind = _BY_CODE.get(response.code, ServerError if response.code >= 500 else ApiError)
    if is_too_large(response):
        kind = TooLargeError
    body = response.body
    return kind(
        response.code,
        str(body.get("message") or f"{request.method} {request.path} failed"),
        reason=str(body.get("reason") or ""),
        retry_after=believed(response.retry_after),
        details=body.get("details") or {},
    )


def raise_for_code(response: Response, request: Request) -> Response:
    """Return `response`, or raise its `ApiError` if its code is 300 or more."""
    if response.code >= 300:
        raise api_error(response, request)
    return response


def stored_object(response: Response, request: Request) -> dict[str, Any]:
    """The object that the server answered with.

    Raises the `ApiError` of a refusal, and `TransportError` for a success without an object in it: that was not the
    API server but something on the way to it (a proxy, a login page), so nothing is known of the request.
    """
    body = raise_for_code(response, request).body
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("uid") and metadata.get("resourceVersion")):
        raise TransportError(
            f"no answer to {request.method} {request.path}: {response.code} without an object; is there a proxy before "
            "the API server?"
        )
    return body

"""Sending one request until the API server has really answered it.

Busy (429), failing (5xx, but for what is too large), unreachable, and a redirect or a success without an object in it
(a proxy's) are not answers: they are waited out, at least as long as Retry-After says, longer each time, outside the
conflict budget. What makes sending a status PATCH again safe is the resourceVersion inside it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from .errors import ApiError, OutcomeUnknownError, TransportError, api_error, is_too_large, stored_object
from .metrics import StatusMetrics
from .retry import Sleep, Unavailable
from .transport import Request, Response, StatusClient

# Decided before the server looks at the resourceVersion; 404, 409 and 422 are decided after it.
_SAYS_NOTHING_OF_THE_FIRST = (400, 401, 403, 408, 415)


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's answer, and whether an earlier sending without one may have been carried out."""

    response: Response
    may_have_landed: bool


async def send_until_answered(
    client: StatusClient, request: Request, unavailable: Unavailable, *, sleep: Sleep, metrics: StatusMetrics | None
) -> Answer:
    """Send `request`, which gets or changes one object, until that or a refusal other than 429 and 5xx comes back.

    A 5xx that says that the object is too large is a refusal.

    Raises `OutcomeUnknownError` too if a request that may have been carried out is refused when sent again.
    Once `unavailable.give_up_after` seconds would be exceeded, raises `OutcomeUnknownError` if a write may
    have been carried out, else what was met last: `TooManyRequestsError`, `ServerError` or `TransportError`.
    """
    began = time.monotonic()
    waited = 0.0
    tries = 0
    may_have_landed = False
    while True:
        tries += 1
        retry_after: float | None = None
        failure: Exception
        try:
            response = await client.send(request)
            if response.code < 400:
                stored_object(response, request)
                return Answer(response, may_have_landed)
        except TransportError as error:
            failure, reason = error, "no_answer"
            may_have_landed |= error.may_have_arrived
        except ApiError as error:  # a redirect, of whatever is in front of the API server
            failure, reason = error, str(error.code)
            may_have_landed = True
        else:
            too_large = is_too_large(response)
            if too_large or (response.code != 429 and response.code < 500):
                says_nothing = too_large or response.code in _SAYS_NOTHING_OF_THE_FIRST
                if may_have_landed and request.method != "GET" and says_nothing:
                    refusal = api_error(response, request)
                    raise OutcomeUnknownError(
                        f"cannot tell whether {request.method} {request.path} was carried out: its answer was lost, "
                        f"and sent again it was refused ({refusal})"
                    ) from refusal
                return Answer(response, may_have_landed)
            failure, reason = api_error(response, request), str(response.code)
            may_have_landed |= response.code >= 500
            retry_after = response.retry_after
        delay = unavailable.wait(tries, retry_after)
        if max(time.monotonic() - began, waited) + delay > unavailable.give_up_after:
            if may_have_landed and request.method != "GET":
                raise OutcomeUnknownError(
                    f"cannot tell whether {request.method} {request.path} was carried out: no clear answer in "
                    f"{unavailable.give_up_after:.0f} s ({failure})"
                ) from failure
            raise failure
        if metrics is not None:
            metrics.resent(request.resource, reason)
        await sleep(delay)
        waited += delay

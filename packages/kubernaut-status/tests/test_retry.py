"""Retries: how often, how long, and what passes through."""

import pytest

from kubernaut_status import (
    DEFAULT_RETRY,
    RETRY_AFTER_LIMIT,
    ConflictError,
    ConflictsExhaustedError,
    ForbiddenError,
    OutcomeUnknownError,
    ServerError,
    TooManyRequestsError,
    TransportError,
    Unavailable,
    api_error,
    retry_on_conflict,
)
from kubernaut_status.resend import send_until_answered
from kubernaut_status.transport import Request, Response

PATCH = Request("patch", "PATCH", "/apis/paint.example.com/v1/namespaces/n/things/t", "things")
STORED = Response(200, {"metadata": {"uid": "u", "resourceVersion": "2"}})
GET = Request("get", "GET", "/apis/paint.example.com/v1/namespaces/n/things/t", "things")


class Waits(list[float]):
    """Records sleeps instead of sleeping."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Answers:
    """A client that gives scripted answers: pure retry logic needs no server."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)

    async def send(self, request: Request) -> Response:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_conflicts_are_retried_on_client_go_s_schedule() -> None:
    waits, tries = Waits(), 0

    async def attempt() -> str:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise ConflictError(409, "moved on")
        return "stored"

    assert await retry_on_conflict(DEFAULT_RETRY, attempt, sleep=waits) == "stored"
    assert tries == 5
    assert all(0.010 <= wait <= 0.011 for wait in waits)
    assert len(waits) == 4


async def test_a_fifth_conflict_is_a_typed_error_that_keeps_its_cause() -> None:
    async def attempt() -> None:
        raise ConflictError(409, "moved on")

    with pytest.raises(ConflictsExhaustedError, match="5 conflicts in a row") as caught:
        await retry_on_conflict(DEFAULT_RETRY, attempt, sleep=Waits())
    assert isinstance(caught.value.__cause__, ConflictError)


async def test_other_errors_pass_through_at_once() -> None:
    waits = Waits()

    async def attempt() -> None:
        raise ForbiddenError(403, "no")

    with pytest.raises(ForbiddenError):
        await retry_on_conflict(DEFAULT_RETRY, attempt, sleep=waits)
    assert waits == []


async def test_retry_after_is_a_lower_bound() -> None:
    waits = Waits()
    client = Answers(Response(429, {}, retry_after=5.0), Response(503, {}, retry_after=7.0), STORED)
    answer = await send_until_answered(client, PATCH, Unavailable(), sleep=waits, metrics=None)
    assert answer.response is STORED
    assert 5.0 <= waits[0] <= 5.5
    assert 7.0 <= waits[1] <= 7.7


async def test_a_retry_after_beyond_five_minutes_is_not_believed() -> None:
    assert 300 <= Unavailable().wait(1, 86_400.0) <= 330
    error = api_error(Response(429, {}, retry_after=86_400.0), PATCH)
    assert error.retry_after == RETRY_AFTER_LIMIT == 300


async def test_a_retry_after_beyond_the_time_that_is_left_is_told_at_once() -> None:
    waits, busy = Waits(), Answers(Response(429, {}, retry_after=200.0))
    with pytest.raises(TooManyRequestsError) as caught:
        await send_until_answered(busy, PATCH, Unavailable(give_up_after=120), sleep=waits, metrics=None)
    assert (caught.value.retry_after, waits) == (200, [])


async def test_waits_grow_and_are_capped() -> None:
    waits = Waits()
    client = Answers(*[Response(503, {})] * 12, STORED)
    await send_until_answered(client, GET, Unavailable(base=1, cap=8, give_up_after=1000), sleep=waits, metrics=None)
    assert [int(wait) for wait in waits[:4]] == [1, 2, 4, 8]
    assert max(waits) <= 8.8


async def test_busy_leaves_no_doubt_but_failure_and_silence_do() -> None:
    async def may_have_landed(*answers: Response | Exception) -> bool:
        client = Answers(*answers, STORED)
        return (await send_until_answered(client, PATCH, Unavailable(), sleep=Waits(), metrics=None)).may_have_landed

    assert not await may_have_landed()
    assert not await may_have_landed(Response(429, {}))
    assert not await may_have_landed(TransportError("refused", may_have_arrived=False))
    assert await may_have_landed(Response(500, {}))
    assert await may_have_landed(TransportError("reset"))
    assert await may_have_landed(Response(302, {}))
    assert await may_have_landed(Response(200, {"message": "<html>please log in</html>"}))


async def test_giving_up_tells_whether_a_write_is_in_doubt() -> None:
    unavailable = Unavailable(base=1, cap=1, give_up_after=3)
    with pytest.raises(OutcomeUnknownError, match="cannot tell whether PATCH"):
        await send_until_answered(
            Answers(*[TransportError("reset")] * 9), PATCH, unavailable, sleep=Waits(), metrics=None
        )
    with pytest.raises(ServerError):
        await send_until_answered(Answers(*[Response(500, {})] * 9), GET, unavailable, sleep=Waits(), metrics=None)

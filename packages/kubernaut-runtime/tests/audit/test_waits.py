"""When a batch is sent again, to the second, by a clock that is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kubernaut_runtime.audit import Accounts, Answer, DataStorageSink, Event, NoAnswerError, SendTimes
from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.sections import DataStorageBuffer
from kubernaut_testing.clock import FakeClock

MakeEvent = Callable[..., Event]


class Answering:
    """Answers by script, the last answer for ever, and notes when it was asked."""

    def __init__(self, clock: FakeClock, *answers: Answer | None) -> None:
        self._clock, self._answers = clock, list(answers)
        self.asked: list[float] = []

    async def send(self, body: bytes) -> Answer:
        self.asked.append(round(self._clock.monotonic() - 1000, 3))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            raise NoAnswerError("no answer in time")
        return answer


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([None], [1, 2, 4, 8, 16, 32, 62, 92, 122]),
        ([Answer(503)], [1, 2, 4, 8, 16, 32, 62, 92, 122]),
        ([Answer(429, retry_after=20), Answer(429, retry_after=0), Answer(201)], [1, 21, 23]),
        ([Answer(429, retry_after=86_400), Answer(201)], [1, 301]),
        ([None, None, Answer(201)], [1, 2, 4]),
    ],
    ids=["no answer", "503", "retry after", "absurd retry after", "recovers"],
)
async def test_a_batch_is_sent_again_after_growing_waits(
    make_event: MakeEvent, answers: list[Answer | None], asked: list[float]
) -> None:
    clock = FakeClock()
    client = Answering(clock, *answers)
    sink = DataStorageSink(
        client,
        DataStorageBuffer(),
        Accounts("sample"),
        clock=clock,
        times=SendTimes(Backoff(1.0, 30.0), lambda: 0.0),
    )
    task = asyncio.create_task(sink.run())
    sink.emit(make_event(at=clock.now()))
    await clock.wait_for_sleepers()
    for _ in range(1230 if len(asked) == 2 else 300):
        await clock.advance(0.5)
        if len(client.asked) == len(asked):
            break
    assert client.asked == asked
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_the_default_waits_are_one_second_doubled_to_thirty_never_shorter() -> None:
    retry = SendTimes().retry
    assert [retry.policy(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert retry.wait(1, lambda: 0.99) <= 1.1

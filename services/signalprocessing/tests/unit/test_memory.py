"""Deadlines, by a clock that nobody sets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from kubernaut_api import SignalProcessing
from kubernaut_signalprocessing.memory import BEHIND_DEADLINE, Memory
from kubernaut_testing.clock import FakeClock

MakeSP = Callable[..., SignalProcessing]


@pytest.fixture
def clock(now: datetime) -> FakeClock:
    return FakeClock(start=now)


@pytest.mark.parametrize(("seconds", "passed"), [(0, False), (59, False), (60, False), (60.001, True), (3600, True)])
@pytest.mark.parametrize("hours", [0, 1, -1])
async def test_a_deadline_has_passed_when_it_is_in_the_past_whatever_the_wall_clock_is_set_to(
    make_sp: MakeSP, clock: FakeClock, seconds: float, passed: bool, hours: int
) -> None:
    sp, memory = make_sp(timesOutAt="2026-03-01T10:01:00Z"), Memory()
    assert memory.seconds_to_deadline(sp, clock) == pytest.approx(60 + BEHIND_DEADLINE)
    clock.jump(hours * 3600)
    await clock.advance(seconds)
    assert (memory.seconds_to_deadline(sp, clock) <= 0) is passed


@pytest.mark.behaviour(16)
async def test_without_a_deadline_no_time_is_too_late(make_sp: MakeSP, clock: FakeClock) -> None:
    sp, memory = make_sp(), Memory()
    for _ in range(2):
        assert memory.seconds_to_deadline(sp, clock) > 1e9
        await clock.advance(864_000_000)


def test_a_deadline_that_had_passed_before_the_first_look_is_one(make_sp: MakeSP, clock: FakeClock) -> None:
    assert Memory().seconds_to_deadline(make_sp(timesOutAt="2026-03-01T09:59:00Z"), clock) < 0

"""The fake clock moves only when told, and wakes sleepers in order."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_testing.clock import FakeClock


async def test_sleepers_wake_in_the_order_of_their_due_times_at_their_own_times() -> None:
    clock = FakeClock()
    began = clock.monotonic()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic() - began))

    async with asyncio.TaskGroup() as tasks:
        for name, seconds in (("c", 30), ("a", 10), ("b", 20)):
            tasks.create_task(sleeper(name, seconds))
        assert await clock.wait_for_sleepers(3) == [10, 20, 30]
        await clock.advance(9.5)
        assert woken == []
        await clock.advance(15)
        assert woken == [("a", 10), ("b", 20)]
        assert clock.sleepers == [5.5]
        await clock.advance(100)
    assert woken[-1] == ("c", 30)
    assert clock.monotonic() - began == 124.5


async def test_a_task_that_sleeps_again_is_woken_again_within_one_advance() -> None:
    clock = FakeClock()
    ticks: list[dt.datetime] = []

    async def ticker() -> None:
        while True:
            await clock.sleep(10)
            ticks.append(clock.now())

    task = asyncio.create_task(ticker())
    await clock.advance(35)
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert ticks == [start + dt.timedelta(seconds=seconds) for seconds in (10, 20, 30)]
    task.cancel()


async def test_a_jump_moves_the_wall_clock_and_wakes_nobody() -> None:
    clock = FakeClock()
    before, monotonic = clock.now(), clock.monotonic()
    task = asyncio.create_task(clock.sleep(60))
    await clock.wait_for_sleepers()
    clock.jump(3600)
    await asyncio.sleep(0)
    assert not task.done()
    assert (clock.now() - before, clock.monotonic()) == (dt.timedelta(hours=1), monotonic)
    clock.jump(-7200)
    assert clock.now() - before == dt.timedelta(hours=-1)
    await clock.advance(60)
    assert task.done()


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.wait_for_sleepers()
    task.cancel()
    await asyncio.sleep(0)
    assert clock.sleepers == []
    await clock.advance(10)
    with pytest.raises(TimeoutError, match="cannot see 1 sleepers"):
        await clock.wait_for_sleepers(timeout=0.01)


def test_a_clock_needs_a_time_zone_and_never_runs_backwards() -> None:
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(dt.datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="backwards"):
        asyncio.run(FakeClock().advance(-1))


@given(st.lists(st.floats(min_value=0.1, max_value=1000), min_size=1, max_size=8))
def test_any_sleepers_wake_sorted_and_none_is_lost(durations: list[float]) -> None:
    async def run() -> list[float]:
        clock = FakeClock(monotonic=0)
        woken: list[float] = []

        async def sleeper(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)

        tasks = [asyncio.create_task(sleeper(seconds)) for seconds in durations]
        await clock.wait_for_sleepers(len(durations))
        await clock.advance(1001)
        await asyncio.gather(*tasks)
        return woken

    woken = asyncio.run(run())
    assert sorted(woken) == sorted(durations)
    assert all(a <= b for a, b in itertools.pairwise(woken))

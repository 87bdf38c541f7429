"""Waiting returns the answer, and its failure tells the last one."""

from __future__ import annotations

import pytest

from kubernaut_testing.waiting import eventually, eventually_async, stays, stays_async


def test_eventually_returns_the_first_truthy_answer_and_forgives_errors_until_then() -> None:
    answers = iter([None, LookupError("not yet"), [], [7]])

    def probe() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert eventually(probe, interval=0.001) == [7]


def test_eventually_fails_with_the_message_and_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"widget is Done did not hold within 0\.01 s; last answer: ''"):
        eventually(lambda: "", timeout=0.01, interval=0.001, message=lambda: "widget is Done")
    with pytest.raises(AssertionError, match="OSError"):
        eventually(lambda: (_ for _ in ()).throw(OSError("down")), timeout=0.01, interval=0.001)


def test_an_error_in_the_probe_itself_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        eventually(lambda: len(3), timeout=5)  # type: ignore[arg-type]


async def test_eventually_async_takes_functions_and_coroutine_functions() -> None:
    count = 0

    async def probe() -> int:
        nonlocal count
        count += 1
        return count if count > 2 else 0

    assert await eventually_async(probe, interval=0.001) == 3
    assert await eventually_async(lambda: "x") == "x"
    with pytest.raises(AssertionError, match="last answer: False"):
        await eventually_async(lambda: False, timeout=0.01)


async def test_stays_prints_the_difference() -> None:
    stays(lambda: {"rv": "5"}, seconds=0.02, interval=0.005)
    versions = iter(range(100))
    with pytest.raises(AssertionError, match=r'-  *"rv": 0\n\+  *"rv": 1'):
        stays(lambda: {"name": "one", "rv": next(versions)}, seconds=1, interval=0.001)
    with pytest.raises(AssertionError, match="should have stayed the same"):
        await stays_async(lambda: next(versions), seconds=1, interval=0.001)

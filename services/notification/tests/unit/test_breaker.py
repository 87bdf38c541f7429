from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_notification.delivery.breaker import BreakerSettings, CircuitBreaker, State

CLOSED, HALF_OPEN, OPEN = State.CLOSED, State.HALF_OPEN, State.OPEN


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> CircuitBreaker:
    return CircuitBreaker(BreakerSettings(), time)


def fail(breaker: CircuitBreaker, times: int = 1, error: str = "busy") -> None:
    for _ in range(times):
        breaker.failed(breaker.term, error)


def succeed(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.succeeded(breaker.term)


@pytest.mark.behaviour(86)
def test_it_opens_with_the_third_failure_in_a_row_and_not_before(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    assert (breaker.state, breaker.opens_in) == (CLOSED, 0)
    fail(breaker, error="503 from upstream")
    assert (breaker.state, breaker.opens_in, breaker.error) == (OPEN, 30, "503 from upstream")


@pytest.mark.behaviour(86)
def test_after_the_open_period_two_successes_close_it(breaker: CircuitBreaker, time: Time) -> None:
    fail(breaker, 3)
    time.now += 29.999
    assert breaker.state is OPEN
    time.now += 0.002
    assert (breaker.state, breaker.opens_in) == (HALF_OPEN, 0)
    succeed(breaker)
    assert breaker.state is HALF_OPEN
    succeed(breaker)
    assert breaker.state is CLOSED
    fail(breaker, 2)
    assert breaker.state is CLOSED, "it counts from nothing again"


def test_one_failed_probe_opens_it_for_a_whole_period_more(breaker: CircuitBreaker, time: Time) -> None:
    fail(breaker, 3)
    time.now += 40
    succeed(breaker)
    fail(breaker)
    assert (breaker.state, breaker.opens_in) == (OPEN, 30)
    time.now += 30
    succeed(breaker)
    assert breaker.state is HALF_OPEN, "successes of an earlier half-open time do not count"


def test_a_success_between_failures_begins_the_count_anew(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    succeed(breaker)
    fail(breaker, 2)
    assert breaker.state is CLOSED


def test_failures_that_are_far_apart_open_nothing(breaker: CircuitBreaker, time: Time) -> None:
    """One notification's retries, 30 s apart, must not shut a receiver off for the others."""
    for _ in range(20):
        fail(breaker)
        time.now += 5
    assert breaker.state is CLOSED
    fail(breaker)
    time.now += 4.9
    fail(breaker)
    assert breaker.state is OPEN


def test_the_result_of_a_call_from_before_the_opening_counts_for_nothing(breaker: CircuitBreaker, time: Time) -> None:
    slow = breaker.term
    fail(breaker, 3)
    time.now += 30
    breaker.failed(slow, "late")
    assert (breaker.state, breaker.error) == (HALF_OPEN, "busy")
    breaker.succeeded(slow)
    succeed(breaker)
    assert breaker.state is HALF_OPEN


def test_a_longer_outage_is_one_opening_and_the_next_outage_another(breaker: CircuitBreaker, time: Time) -> None:
    assert breaker.openings == 0
    fail(breaker, 3)
    time.now += 30
    fail(breaker)
    assert breaker.openings == 1
    time.now += 30
    succeed(breaker, 2)
    fail(breaker, 3)
    assert breaker.openings == 2


@given(
    st.lists(st.tuples(st.sampled_from(["fail", "succeed", "wait"]), st.floats(0, 40))),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_it_is_never_open_for_longer_than_its_time_and_opens_only_by_failures(
    steps: list[tuple[str, float]], failures: int, probes: int
) -> None:
    time = Time()
    breaker = CircuitBreaker(BreakerSettings(failures, 10, 30, probes), time)
    row = 0
    for step, seconds in steps:
        before = breaker.state
        if step == "wait":
            time.now += seconds
            assert breaker.state == before or (before, breaker.state) == (OPEN, HALF_OPEN)
        elif before is not OPEN:  # nobody calls while it is open
            row = row + 1 if step == "fail" else 0
            fail(breaker) if step == "fail" else succeed(breaker)
            if breaker.state is OPEN:
                assert before is HALF_OPEN or row >= failures
            if step == "fail" and before is HALF_OPEN:
                assert breaker.state is OPEN
            if breaker.state is CLOSED and before is HALF_OPEN:
                row = 0
        assert 0 <= breaker.opens_in <= 30
    time.now += 30.001  # the clock is a float
    assert breaker.state is not OPEN


def test_the_numbers_of_the_states_are_those_of_the_metric() -> None:
    numbers: dict[Any, int] = {CLOSED: 0, HALF_OPEN: 1, OPEN: 2}
    assert {state: int(state) for state in State} == numbers

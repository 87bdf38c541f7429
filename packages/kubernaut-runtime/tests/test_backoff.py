from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_runtime.backoff import Backoff

seconds = st.floats(min_value=0, max_value=1e6)
policies = st.builds(
    lambda base, extra, factor, jitter: Backoff(base, base + extra, factor, jitter),
    seconds,
    seconds,
    st.floats(min_value=1, max_value=10),
    st.floats(min_value=0, max_value=1),
)
attempts = st.integers(min_value=-5, max_value=5000)
chances = st.floats(min_value=0, max_value=1, exclude_max=True)


def test_the_platform_default_grows_from_30_s_to_5_min():
    policy = Backoff(30, 300, jitter=0)
    assert [policy.wait(n) for n in (0, 1, 2, 3, 4, 5, 6)] == [30, 30, 60, 120, 240, 300, 300]


def test_a_base_of_zero_means_no_wait():
    assert Backoff(0, 300).wait(7) == 0


@given(policies, attempts, chances)
def test_a_wait_is_never_earlier_than_the_policy_and_at_most_the_jitter_later(policy, n, chance):
    exact = policy.policy(n)
    wait = policy.wait(n, lambda: chance)
    assert exact <= wait <= max(exact, min(policy.cap, exact * (1 + policy.jitter) * (1 + 1e-12)))


@given(policies, attempts, chances)
def test_a_wait_lies_between_base_and_cap(policy, n, chance):
    assert policy.base <= policy.wait(n, lambda: chance) <= policy.cap


@given(policies, st.integers(min_value=1, max_value=200))
def test_waits_never_shrink(policy, n):
    assert policy.policy(n) <= policy.policy(n + 1)


@given(policies, st.integers(max_value=1))
def test_attempts_below_one_count_as_the_first(policy, n):
    assert policy.policy(n) == policy.base


def test_endless_waits_start_anew_and_have_no_length():
    waits = Backoff(1, 8, jitter=0).endless()
    assert list(islice(waits, 6)) == [1, 2, 4, 8, 8, 8]
    assert list(islice(waits, 2)) == [1, 2]
    assert not hasattr(waits, "__len__")


@pytest.mark.parametrize(
    "values",
    [
        {"base": -1, "cap": 1},
        {"base": 2, "cap": 1},
        {"base": 1, "cap": 2, "factor": 0.5},
        {"base": 1, "cap": 2, "jitter": -1},
    ],
)
def test_an_impossible_policy_is_refused(values):
    with pytest.raises(ValueError, match="cannot use"):
        Backoff(**values)

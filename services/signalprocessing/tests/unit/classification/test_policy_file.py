"""Putting a policy's text in force: what is tried again, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from kubernaut_policy import Policy, PolicyCompileError, PolicyError, PolicyEvaluator, PolicyTimeoutError, Problem
from kubernaut_signalprocessing.classification.policy_file import LOAD_PAUSE, LOAD_TRIES, load_policy
from kubernaut_testing.clock import FakeClock

ROOT = Path(__file__).parents[5]
TEXT = b"package signalprocessing\n"


class Loading:
    """An evaluator as far as it takes a new text; `errors` come one after the other."""

    def __init__(self, *errors: PolicyError) -> None:
        self.errors = list(errors)
        self.taken: list[Policy] = []

    async def replace(self, policy: Policy) -> None:
        self.taken.append(policy)
        if self.errors:
            raise self.errors.pop(0)


async def load(evaluator: Loading) -> None:
    clock = FakeClock()
    loading = asyncio.create_task(load_policy(cast("PolicyEvaluator", evaluator), TEXT, Path("/p/policy.rego"), clock))
    await clock.advance(LOAD_PAUSE * LOAD_TRIES)
    await loading


async def test_a_compilation_that_got_no_time_is_tried_again() -> None:
    evaluator = Loading(PolicyTimeoutError("compile", 15))
    await load(evaluator)
    assert [policy.source for policy in evaluator.taken] == ["/p/policy.rego"] * 2


async def test_it_is_not_tried_for_ever() -> None:
    late: list[Any] = [PolicyTimeoutError("compile", 15) for _ in range(LOAD_TRIES)]
    evaluator = Loading(*late)
    with pytest.raises(PolicyTimeoutError):
        await load(evaluator)
    assert len(evaluator.taken) == LOAD_TRIES


async def test_a_text_that_is_no_policy_is_refused_at_once() -> None:
    evaluator = Loading(PolicyCompileError("/p/policy.rego", [Problem("no")]))
    with pytest.raises(PolicyCompileError):
        await load(evaluator)
    assert len(evaluator.taken) == 1


def test_the_shipped_policy_is_the_one_that_the_engines_are_compared_on() -> None:
    shipped = ROOT / "services/signalprocessing/src/kubernaut_signalprocessing/policy/default.rego"
    compared = ROOT / "packages/kubernaut-policy/tests/policies/signalprocessing.rego"
    assert shipped.read_bytes() == compared.read_bytes()

"""Putting a policy's text in force: what is tried again, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from kubernaut_policy import (
    Policy,
    PolicyCompileError,
    PolicyError,
    PolicyEvaluator,
    PolicyTimeoutError,
    Problem,
    Value,
)
from kubernaut_runtime import Runtime
from kubernaut_signalprocessing.classification.policy_file import (
    LOAD_PAUSE,
    LOAD_TRIES,
    check_policy,
    load_policy,
    open_policy,
)
from kubernaut_signalprocessing.config import SignalProcessingConfig
from kubernaut_testing.clock import FakeClock

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


def config_of(folder: Path, **classifier: str) -> SignalProcessingConfig:
    return SignalProcessingConfig.model_validate({"classifier": {"policyDir": str(folder), **classifier}})


def write(folder: Path, text: str) -> None:
    (folder / "policy.rego").write_text(f"package signalprocessing\n\nimport rego.v1\n\n{text}\n")


REMAINDER = 'severity := "info" if input.n % 7 == 0'
"""A rule that one engine refuses, because it would compute it wrongly, and the other takes."""


def test_the_policy_is_checked_by_the_engine_that_the_config_names(tmp_path: Path) -> None:
    write(tmp_path, REMAINDER)
    [refused] = check_policy(config_of(tmp_path))
    assert "use the engine regorus" in refused
    assert check_policy(config_of(tmp_path, engine="regorus")) == []


class Opening:
    """A runtime as far as a policy is opened with it: loads the file once."""

    def __init__(self, config: SignalProcessingConfig) -> None:
        self.config, self.clock = config, FakeClock()

    async def watch_file(self, path: Path, load: Any) -> None:
        await load(path.read_bytes())

    def on_shutdown(self, close: Any, name: str) -> None: ...


async def test_the_policy_is_evaluated_by_the_engine_that_the_config_names(tmp_path: Path) -> None:
    write(tmp_path, REMAINDER)
    evaluator = await open_policy(cast("Runtime[Any]", Opening(config_of(tmp_path, engine="regorus"))))
    try:
        answers = await evaluator.evaluate({"severity": "data.signalprocessing.severity"}, {"n": 2002})
    finally:
        await evaluator.close()
    assert answers["severity"] == Value("info")

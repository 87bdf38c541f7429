"""Putting a policy's text in force: what is tried again, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from engines_here import engine_here

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
from kubernaut_signalprocessing.classification.policy import QUERIES
from kubernaut_signalprocessing.classification.policy_file import (
    LOAD_PAUSE,
    LOAD_TRIES,
    check_policy,
    lacking,
    load_policy,
    open_policy,
)
from kubernaut_signalprocessing.config import SignalProcessingConfig
from kubernaut_testing.clock import FakeClock

RULES = {
    "environment": 'environment := {"environment": "Test", "source": "x"}',
    "priority": 'priority := {"priority": "P3", "policy_name": "x"}',
    "severity": 'severity := "info"',
}


def text_of(rules: dict[str, str], package: str = "signalprocessing") -> str:
    return "\n\n".join([f"package {package}", "import rego.v1", *rules.values()]) + "\n"


TEXT = text_of(RULES).encode()


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


def write(folder: Path, severity: str) -> None:
    (folder / "policy.rego").write_text(text_of(RULES | {"severity": severity}))


WITHOUT = [
    (text_of(RULES, "signals"), "policy.rego:1: the package is signals, and all that is asked for is in signalproc"),
    (text_of(RULES, "signalprocessing.rules"), "the package is signalprocessing.rules"),
    (text_of({}), "there is no rule environment, without which every signal would fail; write one; "),
    *(
        (text_of({name: text for name, text in RULES.items() if name != rule}), f"policy.rego: there is no rule {rule}")
        for rule in RULES
    ),
]


@pytest.mark.parametrize(("text", "why"), WITHOUT)
async def test_a_policy_by_which_every_signal_would_fail_is_refused_and_the_former_stays(
    tmp_path: Path, text: str, why: str
) -> None:
    assert lacking(TEXT.decode()) == []
    async with PolicyEvaluator(Policy(TEXT.decode()), queries=QUERIES) as evaluator:
        with pytest.raises(PolicyCompileError) as refused:
            await load_policy(evaluator, text.encode(), tmp_path / "policy.rego", FakeClock())
        answers = await evaluator.evaluate({"severity": "data.signalprocessing.severity"}, {})
    assert str(refused.value).startswith("cannot use the policy: ")
    assert why in str(refused.value)
    assert answers["severity"] == Value("info")


def test_the_check_refuses_it_too_after_what_the_engine_says(tmp_path: Path) -> None:
    (tmp_path / "policy.rego").write_text(text_of({}))
    [refused] = check_policy(config_of(tmp_path))
    assert refused.count("there is no rule") == len(RULES)
    (tmp_path / "policy.rego").write_text(text_of({"severity": "severity := nowhere"}))
    [refused] = check_policy(config_of(tmp_path))
    assert "there is no rule" not in refused


def test_the_check_tells_of_a_text_that_the_engine_dies_of_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, f"severity := {'[' * 20_000}{']' * 20_000}")
    [refused] = check_policy(config_of(tmp_path))
    assert refused.startswith("cannot compile the policy ")
    assert str(tmp_path / "policy.rego") in refused
    assert "\n" not in refused


REMAINDER = 'severity := "info" if input.n % 7 == 0'
"""A rule that one engine refuses, because it would compute it wrongly, and the other takes."""


def test_the_policy_is_checked_by_the_engine_that_the_config_names(tmp_path: Path) -> None:
    write(tmp_path, REMAINDER)
    [refused] = check_policy(config_of(tmp_path))
    assert "use the engine regorus" in refused
    assert check_policy(config_of(tmp_path, engine=engine_here("regorus"))) == []


class Opening:
    """A runtime as far as a policy is opened with it: loads the file once."""

    def __init__(self, config: SignalProcessingConfig) -> None:
        self.config, self.clock = config, FakeClock()

    async def watch_file(self, path: Path, load: Any) -> None:
        await load(path.read_bytes())

    def on_shutdown(self, close: Any, name: str) -> None: ...


async def test_the_policy_is_evaluated_by_the_engine_that_the_config_names(tmp_path: Path) -> None:
    write(tmp_path, REMAINDER)
    evaluator = await open_policy(cast("Runtime[Any]", Opening(config_of(tmp_path, engine=engine_here("regorus")))))
    try:
        answers = await evaluator.evaluate({"severity": "data.signalprocessing.severity"}, {"n": 2002})
    finally:
        await evaluator.close()
    assert answers["severity"] == Value("info")

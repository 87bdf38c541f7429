"""The policy's file: in force before the first signal is looked at, and followed.

A file that cannot be used ends the start with one line. Later, one that does not compile leaves the former policy in
force; it is told as every refused reload is. A compilation that got no time (a busy node) says nothing about the text,
so it is tried again: some times before it is told, and then at each look at the file.

A text of another package, or without one of the rules that every signal needs, compiles, and would end every signal
Failed, for good. It is refused like one that does not compile.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from kubernaut_policy import Policy, PolicyCompileError, PolicyError, PolicyEvaluator, Problem
from kubernaut_policy.syntax import may_define, package_of
from kubernaut_runtime import Clock, Runtime, StartError
from kubernaut_runtime.checked import Fact, file_fact
from kubernaut_signalprocessing.config import ClassifierSection, SignalProcessingConfig

from .policy import CLASSIFYING_QUERIES, LABELS_QUERY, MANDATORY, PACKAGE, QUERIES

ANSWERS = (*CLASSIFYING_QUERIES, *LABELS_QUERY)
"""The rules whose answers are used."""
LOAD_TRIES = 4
LOAD_PAUSE = 2.0
"""Seconds between two tries to load one text."""


async def open_policy(runtime: Runtime[SignalProcessingConfig]) -> PolicyEvaluator:
    """Return the evaluator with the policy of the config in force; `runtime` follows its file. Raises `StartError`."""
    section = runtime.config.classifier
    path = section.policy_path
    evaluator = PolicyEvaluator(engine=section.engine, queries=QUERIES)

    async def load(content: bytes) -> None:
        await load_policy(evaluator, content, path, runtime.clock)

    try:
        await evaluator.start()
        await runtime.watch_file(path, load)
    except OSError as error:
        await evaluator.close(grace=0)
        raise StartError(_unreadable(section, error)) from None
    except PolicyError as error:
        await evaluator.close(grace=0)
        raise StartError(str(error)) from None
    runtime.on_shutdown(evaluator.close, "policy")
    return evaluator


async def load_policy(evaluator: PolicyEvaluator, content: bytes, path: Path, clock: Clock) -> None:
    """Put the text in force. Raises `PolicyCompileError`, or what still was in the way after some tries."""
    policy = Policy.from_bytes(content, str(path))
    for tries_left in reversed(range(LOAD_TRIES)):
        try:
            await _take(evaluator, policy)
            return
        except PolicyError as error:
            if not (error.retryable and tries_left):
                raise
        await clock.sleep(LOAD_PAUSE)


async def _take(evaluator: PolicyEvaluator, policy: Policy) -> None:
    if problems := lacking(policy.text):
        await evaluator.check(policy)  # what the engine has to say of the text comes first
        raise PolicyCompileError(policy.source, problems)
    await evaluator.replace(policy)


def lacking(text: str) -> list[Problem]:
    """Return why no signal could be classified by this text, whatever the signal; empty = nothing is known."""
    expected = PACKAGE.removeprefix("data.")
    if (package := package_of(text)) != expected:
        return [Problem(f"the package is {package}, and all that is asked for is in {expected}; name it so", 1)]
    rules = [rule for rule in MANDATORY if not may_define(text, rule)]
    return [Problem(f"there is no rule {rule}, without which every signal would fail; write one") for rule in rules]


def check_policy(config: SignalProcessingConfig) -> list[str]:
    """Return what is wrong with the policy file that `config` names, one line each."""
    section = config.classifier
    try:
        policy = Policy.from_bytes(section.policy_path.read_bytes(), str(section.policy_path))
        asyncio.run(_compiled(policy, section.engine))
        if problems := lacking(policy.text):
            raise PolicyCompileError(policy.source, problems)
    except OSError as error:
        return [_unreadable(section, error)]
    except PolicyError as error:
        return [str(error)]
    return []


def policy_facts(config: SignalProcessingConfig) -> list[Fact]:
    """Return which policy it is, of a config whose policy was found right."""
    section = config.classifier
    policy = Policy.from_bytes(section.policy_path.read_bytes(), str(section.policy_path))
    rules = [name for name in ANSWERS if may_define(policy.text, name)]
    told = (f"package {package_of(policy.text)}", f"rules {' '.join(rules)}", f"by {section.engine}")
    return [("policy", file_fact(section.policy_path, policy.hash, *told))]


async def _compiled(policy: Policy, engine: str) -> None:
    async with PolicyEvaluator(policy, engine=engine, spares=0, queries=QUERIES):
        pass


def _unreadable(section: ClassifierSection, error: OSError) -> str:
    return (
        f"cannot read the policy {section.policy_path}: {error.strerror}; mount the ConfigMap "
        f"{section.rego_config_map_name}, or correct classifier.policyDir and classifier.regoConfigMapKey"
    )

"""Versions, deadlines, crashes: what a policy does in its process, and what the operator sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvloop
from engines_here import engine_here

from kubernaut_policy import (
    Policy,
    PolicyCompileError,
    PolicyCrashError,
    PolicyEvaluator,
    PolicyInputError,
    PolicyTimeoutError,
    PolicyUnavailableError,
    Undefined,
    Value,
    messages,
)
from kubernaut_policy.engines import ENGINES
from kubernaut_testing.waiting import eventually_async

POLICY = """package t

import rego.v1

same := input

version := 1

other := version + 1

endless := count(products) if input.endless

products contains 1 if {
	input.endless
	some a in numbers.range(1, 30000)
	some b in numbers.range(1, 30000)
	a * b < 0
}

hungry := count(numbers.range(1, 10000000)) if input.hungry
"""
SLOW = {"regopy": 350, "regorus": 1200}
"""How far the endless rule counts to take some tenths of a second instead."""
ALL = {name: f"data.t.{name}" for name in ("same", "version", "other", "endless", "hungry")}
VERSIONS = {"version": "data.t.version", "other": "data.t.other"}


def version(number: int) -> str:
    return POLICY.replace("version := 1", f"version := {number}")


@pytest.fixture(params=sorted(ENGINES))
async def evaluator(request: pytest.FixtureRequest) -> AsyncIterator[PolicyEvaluator]:
    async with PolicyEvaluator(Policy(POLICY), engine=engine_here(request.param), memory=64 << 20) as running:
        yield running


async def soon(probe: Callable[[], object], timeout: float = 20.0) -> None:
    async def ask() -> object:
        return probe()

    await eventually_async(ask, timeout=timeout, interval=0.01)


def processes(evaluator: PolicyEvaluator) -> set[int]:
    return {worker.pid for worker in evaluator._workers}


def running(pid: int) -> bool:
    return (
        Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    )


DOCUMENTS: list[Any] = [
    {"absent": {}, "null": None, "false": False, "zero": 0, "empty": "", "list": [None, [], {}]},
    {"int": 1, "negative": -7, "half": 0.5, "large": 2**53 + 1, "largest": 2**63 - 1, "small": 1e-7},
    {'quote"d\\': "l1\nl2\t\x00\x1f\x7f", "é": "😀\u2028"},
    [],
    "text",
    None,
    12,
    False,
]


async def test_the_input_arrives_as_it_is(evaluator: PolicyEvaluator) -> None:
    for document in DOCUMENTS:
        results = await evaluator.evaluate(ALL, document)
        assert results["same"] == Value(document)
        assert json.dumps(results["same"].value, sort_keys=True) == json.dumps(document, sort_keys=True)
        assert results["endless"] == Undefined()
        assert set(results) == set(ALL)


@pytest.mark.parametrize(
    "document", [{"a": float("nan")}, {"a": {1}}, {1: "a"}, {"a": ("b",)}, {"a": "\ud800"}, {"a": b"b"}, float("inf")]
)
def test_an_input_that_is_no_json_is_refused(document: Any) -> None:
    with pytest.raises(PolicyInputError, match="cannot give the input to the policy"):
        messages.document(document)


async def test_a_new_policy_answers_at_once_and_a_bad_one_changes_nothing(evaluator: PolicyEvaluator) -> None:
    first = await evaluator.evaluate(VERSIONS, {})
    assert first["version"] == Value(1)
    new = await evaluator.replace(version(2))
    second = await evaluator.evaluate(VERSIONS, {})
    assert (second["version"], second.hash) == (Value(2), new.hash)
    assert first.hash != second.hash
    with pytest.raises(PolicyCompileError):
        await evaluator.replace(version(3) + "\nbroken := \n")
    with pytest.raises(PolicyCompileError):
        await evaluator.check(Policy("no package"))
    await evaluator.check(Policy(version(4)))
    third = await evaluator.evaluate(VERSIONS, {})
    assert (third["version"], third.hash) == (Value(2), new.hash)
    assert evaluator.policy == new


async def test_no_call_mixes_versions_while_the_policy_changes(evaluator: PolicyEvaluator) -> None:
    hashes = {Policy(version(number)).hash: number for number in range(1, 12)}
    seen = set()

    async def keep_asking() -> None:
        while True:
            results = await evaluator.evaluate(VERSIONS, {})
            number = hashes[results.hash]
            assert dict(results) == {"version": Value(number), "other": Value(number + 1)}
            seen.add(number)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        askers = [group.create_task(keep_asking()) for _ in range(3)]
        for number in range(2, 12):
            await evaluator.replace(version(number))
        await soon(lambda: 11 in seen, timeout=20)
        for asker in askers:
            asker.cancel()
    assert len(seen) > 2


async def test_an_evaluation_that_runs_ends_on_the_policy_that_it_began_with(evaluator: PolicyEvaluator) -> None:
    await evaluator.replace(POLICY.replace("30000", str(SLOW[evaluator._engine])))
    began = evaluator.policy
    assert began
    asked = asyncio.create_task(evaluator.evaluate(ALL, {"endless": True}, deadline=60))
    await soon(lambda: evaluator._slots.locked())
    await evaluator.replace(version(2))
    assert not asked.done(), "it was too quick for this test"
    results = await asked
    assert (results["version"], results["endless"], results.hash) == (Value(1), Value(0), began.hash)
    assert (await evaluator.evaluate(VERSIONS, {}))["version"] == Value(2)


async def test_an_endless_policy_is_ended_and_the_spare_answers_at_once(evaluator: PolicyEvaluator) -> None:
    before = processes(evaluator)
    started = time.monotonic()
    with pytest.raises(PolicyTimeoutError, match=r"no answer within 0.3 s") as missed:
        await evaluator.evaluate(ALL, {"endless": True}, deadline=0.3)
    assert missed.value.retryable
    results = await evaluator.evaluate(VERSIONS, {})
    assert results["version"] == Value(1)
    assert time.monotonic() - started < 20
    await soon(lambda: len(processes(evaluator)) == 2)
    (dead,) = before - processes(evaluator)
    await soon(lambda: not running(dead))


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_call_waits_for_the_endless_ones_before_it_unless_there_are_more_workers(workers: int) -> None:
    deadline = 0.3 if workers == 1 else 60
    async with PolicyEvaluator(Policy(POLICY), workers=workers, deadline=deadline) as evaluator:
        endless = [asyncio.create_task(evaluator.evaluate(ALL, {"endless": True})) for _ in range(3)]
        await asyncio.sleep(0)
        assert (await evaluator.evaluate(VERSIONS, {}))["version"] == Value(1)
        assert [task.done() for task in endless] == [workers == 1] * 3
        for task in endless:
            task.cancel()
        lost = await asyncio.gather(*endless, return_exceptions=True)
        assert {type(error) for error in lost} == {PolicyTimeoutError if workers == 1 else asyncio.CancelledError}


async def test_a_policy_that_takes_too_much_memory_is_a_crash_and_the_next_call_is_well(
    evaluator: PolicyEvaluator,
) -> None:
    with pytest.raises(PolicyCrashError, match="the policy worker died") as crash:
        await evaluator.evaluate(ALL, {"hungry": True}, deadline=30)
    assert crash.value.retryable
    assert (await evaluator.evaluate(VERSIONS, {}))["version"] == Value(1)


async def test_workers_that_die_while_nobody_asks_them_fail_no_call(evaluator: PolicyEvaluator) -> None:
    dead = processes(evaluator)
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    await soon(lambda: not any(running(pid) for pid in dead))
    assert (await evaluator.evaluate(VERSIONS, {}))["version"] == Value(1)
    await soon(lambda: len(processes(evaluator)) == 2 and not dead & processes(evaluator))


async def test_a_cancelled_call_gives_its_answer_to_nobody(evaluator: PolicyEvaluator) -> None:
    asked = asyncio.create_task(evaluator.evaluate(ALL, {"endless": True}))
    await soon(lambda: evaluator._slots.locked())
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asked
    for number in range(5):
        assert (await evaluator.evaluate(ALL, {"n": number}))["same"] == Value({"n": number})


async def test_a_worker_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_TOKEN", "secret")
    async with PolicyEvaluator(Policy(POLICY), spares=0) as evaluator:
        (pid,) = processes(evaluator)
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0].decode() for entry in environment if entry}
    assert names <= {"LC_ALL", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH"}


async def test_the_end_of_the_operator_is_the_end_of_its_workers() -> None:
    async with PolicyEvaluator(Policy(POLICY), spares=0) as evaluator:
        (worker,) = evaluator._workers
        asked = asyncio.create_task(evaluator.evaluate(ALL, {"endless": True}, deadline=0.2))
        await soon(lambda: evaluator._slots.locked())
        # Nobody is left to kill it: only its own alarm is.
        worker._process.kill = lambda: None  # type: ignore[method-assign]
        with pytest.raises(PolicyTimeoutError):
            await asked
        await soon(lambda: not running(worker.pid), timeout=10)


async def test_close_waits_for_what_runs_and_refuses_what_comes() -> None:
    evaluator = PolicyEvaluator(Policy(POLICY.replace("30000", "200")))
    with pytest.raises(PolicyUnavailableError, match="not started"):
        await evaluator.evaluate(VERSIONS, {})
    await evaluator.start()
    pids = processes(evaluator)
    asked = asyncio.create_task(evaluator.evaluate(ALL, {"endless": True}, deadline=60))
    await soon(lambda: evaluator._slots.locked())
    await evaluator.close(grace=60)
    assert (await asked)["endless"] == Value(0)
    with pytest.raises(PolicyUnavailableError, match="closed"):
        await evaluator.evaluate(VERSIONS, {})
    assert not any(running(pid) for pid in pids)


async def test_an_evaluation_that_does_not_end_before_the_close_is_told_so() -> None:
    evaluator = PolicyEvaluator(Policy(POLICY))
    await evaluator.start()
    asked = asyncio.create_task(evaluator.evaluate(ALL, {"endless": True}, deadline=60))
    await soon(lambda: evaluator._idle.qsize() == 1)
    await evaluator.close(grace=0.1)
    with pytest.raises(PolicyUnavailableError, match="closed before the answer"):
        await asked


class Threads(ThreadPoolExecutor):
    """A process that may have no more threads while it is `exhausted`."""

    exhausted = False

    def submit(self, *work: Any, **options: Any) -> Any:
        """Start the work in a thread, if there may be one."""
        if self.exhausted:
            raise RuntimeError("can't start new thread")
        return super().submit(*work, **options)


async def test_a_worker_that_cannot_be_replaced_now_is_replaced_later(caplog: pytest.LogCaptureFixture) -> None:
    """Else the pool would get smaller with each death, until no signal is evaluated any more."""
    threads = Threads()
    asyncio.get_running_loop().set_default_executor(threads)
    async with PolicyEvaluator(Policy(POLICY)) as evaluator:
        (dead, *_) = processes(evaluator)
        threads.exhausted = True
        os.kill(dead, signal.SIGKILL)
        await soon(lambda: not running(dead))
        for _ in range(2):
            assert (await evaluator.evaluate(VERSIONS, {}))["version"] == Value(1)
        await soon(lambda: "can't start new thread" in caplog.text)
        threads.exhausted = False
        await soon(lambda: len(processes(evaluator)) == 2 and dead not in processes(evaluator))


async def test_without_a_policy_nothing_is_evaluated_until_there_is_one() -> None:
    async with PolicyEvaluator(spares=0) as evaluator:
        with pytest.raises(PolicyUnavailableError, match="no policy is loaded"):
            await evaluator.evaluate(VERSIONS, {})
        await evaluator.replace(POLICY.encode())
        assert (await evaluator.evaluate(VERSIONS, {}))["version"] == Value(1)


async def test_a_first_policy_that_is_bad_leaves_no_process() -> None:
    evaluator = PolicyEvaluator(Policy("broken"))
    with pytest.raises(PolicyCompileError):
        await evaluator.start()
    assert processes(evaluator) == set()


async def test_only_references_are_asked(evaluator: PolicyEvaluator) -> None:
    for query in ("1", "data", "data.t.x; http.send({})", "input.a", "data.t.version\n"):
        with pytest.raises(ValueError, match="a query is a reference"):
            await evaluator.evaluate({"q": query}, {})


def test_it_works_on_uvloop_and_in_another_thread() -> None:
    async def ask() -> object:
        async with PolicyEvaluator(Policy(POLICY), spares=0) as evaluator:
            return (await evaluator.evaluate(VERSIONS, {}))["version"]

    async def in_a_thread() -> object:
        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return await asyncio.to_thread(lambda: asyncio.Runner(loop_factory=factory).run(ask()))

    assert asyncio.run(in_a_thread()) == Value(1)


@pytest.mark.parametrize("engine", sorted(ENGINES))
async def test_what_a_policy_prints_takes_no_memory_for_long(engine: str) -> None:
    text = "package t\n\nversion := 1 if print(input.long)\n"
    async with PolicyEvaluator(
        Policy(text), engine=engine_here(engine), spares=0, queries=["data.t.version"]
    ) as evaluator:
        for _ in range(10):
            results = await evaluator.evaluate({"version": "data.t.version"}, {"long": "x" * 20_000})
            assert results["version"] == Value(1)
        (worker,) = evaluator._workers
        assert os.fstat(worker._said.fileno()).st_size < 100_000

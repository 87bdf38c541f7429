"""Evaluates policies for an operator: always one version a call, always under a deadline, never in its own process.

There are `workers` evaluations at a time and `workers + spares` processes. A worker that misses the deadline or dies
is killed, the spare takes its place at once, and a new one is started behind the scenes; so a replacement costs nothing
that anybody sees, and an endless policy costs one worker a call.

A new text is compiled in a worker first. What does not compile raises there and changes nothing. What does is in force
from then on: a call takes its version when it gets a worker, and a worker is not given another before it answered. So
an object never mixes versions, and its hash is that of the answers.

Deadline: the longest allowance that the contract gives a rule is 5 s, and a healthy evaluation takes below 10 ms. Rules
of the contract with 100 ms end an object's life when the node is short of CPU; here a missed deadline is retryable,
and since it kills a worker it is generous.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType

from kubernaut_policy import messages
from kubernaut_policy.errors import PolicyCrashError, PolicyError, PolicyUnavailableError
from kubernaut_policy.policy import JsonValue, Policy, Results
from kubernaut_policy.process import WorkerProcess

__all__ = ["DEADLINE", "MEMORY", "PolicyEvaluator"]

log = logging.getLogger(__name__)

DEADLINE = 5.0
"""Seconds that one call may take in the worker."""
MEMORY = 256 * 1024 * 1024
"""Bytes that a worker may map beyond its engine."""

_QUERY = re.compile(r"data(\.[A-Za-z_][A-Za-z0-9_]*)+\Z")
_REMEMBERED = 16


class PolicyEvaluator:
    """Workers with a policy. Use as an async context manager, or `start` and `close` it.

    Args:
        policy: the first policy; None = `evaluate` raises until `replace` gave one.
        engine: `regopy` or `regorus`.
        workers: evaluations at a time.
        spares: idle processes that wait for one to die.
        deadline: seconds of one evaluation, without the waiting for a free worker.
        compile_timeout: seconds of one compilation, and of the start of a process.
        memory: bytes that a worker may map beyond its engine.
        queries: references that will be asked, prepared with each load; others are remembered when first asked.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        engine: str = "regopy",
        workers: int = 1,
        spares: int = 1,
        deadline: float = DEADLINE,
        compile_timeout: float = 15.0,
        memory: int = MEMORY,
        queries: Sequence[str] = (),
    ) -> None:
        self._first = policy
        self._policy: Policy | None = None
        self._engine, self._count, self._memory = engine, workers + spares, memory
        self._deadline, self._compile_timeout = deadline, compile_timeout
        self._queries = dict.fromkeys(_checked(query) for query in queries)
        self._slots = asyncio.Semaphore(workers)
        self._idle: asyncio.Queue[WorkerProcess] = asyncio.Queue()
        self._workers: set[WorkerProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Lock()
        self._started = self._closed = False

    @property
    def policy(self) -> Policy | None:
        """The policy in force."""
        return self._policy

    async def start(self) -> None:
        """Start the workers and compile the first policy.

        Raises PolicyCompileError for a policy that is none, PolicyUnavailableError for an engine that is not installed.
        """
        try:
            started = await asyncio.gather(*(self._add() for _ in range(self._count)), return_exceptions=True)
            for failed in started:
                if failed is not None:
                    raise failed
            self._started = True
            if self._first is not None:
                await self.replace(self._first)
        except BaseException:
            await self.close(grace=0)
            raise

    async def replace(self, policy: Policy | str | bytes) -> Policy:
        """Put another text in force, and return it with its hash. Evaluations that run finish on the former.

        Raises PolicyCompileError; then, and after any other error, the former policy stays in force.
        """
        if isinstance(policy, bytes):
            policy = Policy.from_bytes(policy)
        new = policy if isinstance(policy, Policy) else Policy(policy)
        async with self._replacing:
            if self._policy is not None and self._policy.hash == new.hash:
                return new
            async with self._worker() as worker:
                await worker.load(new, [*self._queries], self._compile_timeout)
                self._policy = new
            await self._refresh()
        return new

    async def check(self, policy: Policy) -> None:
        """Compile a policy without using it. Raises PolicyCompileError."""
        async with self._worker() as worker:
            await worker.load(policy, [], self._compile_timeout)

    async def evaluate(
        self, queries: Mapping[str, str], document: JsonValue, *, deadline: float | None = None
    ) -> Results:
        """Answer several queries over one input with one version of the policy.

        Args:
            queries: name -> reference below `data`, such as `{"severity": "data.signalprocessing.severity"}`.
            document: the input: dicts, lists, strings, numbers, booleans, None; passed exactly.
            deadline: seconds, for this call.

        Raises PolicyTimeoutError, PolicyCrashError, PolicyInputError, PolicyUnavailableError; ValueError for a query
        that is no reference. A rule that fails is a `Failure` among the answers.
        """
        for query in queries.values():
            _checked(query)
        encoded = messages.document(document)
        if self._started and self._policy is None:
            raise PolicyUnavailableError("cannot evaluate: no policy is loaded")
        async with self._slots, self._worker() as worker:
            policy = self._policy
            assert policy is not None
            if worker.hash != policy.hash:
                await worker.load(policy, [*self._queries], self._compile_timeout)
            if len(self._queries) < _REMEMBERED:
                self._queries.update(dict.fromkeys(queries.values()))
            answers = await worker.evaluate(queries, encoded, self._deadline if deadline is None else deadline)
        return Results(policy.hash, answers)

    async def close(self, *, grace: float = 5.0) -> None:
        """End the workers; evaluations that run have `grace` seconds. What is not answered by then, and what is asked
        later, raises PolicyUnavailableError.
        """
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._workers and self._started:
                    worker = await self._idle.get()
                    self._workers.discard(worker)
                    await worker.stop()
        for worker in list(self._workers):
            self._workers.discard(worker)
            await worker.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> PolicyEvaluator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[WorkerProcess]:
        """A worker for the time of the block; if the block ends badly, a new one takes its place."""
        if self._closed or not self._started:
            raise PolicyUnavailableError(
                "cannot evaluate: the evaluator is " + ("closed" if self._closed else "not started")
            )
        try:
            async with asyncio.timeout(self._compile_timeout):
                worker = await self._idle.get()
                while worker.died:  # while nobody asked it: that is no caller's failure
                    self._workers.discard(worker)
                    self._background(self._replace_dead(worker))
                    worker = await self._idle.get()
        except TimeoutError:
            raise PolicyUnavailableError(
                f"cannot evaluate: no policy worker became free within {self._compile_timeout:g} s", retryable=True
            ) from None
        good = False
        try:
            yield worker
            good = True
        except PolicyError as error:
            good = not error.retryable and not isinstance(error, PolicyUnavailableError)
            if self._closed and isinstance(error, PolicyCrashError):
                raise PolicyUnavailableError("cannot evaluate: the evaluator was closed before the answer") from None
            raise
        finally:
            if good:
                self._idle.put_nowait(worker)
            else:
                # Also when the caller was cancelled: what the worker would say next is nobody's answer.
                self._workers.discard(worker)
                self._background(self._replace_dead(worker))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace_dead(self, worker: WorkerProcess) -> None:
        pause = 0.1
        while True:
            try:
                await worker.kill()
                if not self._closed:
                    await self._add()
                return
            except Exception as error:  # noqa: BLE001 whatever it is (no thread can be started): the pool must not shrink
                log.warning("cannot replace a policy worker, trying again in %g s: %s", pause, error)
            if self._closed:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30.0)

    async def _add(self) -> None:
        worker = await WorkerProcess.start(self._engine, memory=self._memory, timeout=self._compile_timeout)
        self._workers.add(worker)
        if self._policy is not None:
            try:
                await worker.load(self._policy, [*self._queries], self._compile_timeout)
            except BaseException:
                self._workers.discard(worker)
                await worker.kill()
                raise
        self._idle.put_nowait(worker)

    async def _refresh(self) -> None:
        """Give the policy in force to the workers that are idle now; the busy ones load it when they are asked next."""
        for _ in range(self._idle.qsize()):
            # The policy is in force already: a worker that fails over it is replaced, and that is all.
            with contextlib.suppress(PolicyError):
                async with self._worker() as worker:
                    if self._policy is not None and worker.hash != self._policy.hash:
                        await worker.load(self._policy, [*self._queries], self._compile_timeout)


def _checked(query: str) -> str:
    if not _QUERY.match(query):
        raise ValueError(f"cannot ask {query!r}: a query is a reference such as data.<package>.<rule>")
    return query

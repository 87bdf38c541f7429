"""Engines for tests, in worker processes: rego-cpp in a process with other native libraries may end it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from kubernaut_policy import Answer, Policy, PolicyCompileError, Problem, messages


class Engine:
    """One worker process, asked synchronously; a new one when it died."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loaded = ""
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "kubernaut_policy.worker", self._name, str(256 << 20)]
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        with ours:
            self._stream = ours.makefile("rwb")
        assert json.loads(self._stream.readline())["ready"] == self._name

    def _ask(self, message: dict[str, Any], more: bytes = b"") -> dict[str, Any]:
        self._stream.write(messages.line({**message, "alarm": 30.0}) + more)
        self._stream.flush()
        answer = self._stream.readline()
        if not answer:
            status = self._process.wait()
            self._start()
            self._loaded = ""
            pytest.fail(f"the worker died: {status}")
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def load(self, policy: Policy, queries: Sequence[str] = ()) -> None:
        """Compile; raises PolicyCompileError."""
        load = {"do": "load", "hash": policy.hash, "source": policy.source, "text": policy.text}
        answer = self._ask({**load, "queries": list(queries)})
        if "problems" in answer:
            raise PolicyCompileError(policy.source, [Problem(*problem) for problem in answer["problems"]])
        assert answer == {"ok": True}
        self._loaded = policy.hash

    def evaluate(self, queries: Mapping[str, str], document: Any) -> dict[str, Answer]:
        """Ask the policy that was loaded last."""
        message = {"do": "evaluate", "hash": self._loaded, "queries": dict(queries)}
        answers = self._ask(message, messages.document(document))["answers"]
        return {name: messages.answer_from_wire(wire) for name, wire in answers.items()}

    def close(self) -> None:
        """End it."""
        self._stream.close()
        assert self._process.wait(10) == 0, "a worker ends well when its pipe ends"


@pytest.fixture(scope="session")
def engine_of() -> Iterator[Callable[[str], Engine]]:
    """The engine of a name, one process a session."""
    running: dict[str, Engine] = {}

    def get(name: str) -> Engine:
        if name not in running:
            running[name] = Engine(name)
        return running[name]

    yield get
    for one in running.values():
        one.close()

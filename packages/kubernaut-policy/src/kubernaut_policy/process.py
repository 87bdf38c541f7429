"""One worker process, seen from the operator: started, asked, killed.

The pipe is a socket pair, and the process is started in a thread: asyncio's own subprocesses need a child watcher that
not every loop has in every thread. That the process ended shows as the end of the stream.

The environment is scrubbed: a policy's author must not read the operator's variables, and a native library must not be
steered by them. What the interpreter needs to find this package is all that stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

from kubernaut_policy.errors import (
    PolicyCompileError,
    PolicyCrashError,
    PolicyInputError,
    PolicyTimeoutError,
    PolicyUnavailableError,
    Problem,
)
from kubernaut_policy.messages import MAX_LINE, answer_from_wire, line
from kubernaut_policy.policy import Answer, Policy

__all__ = ["WorkerProcess"]

_KEPT = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ALARM_AFTER = 1.0
_SAID = 64 * 1024
"""Bytes of what a worker printed that are kept from one answer to the next, at most."""


class WorkerProcess:
    """A running worker. After any exception of its methods but PolicyCompileError it is of no use: `kill` it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        said: IO[bytes],
    ) -> None:
        self._process, self._reader, self._writer, self._said = process, reader, writer, said
        self.hash = ""
        """Hash of the policy that is loaded in it."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def died(self) -> bool:
        """Whether its process has ended; by itself, or by somebody's hand."""
        return self._process.poll() is not None or self._reader.at_eof()

    @classmethod
    async def start(cls, engine: str, *, memory: int, timeout: float) -> WorkerProcess:
        """Start a worker and wait until its engine is loaded, at most `timeout` seconds.

        Raises PolicyUnavailableError if the engine is not installed, PolicyTimeoutError, PolicyCrashError.
        """
        ours, theirs = socket.socketpair()
        said = os.fdopen(os.memfd_create("said"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            process = await asyncio.to_thread(_spawn, engine, memory, theirs, said)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE)
        worker = cls(process, reader, writer, said)
        try:
            await worker._hear("start a policy worker", timeout)
        except BaseException:
            await worker.kill()
            raise
        return worker

    async def load(self, policy: Policy, queries: Sequence[str], timeout: float) -> None:
        """Compile a policy and keep it in place of the former.

        Raises PolicyCompileError (the former stays), PolicyTimeoutError, PolicyCrashError.
        """
        request = {
            "do": "load",
            "hash": policy.hash,
            "source": policy.source,
            "text": policy.text,
            "queries": list(queries),
            "alarm": timeout + _ALARM_AFTER,
        }
        answer = await self._ask(line(request), f"compile the policy {policy.source}", timeout)
        if "problems" in answer:
            raise PolicyCompileError(policy.source, [Problem(*problem) for problem in answer["problems"]])
        self.hash = policy.hash

    async def evaluate(self, queries: Mapping[str, str], document: bytes, deadline: float) -> dict[str, Answer]:
        """Answer queries over one input (`messages.document`) with the policy that is loaded.

        Raises PolicyTimeoutError, PolicyCrashError, PolicyInputError (the answer is too large).
        """
        request = {"do": "evaluate", "hash": self.hash, "queries": dict(queries), "alarm": deadline + _ALARM_AFTER}
        answer = await self._ask(line(request) + document, "evaluate the policy", deadline)
        return {name: answer_from_wire(wire) for name, wire in answer["answers"].items()}

    async def stop(self, grace: float = 1.0) -> None:
        """Let an idle worker end by itself, and kill it when it takes longer than `grace` seconds."""
        self._writer.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, grace)
        await self.kill()

    async def kill(self) -> None:
        """End the worker now, whatever it does. Safe to call again."""
        self._process.kill()
        self._writer.close()
        await asyncio.to_thread(self._process.wait)
        self._said.close()

    async def _ask(self, request: bytes, what: str, timeout: float) -> dict[str, Any]:
        self._writer.write(request)
        return await self._hear(what, timeout)

    async def _hear(self, what: str, timeout: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout):
                with contextlib.suppress(ConnectionError):
                    await self._writer.drain()
                answered = await self._reader.readline()
        except TimeoutError:
            raise PolicyTimeoutError(what, timeout) from None
        except (ConnectionError, ValueError):
            answered = b""
        if not answered.endswith(b"\n"):
            status = await asyncio.to_thread(self._status)
            raise PolicyCrashError(what, status, self._last_words())
        self._forget_words()
        message: dict[str, Any] = json.loads(answered)
        if "error" in message:
            kind = PolicyInputError if "hand back" in message["error"] else PolicyUnavailableError
            raise kind(message["error"])
        return message

    def _status(self) -> int | None:
        try:
            return self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            return None

    def _forget_words(self) -> None:
        """Drop what was printed, if it is much: a policy may print at each evaluation, and the file is in memory."""
        if not self._said.closed and os.fstat(self._said.fileno()).st_size > _SAID:
            os.ftruncate(self._said.fileno(), 0)
            os.lseek(self._said.fileno(), 0, os.SEEK_SET)  # the worker's place too: it writes to the same open file

    def _last_words(self) -> str:
        if self._said.closed:  # `kill` was quicker
            return ""
        size = os.fstat(self._said.fileno()).st_size
        tail = os.pread(self._said.fileno(), 1000, max(0, size - 1000)).decode(errors="replace")
        return " ".join(tail.split())[-300:]


def _spawn(engine: str, memory: int, channel: socket.socket, said: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # -P: the working directory must not shadow a module. -m: the code is the installed package, nothing is sent.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "kubernaut_policy.worker", engine, str(memory)],
        stdin=channel.fileno(),
        stdout=said,
        stderr=said,
        env={**environment, "LC_ALL": "C.UTF-8"},
        start_new_session=True,  # a signal to the operator's group must not take the workers first
    )

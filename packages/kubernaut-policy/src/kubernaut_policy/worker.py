"""The process in which policies run: `python -m kubernaut_policy.worker <engine> <memory in bytes>`.

It speaks over its standard input (see `messages`), which is a socket, and ends when that ends. Two things protect the
machine even if nobody is left to kill it: an alarm whose default action ends the process, set before each piece of work
to a little more than the deadline, and a limit of address space.

The limit counts from what is mapped once the engine is loaded: rego-cpp's allocator reserves 256 GB of address space
at its start, which costs nothing and would make an absolute limit meaningless.

Nothing here is asynchronous, and one worker does one thing at a time. Nothing native is loaded beside the engine:
rego-cpp brings its own allocator, and in a process with other libraries (aiohttp's are enough) a `free` of one meets
memory of the other and ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Protocol

from kubernaut_policy.engines import CompiledPolicy, PolicyEngine, engine
from kubernaut_policy.errors import PolicyCompileError, PolicyError
from kubernaut_policy.messages import MAX_LINE, answer_to_wire, line
from kubernaut_policy.policy import Policy

__all__ = ["main", "serve"]


class Stream(Protocol):
    """Both directions of the pipe."""

    def readline(self, size: int = -1, /) -> bytes:
        """The next line, or nothing at the end."""

    def write(self, data: bytes, /) -> int:
        """Buffer bytes."""

    def flush(self) -> None:
        """Send what is buffered."""


def main(arguments: list[str]) -> int:
    """Serve the socket on standard input until it ends; returns the exit status."""
    name, memory = arguments[0], int(arguments[1])
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the operator's to handle
    stream = channel.makefile("rwb")
    try:
        chosen = engine(name)
    except PolicyError as error:
        _say(stream, {"error": str(error)})
        return 1
    limit_memory(memory)
    _say(stream, {"ready": name, "memory": memory})
    serve(stream, chosen)
    return 0


def limit_memory(extra: int) -> None:
    """Let this process map at most `extra` bytes more than it has mapped by now, and leave no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mapped = 0
    with contextlib.suppress(OSError):  # not Linux: the limit is absolute
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with contextlib.suppress(ValueError, OSError):  # a lower limit is already in force
        resource.setrlimit(resource.RLIMIT_AS, (mapped + extra, mapped + extra))


def serve(stream: Stream, chosen: PolicyEngine) -> None:
    """Answer requests until the stream ends. One policy is kept: the one that was loaded last."""
    loaded: tuple[str, CompiledPolicy] | None = None
    while request := stream.readline(MAX_LINE):
        message = json.loads(request)
        signal.setitimer(signal.ITIMER_REAL, message["alarm"])
        if message["do"] == "load":
            answer, compiled = _load(chosen, message)
            if compiled:
                loaded = (message["hash"], compiled)
        else:
            answer = _evaluate(loaded, message, stream.readline(MAX_LINE).decode())
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(stream, answer)


def _load(chosen: PolicyEngine, message: dict[str, Any]) -> tuple[dict[str, Any], CompiledPolicy | None]:
    policy = Policy(message["text"], message["source"], message["hash"])
    try:
        return {"ok": True}, chosen.compile(policy, message["queries"])
    except PolicyCompileError as error:
        return {"problems": [[problem.message, problem.line, problem.column] for problem in error.problems]}, None
    except PolicyError as error:
        return {"error": str(error)}, None


def _evaluate(loaded: tuple[str, CompiledPolicy] | None, message: dict[str, Any], document: str) -> dict[str, Any]:
    if loaded is None or loaded[0] != message["hash"]:
        return {"error": "cannot evaluate: that policy is not loaded in this worker"}
    answers = loaded[1].evaluate(message["queries"], document.rstrip("\n"))
    return {"answers": {name: answer_to_wire(answer) for name, answer in answers.items()}}


def _say(stream: Stream, message: dict[str, Any]) -> None:
    said = line(message)
    if len(said) > MAX_LINE:
        said = line({"error": f"cannot hand back the answer: {len(said)} bytes are more than {MAX_LINE}"})
    stream.write(said)
    stream.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The errors of the policy package.

    PolicyError
    ├── PolicyCompileError        the text is no policy; `problems` say where and what; the last good one stays
    ├── PolicyInputError          the input is no JSON document, or the answer is too large; nothing was decided
    ├── PolicyUnavailableError    no policy was loaded, the engine is not installed, the evaluator is closed
    ├── PolicyTimeoutError        no answer within the deadline; the worker was killed; retryable
    └── PolicyCrashError          the worker died (native crash, memory limit); retryable

`retryable` tells whether the same call may succeed later. A starved node explains a timeout as well as an endless
policy does, so neither it nor a crash says anything about the object; who retries bounds the number of tries.

That one rule fails to evaluate is not an exception but an answer (`Failure`): the other rules have theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "PolicyCompileError",
    "PolicyCrashError",
    "PolicyError",
    "PolicyInputError",
    "PolicyTimeoutError",
    "PolicyUnavailableError",
    "Problem",
]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a policy's text. `line` and `column` count from 1; 0 = not known."""

    message: str
    line: int = 0
    column: int = 0


class PolicyError(Exception):
    """The root of everything that this package raises on purpose."""

    retryable: bool = False
    """Whether the same call may succeed later without anybody changing the policy."""


class PolicyCompileError(PolicyError):
    """The text cannot be used as a policy. `source` is the name that it was given, usually its file."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = [f"{source}{_position(problem)}: {problem.message}" for problem in self.problems]
        super().__init__("cannot use the policy: " + "; ".join(lines))

    def __reduce__(self) -> tuple[type[PolicyCompileError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.source, self.problems)


def _position(problem: Problem) -> str:
    if not problem.line:
        return ""
    return f":{problem.line}:{problem.column}" if problem.column else f":{problem.line}"


class PolicyInputError(PolicyError):
    """The input cannot be handed over exactly, or the answer cannot be handed back."""


class PolicyUnavailableError(PolicyError):
    """There is nothing to evaluate with: no policy, no engine, no free worker (retryable), or the evaluator closed."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        self.retryable = retryable
        super().__init__(message)


class PolicyTimeoutError(PolicyError):
    """No answer within `deadline` seconds. The worker was killed and replaced."""

    retryable = True

    def __init__(self, what: str, deadline: float) -> None:
        self.deadline = deadline
        super().__init__(
            f"cannot {what}: no answer within {deadline:g} s. Either the policy does not end for this input, "
            "or the process gets too little CPU time"
        )


class PolicyCrashError(PolicyError):
    """The worker process died. `status` is its exit status, negative for a signal; None if it is not known."""

    retryable = True

    def __init__(self, what: str, status: int | None, said: str = "") -> None:
        self.status = status
        super().__init__(
            f"cannot {what}: the policy worker died (exit status {status})" + (f", saying: {said}" if said else "")
        )

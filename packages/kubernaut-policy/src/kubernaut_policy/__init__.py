"""Rego policies for operators: checked, evaluated in a process of their own under a deadline, reloaded while running.

    async with PolicyEvaluator(Policy.from_bytes(content), queries=["data.shop.price"]) as evaluator:
        results = await evaluator.evaluate({"price": "data.shop.price"}, {"item": "pen"})
        match results["price"]:
            case Value(price): ...
            case Undefined(): ...
            case Failure(message): ...

`policy` has the words, `errors` the exceptions, `evaluator` the versions and the pool, `process` and `worker` the two
ends of a pipe, `engines` the Rego implementations, `syntax` and `plan` what is checked beyond them.

The evaluator is imported when it is first named: a worker imports this package too, and has no use for asyncio.
"""

from typing import TYPE_CHECKING, Any

from kubernaut_policy.errors import (
    PolicyCompileError,
    PolicyCrashError,
    PolicyError,
    PolicyInputError,
    PolicyTimeoutError,
    PolicyUnavailableError,
    Problem,
)
from kubernaut_policy.policy import Answer, Failure, Policy, Results, Undefined, Value

if TYPE_CHECKING:
    from kubernaut_policy.evaluator import DEADLINE, MEMORY, PolicyEvaluator

__all__ = [
    "DEADLINE",
    "MEMORY",
    "Answer",
    "Failure",
    "Policy",
    "PolicyCompileError",
    "PolicyCrashError",
    "PolicyError",
    "PolicyEvaluator",
    "PolicyInputError",
    "PolicyTimeoutError",
    "PolicyUnavailableError",
    "Problem",
    "Results",
    "Undefined",
    "Value",
]


def __getattr__(name: str) -> Any:
    if name not in ("DEADLINE", "MEMORY", "PolicyEvaluator"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kubernaut_policy import evaluator

    return getattr(evaluator, name)

"""What an engine is, and which there are.

An engine turns a policy into something that answers queries; it is used inside of a worker process only, where it may
crash, hang or print. Everything about processes, deadlines and versions is elsewhere.

* `regopy` (default): rego-cpp, Microsoft's C++ implementation, from its own wheel.
* `regorus` (extra `regorus`): Microsoft's Rust implementation, from a third party's wheel (`celine-regorus`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kubernaut_policy.errors import PolicyUnavailableError
from kubernaut_policy.policy import Answer, Policy

__all__ = ["ENGINES", "CompiledPolicy", "PolicyEngine", "engine"]


class CompiledPolicy(Protocol):
    """One policy, ready to answer."""

    def evaluate(self, queries: Mapping[str, str], document: str) -> dict[str, Answer]:
        """Answer queries over one input.

        Args:
            queries: name -> reference to a rule or a package, such as `data.signalprocessing.environment`.
            document: the input as JSON text; it reaches the policy as it is, with its nulls and absent keys.
        """


class PolicyEngine(Protocol):
    """Compiles policies. `name` is its key in `ENGINES`."""

    name: str

    def compile(self, policy: Policy, queries: Sequence[str] = ()) -> CompiledPolicy:
        """Check and compile a policy; `queries` are prepared at once, others at their first use.

        Raises PolicyCompileError for a text that OPA would refuse, as far as the engine can tell.
        """


def _regopy() -> PolicyEngine:
    from kubernaut_policy.engines.regopy import RegopyEngine

    return RegopyEngine()


def _regorus() -> PolicyEngine:
    from kubernaut_policy.engines.regorus import RegorusEngine

    return RegorusEngine()


ENGINES: dict[str, Callable[[], PolicyEngine]] = {"regopy": _regopy, "regorus": _regorus}
"""The engines by name. Calling one imports its native library."""


def engine(name: str) -> PolicyEngine:
    """The engine of that name. Raises PolicyUnavailableError if there is none or it is not installed."""
    if name not in ENGINES:
        raise PolicyUnavailableError(
            f"cannot use the policy engine {name!r}: choose one of {', '.join(sorted(ENGINES))}"
        )
    try:
        return ENGINES[name]()
    except ImportError as error:
        raise PolicyUnavailableError(
            f"cannot use the policy engine {name!r}: {error}; install it with `pip install 'kubernaut-policy[{name}]'`"
        ) from None

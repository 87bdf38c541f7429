"""The optional engine: regorus, from the wheel `celine-regorus`.

Ten times quicker than regopy and closer to OPA over strings. What differs from OPA and cannot be changed through its
binding: an error of a built-in (`count(null)`, `1/0`) is a failure of the query, where OPA goes on with "undefined".
Loud, and never another decision.

It finds some faults of the text (a call of an unknown function) only when their rule is evaluated, so a policy is asked
once over an empty input when it is compiled. What that does not reach fails loudly later, at the first input that does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from regorus import Engine

from kubernaut_policy import syntax
from kubernaut_policy.errors import PolicyCompileError, Problem
from kubernaut_policy.negation import as_opa
from kubernaut_policy.policy import Answer, Failure, Policy, Undefined, Value

__all__ = ["RegorusEngine"]

_WHERE = re.compile(r"-->\s*.*?:(\d+):(\d+)")
_WHAT = re.compile(r"^error: (.*)$", re.MULTILINE)
_TEXT_IS_WRONG = re.compile(
    r"could not find function|is unsafe|used before definition|cyclic|expects \d+ argument|mismatch in number|recursion"
)


class RegorusEngine:
    """The engine `regorus`."""

    name = "regorus"

    def compile(self, policy: Policy, queries: Sequence[str] = ()) -> RegorusPolicy:
        """Check and compile; see `PolicyEngine.compile`."""
        if problems := syntax.check(policy.text):
            raise PolicyCompileError(policy.source, problems)
        for text in (policy.text, as_opa(policy.text)):  # the first tells columns as the author has them
            engine = Engine()
            try:
                engine.add_policy(policy.source, text)
            except Exception as error:  # noqa: BLE001 the binding raises RuntimeError, and PyO3's panic
                raise PolicyCompileError(policy.source, [_problem(str(error))]) from None
        engine.set_input_json("{}")
        for query in dict.fromkeys([*queries, *engine.get_packages()]):
            try:
                engine.eval_query_as_json(query)
            except Exception as error:  # noqa: BLE001
                problem = _problem(str(error))
                if _TEXT_IS_WRONG.search(problem.message):
                    raise PolicyCompileError(policy.source, [problem]) from None
        return RegorusPolicy(policy)


class RegorusPolicy:
    """A policy compiled by regorus."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._document = policy, "null"
        self._engine = _loaded(policy)

    def evaluate(self, queries: Mapping[str, str], document: str) -> dict[str, Answer]:
        """Answer queries; see `CompiledPolicy.evaluate`."""
        self._document = document
        self._engine.set_input_json(document)
        return {name: self._ask(query) for name, query in queries.items()}

    def _ask(self, query: str) -> Answer:
        try:
            text = self._engine.eval_query_as_json(query)
        except BaseException as error:
            if not isinstance(error, Exception):
                if type(error).__name__ != "PanicException":  # PyO3's, made by each extension and exported by none
                    raise
                document, self._engine = self._document, _loaded(self._policy)  # what a panic left is not to be used
                self._engine.set_input_json(document)
            problem = _problem(str(error))
            return Failure(f"{problem.message} (line {problem.line})" if problem.line else problem.message)
        result = json.loads(text).get("result") or []
        return Value(result[0]["expressions"][0]["value"]) if result else Undefined()


def _loaded(policy: Policy) -> Engine:
    engine = Engine()
    engine.add_policy(policy.source, as_opa(policy.text))
    return engine


def _problem(error: str) -> Problem:
    said = error.split("Stack backtrace")[0]
    where, what = _WHERE.search(said), _WHAT.search(said)
    message = (what.group(1) if what else " ".join(said.split())[:300]).strip().rstrip(":")
    return Problem(message, int(where.group(1)), int(where.group(2))) if where else Problem(message)

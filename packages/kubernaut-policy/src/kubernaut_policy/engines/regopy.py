"""The default engine: rego-cpp through `regopy`.

What a user of the library has to know, each seen with 1.5.2 and shown by a test:

* A module compiles once into a bundle (milliseconds); a query over a bundle takes 0.1-0.5 ms, over the text 2-9 ms.
* It keeps strings as JSON spells them, escapes included. So the input goes in as JSON text (the binding's own
  conversion writes broken JSON for a quote, cuts at NUL, and knows floats to six digits only), and literals are
  respelled (`syntax.plain_escapes`). Built-ins that look inside of a string (`ESCAPE_SENSITIVE`) still see `\\n` as
  two characters: such a policy over such an input fails instead of deciding something else than OPA would.
* `max`, `min` and `sort` compare numbers by their digits as text (`max([9, 10])` is 9); the operators `<` and `<=` do
  not. So calls of the three are led to a module of ours (`_COMPAT`).
* `%` is wrong from 1000 on (`1123 % 7` is 5), so a policy with it is refused.
* Its compiler refuses less than OPA's: `plan.check` makes up for that.
* A failed query is told in the text of its output, and with some errors the output even counts as good.
* An interpreter mixes up the entry points of bundles that it built (`_Built`).
* Its allocator does not agree with every other library of a process: see `worker`.
* Some faults end the process (a null pointer is passed on by the binding): hence the worker.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regopy import Bundle, Interpreter, RegoError
from regopy.rego_shared import (
    NodeKind,
    rego_bundle_query_entrypoint,
    rego_free_output,
    rego_node_get,
    rego_node_size,
    rego_node_type,
    rego_node_value,
    rego_output_node,
    rego_output_string,
)

from kubernaut_policy import plan, syntax
from kubernaut_policy.errors import PolicyCompileError, PolicyUnavailableError, Problem
from kubernaut_policy.negation import as_opa
from kubernaut_policy.policy import Answer, Failure, Policy, Undefined, Value

__all__ = ["ESCAPE_SENSITIVE", "RegopyEngine"]

_SENSITIVE_PREFIXES = ("regex.", "base64.", "base64url.", "hex.", "crypto.", "urlquery.", "strings.", "trim", "glob.")
ESCAPE_SENSITIVE = frozenset({"upper", "substring", "indexof", "indexof_n", "format_int", *_SENSITIVE_PREFIXES})
"""Built-ins (or beginnings of their names) that give another answer for a string with a quote, backslash or control
character than OPA does, since they see its escaped spelling."""

_LED = {
    "max": "data.kubernaut_compat.largest_of",
    "min": "data.kubernaut_compat.smallest_of",
    "sort": "data.kubernaut_compat.sorted",
}
_COMPAT = """package kubernaut_compat

largest_of(items) := largest if {
	some largest in items
	every item in items { item <= largest }
}

smallest_of(items) := smallest if {
	some smallest in items
	every item in items { item >= smallest }
}

numeric(items) if {
	is_array(items)
	every item in items { is_number(item) }
}

numeric(items) if {
	is_set(items)
	every item in items { is_number(item) }
}

sorted(items) := sort(items) if not numeric(items)

sorted(items) := [item |
	some rank in numbers.range(0, count(items) - 1)
	item := items[index]
	rank == count([1 | other := items[at]; before(other, at, item, index)])
] if {
	numeric(items)
	count(items) > 0
}

sorted(items) := [] if {
	numeric(items)
	count(items) == 0
}

before(one, _, other, _) if one < other

before(one, at, other, index) if {
	one == other
	at < index
}
"""

_AT = re.compile(r"error \d+:.*?\|(\d+)\|\d+\s*\(errormsg \d+:([^)\n]*)")
_PRINTED = re.compile(r"^(?:-- )?[^\s:]+:(\d+):(\d+):?[ \t]*(.*)$", re.MULTILINE)
_ESCAPED = re.compile(r'\\(?:["\\bfnrt]|u00[01])')


class RegopyEngine:
    """The engine `regopy`."""

    name = "regopy"

    def compile(self, policy: Policy, queries: Sequence[str] = ()) -> RegopyPolicy:
        """Check and compile; see `PolicyEngine.compile`."""
        if problems := syntax.check(policy.text):
            raise PolicyCompileError(policy.source, problems)
        if problems := [
            Problem("the engine regopy computes `%` wrongly; use the engine regorus", token.line, token.column)
            for token in syntax.tokens(policy.text)
            if token.text == "%"
        ]:
            raise PolicyCompileError(policy.source, problems)
        text = _spelled_for_the_engine(as_opa(policy.text))
        asked = frozenset({f"data.{syntax.package_of(text)}", *queries})
        try:
            interpreter, bundle = _build(policy.source, text, asked)
        except PolicyCompileError:
            _build(policy.source, _spelled_for_the_engine(policy.text), asked)  # tells columns as the author has them
            raise
        decoded = _plan(interpreter, bundle)
        if problems := plan.check(decoded, interpreter.is_builtin):
            raise PolicyCompileError(policy.source, problems)
        return RegopyPolicy(policy, text, _Built(asked, interpreter, bundle), plan.builtins_used(decoded))


@dataclass(frozen=True)
class _Built:
    """A bundle and what it can be asked.

    An interpreter builds one bundle in its life: with a second one, the entry points of both are mixed up, and a
    query is answered with the value of another rule.
    """

    queries: frozenset[str]
    interpreter: Interpreter
    bundle: Bundle


class RegopyPolicy:
    """A policy compiled by regopy for all references that were asked so far."""

    def __init__(self, policy: Policy, text: str, built: _Built, builtins: set[str]) -> None:
        self._source, self._text, self._built = policy.source, text, built
        self._paths = syntax.input_paths(policy.text)
        self._sensitive = sorted(name for name in builtins if _sensitive(name))

    def evaluate(self, queries: Mapping[str, str], document: str) -> dict[str, Answer]:
        """Answer queries; see `CompiledPolicy.evaluate`."""
        if refusal := self._cannot_be_exact(document):
            return dict.fromkeys(queries, Failure(refusal))
        if not self._built.queries.issuperset(queries.values()):
            asked = self._built.queries.union(queries.values())
            self._built = _Built(asked, *_build(self._source, self._text, asked))
        with _Printed():
            self._built.interpreter.set_input_term(document)
            return {name: self._ask(_entry_point(query)) for name, query in queries.items()}

    def _ask(self, entry_point: str) -> Answer:
        built = self._built
        output = rego_bundle_query_entrypoint(built.interpreter._impl, built.bundle._impl, entry_point)
        if not output:
            return Failure("the engine gave no answer")
        try:
            node = rego_output_node(output)
            if errors := list(_errors(node)):
                return Failure("; ".join(dict.fromkeys(errors)))
            text = rego_output_string(output)
        finally:
            rego_free_output(output)
        return _answer(text)

    def _cannot_be_exact(self, document: str) -> str:
        if not self._sensitive or not _ESCAPED.search(document):
            return ""
        where = next((_spelled(path) for path in _escaped_paths(json.loads(document)) if self._reads(path)), "")
        if not where:
            return ""
        return (
            f"the policy calls {', '.join(self._sensitive)}, and {where} holds a quote, a backslash or a control "
            "character, which the engine regopy does not see as OPA does; use the engine regorus for this policy"
        )

    def _reads(self, path: tuple[str, ...]) -> bool:
        return any(path[: len(read)] == read or read[: len(path)] == path for read in self._paths)


def _spelled_for_the_engine(text: str) -> str:
    return syntax.led_elsewhere(syntax.plain_escapes(text), _LED)


def _build(source: str, text: str, queries: Iterable[str]) -> tuple[Interpreter, Bundle]:
    interpreter = Interpreter()
    with _Printed() as printed:
        try:
            interpreter.add_module("policy.rego", text)
            interpreter.add_module("compat.rego", _COMPAT)
        except RegoError as error:
            raise PolicyCompileError(source, _refusals(str(error), text)) from None
        bundle = interpreter.build(None, [_entry_point(query) for query in sorted(queries)])
    if not bundle.ok():
        raise PolicyCompileError(source, _printed_problems(printed.text))
    return interpreter, bundle


def _answer(text: str) -> Answer:
    if text == "undefined":
        return Undefined()
    try:
        decoded: dict[str, Any] = json.loads(text)
    except ValueError:
        return Failure(f"the engine's answer is no JSON: {text[:100]!r}")
    expressions = decoded.get("expressions") or []
    return Value(expressions[0]) if expressions else Undefined()


def _errors(node: Any) -> Iterator[str]:
    kind = rego_node_type(node)
    if kind == NodeKind.ErrorMessage:
        yield rego_node_value(node)
    elif kind in (NodeKind.Error, NodeKind.ErrorSeq):
        count = rego_node_size(node)
        for index in range(count):
            yield from _errors(rego_node_get(node, index))
        if not count:
            yield "the engine refused the query without saying why"


def _sensitive(name: str) -> bool:
    return name in ESCAPE_SENSITIVE or name.startswith(_SENSITIVE_PREFIXES)


def _escaped_paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, str):
        if _needs_escape(value):
            yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            if _needs_escape(key):
                yield path
            yield from _escaped_paths(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from _escaped_paths(item, path)


def _needs_escape(text: str) -> bool:
    return any(char in '"\\' or char < " " for char in text)


def _spelled(path: tuple[str, ...]) -> str:
    return "input" + "".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in path)


def _entry_point(query: str) -> str:
    return query.removeprefix("data.").replace(".", "/")


def _refusals(error: str, text: str) -> list[Problem]:
    problems = []
    for offset, message in _AT.findall(error):
        before = text.encode()[: int(offset)].decode(errors="ignore")
        problems.append(Problem(_lower(message), before.count("\n") + 1, len(before) - before.rfind("\n")))
    return problems or [Problem(f"it cannot be read: {' '.join(error.split())[:300]}")]


def _printed_problems(printed: str) -> list[Problem]:
    found = [
        Problem(_lower(what) or "not understood", int(line), int(column))
        for line, column, what in _PRINTED.findall(printed)
    ]
    return found or [Problem(f"it does not compile: {' '.join(printed.split())[:300]}")]


def _lower(message: str) -> str:
    return (message[:1].lower() + message[1:]).strip().rstrip(":")


def _plan(interpreter: Interpreter, bundle: Bundle) -> dict[str, Any]:
    # The library writes a plan to a folder only. /dev/shm is writable in a container with a read-only root.
    shared = Path("/dev/shm")  # noqa: S108
    try:
        folder = tempfile.mkdtemp(prefix="kubernaut-policy-", dir=shared if os.access(shared, os.W_OK) else None)
    except OSError as error:
        raise PolicyUnavailableError(
            f"cannot check a policy: no folder for temporary files ({error}); mount an emptyDir at /tmp"
        ) from None
    try:
        interpreter.save_bundle(folder, bundle)
        decoded: dict[str, Any] = json.loads((Path(folder) / "plan.json").read_text())
        return decoded
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Printed:
    """Collects what the library prints on file descriptor 1 (it tells compile errors there) while it is entered."""

    def __enter__(self) -> _Printed:
        self.text = ""
        self._file = os.memfd_create("printed") if hasattr(os, "memfd_create") else self._plain_file()
        self._stdout = os.dup(1)
        os.dup2(self._file, 1)
        return self

    def __exit__(self, *_: object) -> None:
        os.dup2(self._stdout, 1)
        os.close(self._stdout)
        size = os.fstat(self._file).st_size
        self.text = os.pread(self._file, min(size, 65536), 0).decode(errors="replace")
        os.close(self._file)

    @staticmethod
    def _plain_file() -> int:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())

"""How a policy is compared with OPA: generated inputs, and what both say of each. Tests of any policy import this.

compared = await compare(text, rules_of(text), signals(text, 200), engine="regopy")
assert compared.wrong == []
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any

from engines_here import engine_here
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kubernaut_policy import Answer, Failure, Policy, PolicyCompileError, Problem, Undefined, Value, messages, syntax
from kubernaut_testing import opa

# Inputs -----------------------------------------------------------------------------------------------------

WORDS = [
    "",
    "a",
    "production",
    "Staging",
    "test",
    "prod-shop",
    "dev1",
    "critical",
    "Sev1",
    "P0",
    "high",
    "warning",
    "low",
]
ODD = ['quote"d', "x\\y", "l1\nl2", "\x00", "😀", "-1.5e3", '{"a":[1,null]}', "日本"]

words = st.sampled_from(WORDS)
# Letters beyond ASCII that have another case, and line separators, are in test_differences.py.
caseless = st.characters(
    exclude_categories=["Cs", "Cc", "Lu", "Ll", "Lt", "Nl", "So", "Mn"], exclude_characters="\u2028\u2029"
)
texts = st.one_of(words, words, st.sampled_from(ODD), st.text(caseless | st.sampled_from("aBc "), max_size=6))


def examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """The same inputs at every run, as JSON decodes them."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(json.loads(json.dumps(example)))

    collect()
    return found


def varied(text: str, candidates: Sequence[Any], count: int) -> list[Any]:
    """`count` of the candidates, with each answer that OPA gives to any of them among them, rare ones as well."""
    groups: dict[str, list[Any]] = {}
    for document, values in zip(candidates, by_opa(text, rules_of(text), candidates), strict=True):
        groups.setdefault(json.dumps(values, sort_keys=True), []).append(document)
    turns = zip_longest(*groups.values())
    return [document for turn in turns for document in turn if document is not None][:count]


# Inputs of a classification -----------------------------------------------------------------------------------

LABELS = ["env", "tier", *(f"kubernaut.ai/{key}" for key in ("environment", "team", "tier", "cost-center", "region"))]
_MAPS = {
    "namespace": ("labels", "annotations"),
    "workload": ("labels", "annotations"),
    "signal": ("labels",),
    "cluster": ("labels",),
}


def signals(text: str, count: int) -> list[dict[str, Any]]:
    """Inputs of a classification by a policy: what it reads and the words in it come up often, the same at every run.

    Chosen by `varied` out of eight times as many.
    """
    made = _Signals(text)
    return varied(text, [made.document() for _ in range(8 * count)], count)


class _Signals:
    """Makes inputs for one policy."""

    def __init__(self, text: str) -> None:
        self._random = Random(text)
        self._literals = sorted(
            {token.text[1:-1] for token in syntax.tokens(text) if token.kind == "string" and "\\" not in token.text}
        ) or [""]
        self._read = syntax.input_paths(text)

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "namespace": {"name": self._text()},
            "workload": {"kind": self._text(), "name": self._text()},
            "signal": {"severity": self._text(), "type": self._text(), "source": self._text()},
            "cluster": {},
        }
        for room, kinds in _MAPS.items():
            for kind in kinds:
                if entries := self._entries(room, kind):
                    document[room][kind] = entries
        return document

    def _entries(self, room: str, kind: str) -> dict[str, str]:
        known = {path[2] for path in self._read if path[:2] == (room, kind) and len(path) > 2}
        if (room, kind) in self._read:  # read as a whole: any word of the policy may be a key
            known |= set(self._random.choices(self._literals, k=3))
        keys = [key for key in sorted(known) if self._random.random() < 0.5]
        if self._random.random() < 0.3:
            keys.append(self._random.choice([*LABELS, self._text()]))
        return {key: self._text() for key in keys}

    def _text(self) -> str:
        chance = self._random.random()
        if chance < 0.75:
            word = self._random.choice(self._literals)
            spelled = self._random.choice([word, word, word.lower(), word.upper(), word.capitalize()])
            return spelled + self._random.choice(["", "", "", "", "-shop", "s"])
        if chance < 0.9:
            return self._random.choice(WORDS)
        if chance < 0.95:
            return self._random.choice(ODD)
        return "".join(self._random.choices("aB c日/.,-", k=self._random.randint(0, 6)))


# Engines ------------------------------------------------------------------------------------------------------


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
            raise AssertionError(f"the worker died: {status}")
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


@contextmanager
def engines() -> Iterator[Callable[[str], Engine]]:
    """The engine of a name, one process each; asked for one that this machine cannot have, they skip the test."""
    running: dict[str, Engine] = {}

    def get(name: str) -> Engine:
        if name not in running:
            running[name] = Engine(engine_here(name))
        return running[name]

    yield get
    for one in running.values():
        one.close()


# Comparing --------------------------------------------------------------------------------------------------


def rules_of(text: str) -> list[str]:
    """Names of the rules of a policy that are no functions."""
    found = re.findall(r"^(?:default )?([a-z_]+)(?![a-z_(])", text, re.MULTILINE)
    return sorted(set(found) - {"package", "import", "default", "else"})


def package_of(text: str) -> str:
    """The package of a policy."""
    (name,) = re.findall(r"^package ([\w.]+)", text, re.MULTILINE)
    return str(name)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, numbers up to the 15th digit."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= 1e-14 * max(abs(one), abs(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@dataclass
class Compared:
    """What came of a comparison, counted over rules and inputs; `wrong` tells rule, input, answer and OPA's value."""

    equal: int = 0
    failed: int = 0
    wrong: list[tuple[str, Any, Answer, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.wrong:
            return f"{self.equal} answers agree"
        return f"{len(self.wrong)} answers differ, such as {min(self.wrong, key=lambda entry: len(str(entry)))}"


def by_opa(text: str, rules: Sequence[str], inputs: Sequence[Any]) -> list[Any]:
    """What OPA says of each input: the rules that are defined, with their values. Asked once for the same."""
    return _by_opa(text, tuple(rules), json.dumps(inputs))


@cache
def _by_opa(text: str, rules: tuple[str, ...], inputs: str) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.rego"
        path.write_text(text)
        refused = opa.check(path)
        assert not refused, f"OPA refuses the policy: {refused}"
        return list(opa.answers(path, package_of(text), rules, json.loads(inputs)))


def compare(
    engine: Engine, text: str, rules: Sequence[str], inputs: Sequence[Any], *, may_fail: bool = False
) -> Compared:
    """Ask an engine and OPA for the rules of a policy over each input. `may_fail`: a `Failure` is counted, not wrong.

    With all rules of the policy, the package as a whole is asked too: it has the rules that are defined, and no more.
    """
    package = package_of(text)
    wanted = by_opa(text, rules, inputs)
    queries = {name: f"data.{package}.{name}" for name in rules}
    if sorted(rules) == rules_of(text):
        queries[package] = f"data.{package}"
        wanted = [{**values, package: values} for values in wanted]
    compared = Compared()
    engine.load(Policy(text), [*queries.values()])
    for document, values in zip(inputs, wanted, strict=True):
        answers = engine.evaluate(queries, document)
        for name in queries:
            match answers[name]:
                case Failure() if may_fail:
                    compared.failed += 1
                case Value(value) if name in values and same(value, values[name]):
                    compared.equal += 1
                case Undefined() if name not in values:
                    compared.equal += 1
                case answer:
                    compared.wrong.append((name, document, answer, values.get(name, "undefined")))
    return compared

"""Both engines against OPA itself, over a few hundred inputs of each policy.

For the policies that operators use, the answers are equal. For the policy that tries the language out, an engine may
fail where OPA answers or has nothing, and says so; another value it may not give. What it does give differently, for
inputs that no operator has, is left out of the inputs here and shown in `test_differences.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kubernaut_policy import Failure, Policy, PolicyEvaluator, Undefined, Value
from kubernaut_policy.engines import ENGINES
from kubernaut_testing import opa

FOLDER = Path(__file__).with_name("policies")

words = st.sampled_from(
    ["", "a", "production", "Staging", "test", "prod-shop", "dev1", "critical", "Sev1", "P0", "high", "warning", "low"]
)
odd = st.sampled_from(['quote"d', "x\\y", "l1\nl2", "\x00", "😀", "-1.5e3", '{"a":[1,null]}', "日本"])
# Letters beyond ASCII that have another case, and line separators, are in test_differences.py.
caseless = st.characters(
    exclude_categories=["Cs", "Cc", "Lu", "Ll", "Lt", "Nl", "So", "Mn"], exclude_characters="\u2028\u2029"
)
texts = st.one_of(words, words, odd, st.text(caseless | st.sampled_from("aBc "), max_size=6))
numbers = st.one_of(
    st.integers(-5, 5), st.integers(0, 2**53), st.integers(-(10**6), 10**6).map(lambda n: (10 * n + 1) / 1000)
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


def labels(*keys: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.one_of(st.sampled_from(keys), texts), texts, min_size=1, max_size=4)


def maybe(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


annotations = {"annotations": labels("note")}
namespace_keys = [f"kubernaut.ai/{key}" for key in ("environment", "team", "tier", "cost-center", "region")]
signal_inputs = maybe(
    {
        "namespace": maybe({"name": texts}, {"labels": labels("env", "tier", *namespace_keys), **annotations}),
        "workload": maybe({"kind": words, "name": texts}, {"labels": labels("app"), **annotations}),
        "signal": maybe({"severity": texts, "type": texts, "source": texts}, {"labels": labels("alertname")}),
        "cluster": maybe({}, {"labels": labels("environment", "region", "tier")}),
    },
    {},
)
nullable_target = st.none() | st.fixed_dictionaries(
    {"kind": st.sampled_from(["Pod", "Node", "StatefulSet"]), "name": texts}
)
approval_inputs = maybe(
    {
        "environment": words,
        "confidence": st.integers(0, 100).map(lambda n: n / 100),
        "warnings": st.none() | st.lists(texts, max_size=3),
        "remediation_target": nullable_target,
        "target_resource": st.fixed_dictionaries({"kind": st.sampled_from(["Pod", "Node", "StatefulSet"])}),
        "detected_labels": maybe({}, {"stateful": st.booleans()}),
        "custom_labels": maybe({}, {"team": st.lists(texts, max_size=2)}),
    },
    {
        "confidence_threshold": st.sampled_from([0.5, 0.8, 0.95, 1]),
        "identity": st.fixed_dictionaries({"user": texts, "groups": st.none() | st.lists(texts, max_size=2)}),
    },
)
language_inputs = maybe(
    {},
    {
        "x": anything,
        "y": anything,
        "list": st.lists(anything, max_size=4) | st.none(),
        "numbers": st.lists(numbers, max_size=4) | st.none(),
        "map": st.dictionaries(words, numbers | words, max_size=3) | st.none(),
        "text": texts,
        "word": words | st.none(),
        "words": st.lists(words, max_size=4) | st.none(),
        "json": st.sampled_from(["", "0", "-1.5e3", "null", '{"a":[1,null]}', "no"]),
    },
)
escape_inputs = maybe({"other": texts}, {"text": texts})

CASES = {
    "signalprocessing": ("signalprocessing", signal_inputs, 200),
    "score": ("signalprocessing", signal_inputs, 200),
    "approval": ("aianalysis.approval", approval_inputs, 200),
    "language": ("language", language_inputs, 200),
    "escapes": ("escapes", escape_inputs, 200),
}
LOUD = {  # policy, engine -> it may fail where OPA answers, and where OPA has nothing
    ("language", "regorus"): "an error of a built-in is a failure",
    ("language", "regopy"): "array.slice of null is a failure",
    ("escapes", "regopy"): "built-ins that would see escapes are refused",
    ("escapes", "regorus"): "an error of a built-in is a failure",
    ("approval", "regorus"): "an error of a built-in is a failure",
}


def rules_of(policy: Path) -> list[str]:
    """Names of the rules of a policy that are no functions."""
    found = re.findall(r"^(?:default )?([a-z_]+)(?![a-z_(])", policy.read_text(), re.MULTILINE)
    return sorted(set(found) - {"package", "import", "default"})


@cache
def reference(case: str) -> tuple[list[Any], list[str], list[Mapping[str, Any]]]:
    """The inputs, the rules, and what OPA says of them."""
    package, strategy, count = CASES[case]
    path = FOLDER / f"{case}.rego"
    inputs, names = examples(strategy, count), rules_of(path)
    return inputs, names, opa.answers(path, package, names, inputs)


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


@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("case", CASES)
async def test_an_engine_answers_as_opa_does(case: str, engine: str) -> None:
    inputs, names, answers = reference(case)
    content = (FOLDER / f"{case}.rego").read_bytes()
    queries = {name: f"data.{CASES[case][0]}.{name}" for name in names}
    wrong, failed, equal = [], 0, 0
    async with PolicyEvaluator(Policy.from_bytes(content), engine=engine, spares=0) as evaluator:
        for document, wanted in zip(inputs, answers, strict=True):
            results = await evaluator.evaluate(queries, document)
            for name in names:
                match results[name]:
                    case Failure() if (case, engine) in LOUD:
                        failed += 1
                    case Value(value) if name in wanted and same(value, wanted[name]):
                        equal += 1
                    case Undefined() if name not in wanted:
                        equal += 1
                    case answer:
                        wrong.append((name, document, answer, wanted.get(name, "undefined")))
    assert not wrong, f"{len(wrong)} answers differ, such as {min(wrong, key=lambda entry: len(str(entry)))}"
    assert equal > failed, "too many failures for this to say something"

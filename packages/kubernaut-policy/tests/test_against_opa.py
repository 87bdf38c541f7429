"""Both engines against OPA itself, over a few hundred inputs of each policy.

For the policies that operators use, the answers are equal. For the policy that tries the language out, an engine may
fail where OPA answers or has nothing, and says so; another value it may not give. What it does give differently, for
inputs that no operator has, is left out of the inputs here and shown in `test_differences.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from against_opa import Engine, compare, examples, rules_of, signals, texts, varied, words
from hypothesis import strategies as st

from kubernaut_policy.engines import ENGINES

FOLDER = Path(__file__).with_name("policies")

fractions = st.integers(-(10**6), 10**6).map(lambda n: (10 * n + 1) / 1000).filter(lambda n: not -1 < n < 0)
numbers = st.one_of(st.integers(-5, 5), st.integers(0, 2**53), fractions)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


def maybe(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


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
        "identity": st.fixed_dictionaries({"user": texts, "groups": st.none() | st.lists(words, max_size=2)}),
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

CASES: dict[str, st.SearchStrategy[Any] | None] = {  # policy -> its inputs; None: those of a classification
    "score": None,
    "approval": approval_inputs,
    "language": language_inputs,
    "escapes": escape_inputs,
}
INPUTS = 200
LOUD = {  # policy, engine -> it may fail where OPA answers, and where OPA has nothing
    ("language", "regorus"): "an error of a built-in is a failure",
    ("language", "regopy"): "array.slice of null is a failure",
    ("escapes", "regopy"): "built-ins that would see escapes are refused",
    ("escapes", "regorus"): "an error of a built-in is a failure",
    ("approval", "regorus"): "an error of a built-in is a failure",
}


@cache
def inputs_of(case: str) -> list[Any]:
    text, strategy = text_of(case), CASES[case]
    return signals(text, INPUTS) if strategy is None else varied(text, examples(strategy, 4 * INPUTS), INPUTS)


def text_of(case: str) -> str:
    return (FOLDER / f"{case}.rego").read_text()


def test_every_policy_here_is_compared() -> None:
    assert sorted(CASES) == sorted(path.stem for path in FOLDER.glob("*.rego"))


@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("case", CASES)
def test_an_engine_answers_as_opa_does(case: str, engine: str, engine_of: Callable[[str], Engine]) -> None:
    text = text_of(case)
    compared = compare(engine_of(engine), text, rules_of(text), inputs_of(case), may_fail=(case, engine) in LOUD)
    assert not compared.wrong, str(compared)
    assert compared.equal > compared.failed, "too many failures for this to say something"

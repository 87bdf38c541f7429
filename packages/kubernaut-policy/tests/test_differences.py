"""Where an engine is known to differ from OPA: each shown, so that the README tells the truth and news is noticed.

Three kinds: led right by this package (regopy's `max`), refused loudly (`Failure`, or at load), and silent. The silent
ones need inputs that operators do not have; each names what OPA says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubernaut_policy import Answer, Failure, Policy, PolicyCompileError, Undefined, Value
from kubernaut_policy.engines import ENGINES
from kubernaut_testing import opa

EngineOf = Callable[[str], Any]
Ask = Callable[[str, str, Any], Answer]


@pytest.fixture
def ask(engine_of: Callable[[str], Any]) -> Callable[[str, str, Any], Answer]:
    def ask_engine(name: str, expression: str, document: Any) -> Answer:
        engine_of(name).load(Policy(f"package t\n\nimport rego.v1\n\nx := {expression}\n"))
        answer: Answer = engine_of(name).evaluate({"x": "data.t.x"}, document)["x"]
        return answer

    return ask_engine


def by_opa(folder: Path, expression: str, document: Any) -> Answer:
    path = folder / "t.rego"
    path.write_text(f"package t\n\nimport rego.v1\n\nx := {expression}\n")
    found = opa.answers(path, "t", ["x"], [document])[0]
    return Value(found["x"]) if "x" in found else Undefined()


@pytest.mark.parametrize("name", sorted(ENGINES))
@pytest.mark.parametrize("numbers", [[9, 10, 2, 10], [-5, -0.057], [2, 10.5], [5, 20922789888000], [7], []])
@pytest.mark.parametrize("function", ["max", "min", "sort"])
def test_numbers_are_compared_as_numbers(
    name: str, numbers: list[float], function: str, tmp_path: Path, ask: Ask
) -> None:
    for expression in (f"{function}(input)", f"{function}({{item | some item in input}})"):
        assert ask(name, expression, numbers) == by_opa(tmp_path, expression, numbers), expression


@pytest.mark.parametrize("text", ["\\ud800", "a\\udc00b", "\\ud83d\\ude00", "\\ud800\\u0041"])
def test_half_a_surrogate_pair_in_a_literal_is_read_as_opa_does(text: str, tmp_path: Path, ask: Ask) -> None:
    """regorus refuses it at load."""
    expression = f'"{text}"'
    assert ask("regopy", expression, {}) == by_opa(tmp_path, expression, {})


def test_a_function_of_the_policy_by_the_name_of_a_built_in_is_left_alone(engine_of: EngineOf) -> None:
    policy = Policy("package t\n\nmax(a) := a[0]\n\nx := max([1, 5])\n")
    engine_of("regopy").load(policy)
    assert engine_of("regopy").evaluate({"x": "data.t.x"}, {}) == {"x": Value(1)}


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("upper(input.t)", "a\nb"),
        ("substring(input.t, 1, 1)", 'a"b'),
        ('trim(input.t, "\\n")', "nan\n"),
        ("base64.encode(input.t)", "a\\b"),
        ("regex.match(`^a.b$`, input.t)", 'a"b'),
        ("sha(input.t)", 'a"b'),
    ],
)
def test_regopy_refuses_to_look_inside_of_strings_with_escapes(expression: str, text: str, ask: Ask) -> None:
    expression = expression.replace("sha(", "crypto.sha256(")
    refused = ask("regopy", expression, {"t": text, "other": 1})
    assert isinstance(refused, Failure)
    assert 'input["t"] holds a quote' in refused.message
    assert "use the engine regorus" in refused.message
    assert isinstance(ask("regopy", expression, {"t": "plain"}), Value)


def test_regopy_minds_escapes_only_where_the_policy_looks(ask: Ask) -> None:
    document = {"t": "plain", "note": 'a "quoted" word\n'}
    assert ask("regopy", "upper(input.t)", document) == Value("PLAIN")
    assert isinstance(ask("regopy", 'upper(object.get(input, "t", ""))', document), Failure)
    assert ask("regopy", "lower(input.note)", document) == Value('a "quoted" word\n')


def test_a_literal_with_an_escape_equals_the_character(tmp_path: Path, ask: Ask) -> None:
    for literal in (r'"caf\u00e9"', '"café"', "`café`"):
        expression = f"input == {literal}"
        assert ask("regopy", expression, "café") == by_opa(tmp_path, expression, "café") == Value(True)


@pytest.mark.parametrize(
    ("expression", "line"), [("count(input)", 5), ("1 / input.zero", 5), ("to_number(input.no)", 5)]
)
def test_an_error_of_a_built_in_is_undefined_but_with_regorus_a_failure(
    expression: str, line: int, tmp_path: Path, ask: Ask
) -> None:
    document = None if "count" in expression else {"zero": 0, "no": "no"}
    assert by_opa(tmp_path, expression, document) == ask("regopy", expression, document) == Undefined()
    refused = ask("regorus", expression, document)
    assert isinstance(refused, Failure)
    assert refused.message.endswith(f"(line {line})")


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_any_set_of_queries_after_any_other_is_answered_rule_by_rule(name: str, engine_of: EngineOf) -> None:
    wanted = {"a": Value("s"), "b": Value(2), "c": Value(3), "d": Undefined(), "e": Undefined()}
    policy = Policy("package t\n\na := input.s\n\nb := 2\n\nc := b + 1\n\nd := 5 if input.d\n\ne := 6 if input.e\n")
    for first in itertools.combinations(wanted, 2):
        compiled = engine_of(name)
        compiled.load(policy, [f"data.t.{rule}" for rule in first])
        for size in (1, 3, 5):
            for rules in itertools.islice(itertools.permutations(wanted, size), 6):
                answers = compiled.evaluate({rule: f"data.t.{rule}" for rule in rules}, {"s": "s"})
                assert answers == {rule: wanted[rule] for rule in rules}


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_a_rule_with_two_values_is_a_failure(name: str, engine_of: EngineOf) -> None:
    policy = Policy("package t\n\nx := 1 if input.a\n\nx := 2 if input.b\n")
    compiled = engine_of(name)
    compiled.load(policy)
    assert compiled.evaluate({"x": "data.t.x"}, {"a": 1}) == {"x": Value(1)}
    failure = compiled.evaluate({"x": "data.t.x"}, {"a": 1, "b": 1})["x"]
    assert isinstance(failure, Failure)
    assert "multiple outputs" in failure.message or "conflicts" in failure.message


@pytest.mark.parametrize(
    ("name", "expression", "document", "answer"),
    [
        ("regopy", "lower(input)", "É", "É"),
        ("regopy", "upper(input)", "é", "é"),
        ("regopy", "count(input)", 'a"b', 4),
        ("regorus", "count(input)", "a😀", 3),
        ("regorus", "input", 2**70 + 1, 2.0**70),
        ("regopy", "input", 123456789.12345679, 123456789.1234568),
        ("regopy", "json.marshal(input)", "a\u2028", '"a\u2028"'),
        ("regopy", "{item | some item in input}", ["\x00", "A"], ["A", "\x00"]),
        ("regopy", "input.text > 1", {"text": "a"}, False),
        ("regopy", "floor(input)", -0.5, -1),
        ("regorus", "floor(input)", -0.5, -1),
    ],
)
def test_known_silent_differences(
    name: str, expression: str, document: Any, answer: Any, tmp_path: Path, ask: Ask
) -> None:
    assert ask(name, expression, document) == Value(answer)
    assert by_opa(tmp_path, expression, document) != Value(answer), "OPA agrees by now: no difference any more"


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_what_cannot_hold_by_its_types_is_taken_and_does_not_hold(
    name: str, tmp_path: Path, engine_of: EngineOf
) -> None:
    text = 'package t\n\nx if "a" == 1\n'
    (tmp_path / "t.rego").write_text(text)
    assert "rego_type_error" in opa.check(tmp_path / "t.rego")
    engine_of(name).load(Policy(text))
    assert engine_of(name).evaluate({"x": "data.t.x"}, {}) == {"x": Undefined()}


@pytest.mark.parametrize(
    "text",
    [
        "x if every y in input.z { y > 1 }",
        "x := {k | some k, _ in input.z}",
        "import data.x\n\nx := 1",
        "x := input.a % 7",
    ],
)
def test_what_regopy_does_not_read_it_refuses_at_load(text: str, tmp_path: Path, engine_of: EngineOf) -> None:
    (tmp_path / "t.rego").write_text(f"package t\n\n{text}\n")
    assert opa.check(tmp_path / "t.rego") == ""
    with pytest.raises(PolicyCompileError, match=r"policy.rego:[345]"):
        engine_of("regopy").load(Policy(f"package t\n\n{text}\n"))

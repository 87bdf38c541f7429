"""`not` over what is undefined: as OPA reads it, in both engines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from against_opa import Engine, compare

from kubernaut_policy import Policy, PolicyCompileError
from kubernaut_policy.engines import ENGINES
from kubernaut_policy.negation import as_opa

EngineOf = Callable[[str], Engine]

HEAD = """package t

import rego.v1

table := {"a": 1}

twice(a) := a if a != 0

never := 1 if input.never

"""
EXPRESSIONS = [
    # asked as they are
    "not input.x",
    "not input.x.y",
    "not input.no",
    "not never",
    "not (input.x)",
    "not data.t.never",
    "not input.x == 1",
    "not 1 == input.x",
    "not input.x = 1",
    "not never == 1",
    # with parts that come first
    "not input.x != 1",
    "not input.x > 1",
    "not input.x in [1]",
    "not 1 in input.x",
    "not table[input.x]",
    "not table[lower(input.x)]",
    "not table[input.x] == 1",
    "not table[lower(input.x)] == 1",
    'not lower(input.x) == "q"',
    'not (lower(input.x)) == "q"',
    'not startswith(input.x, "q")',
    "not twice(input.x)",
    "not twice(lower(input.x))",
    "not input.y[never]",
    "not twice(never)",
    "not never > 1",
    "not [input.x] == [1]",
    'not {"a": input.x} == {"a": 1}',
    "not input.y[input.x]",
    "not input.x + 1 == 2",
    "not input.x + 1 > 2",
    "not count(input.x) > 0",
    "not twice(input.y).z",
    'not object.get(input, "x", 0) == 0',
    "not is_string(input.no)",
    "not count({k | input.y[k]; k == input.x}) == 0",
    "not {1 | input.x} == {1}",
    "not input.y[input.y.k]",
    "not contains(input.y.b, input.x)",
    'not {"a", "b"}[input.x]',
    "not count([1 | input.x; not startswith(input.q, input.x)]) > 0",
    # over variables of the rule, and with another input
    "count([k | some k in input.x; not startswith(input.zz, k)]) == 0",
    "count([k | some k in input.x; not input.y[k]]) > 0",
    'count([k | not startswith(input.y[k], "a"); k = input.x]) > 0',
    'not startswith(input.zz, "a") with input as {"zz": "bc"}',
    "not twice(input.x) with input.x as 3",
    "not twice( # a comment\n\t\tinput.x,\n\t)",
]
DOCUMENTS: list[Any] = [
    {},
    {"x": 1, "y": {"z": 1}, "no": False},
    {"x": "q", "y": {"q": False, "k": "q", "b": "quick"}, "never": True},
    {"x": {"y": False}, "y": {"b": "c", "a": {"z": False}}},
    {"x": [1, "a"], "zz": "abc", "y": {"a": "b"}},
    {"x": None, "q": "q"},
]
RULES = [f"rule_{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(len(EXPRESSIONS))]
TEXT = HEAD + "".join(
    f"{rule} if {{\n\t{expression}\n}}\n\n" for rule, expression in zip(RULES, EXPRESSIONS, strict=True)
)
MIXED = "not input.x > 1"  # regopy compares a text with a number in another way: test_differences.py


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_not_over_what_is_undefined_is_read_as_opa_does(engine: str, engine_of: EngineOf) -> None:
    compared = compare(engine_of(engine), TEXT, RULES, DOCUMENTS, may_fail=engine == "regorus")
    expressions = dict(zip(RULES, EXPRESSIONS, strict=True))
    wrong = [(expressions[rule], *rest) for rule, *rest in compared.wrong]
    assert [entry for entry in wrong if entry[0] != MIXED] == []
    assert compared.equal > 5 * compared.failed


def test_the_comparison_tells_an_engine_that_reads_it_otherwise_apart() -> None:
    changed = [
        expression for expression in EXPRESSIONS if as_opa(f"{HEAD}x if {expression}\n") != f"{HEAD}x if {expression}\n"
    ]
    assert len(changed) == len(EXPRESSIONS) - 11
    assert changed[0] == "not input.x != 1"


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("not input.a", "not input.a"),
        ("some key in input.keys; not table[key]", "some key in input.keys; not table[key]"),
        ("not startswith(input.a, `b`)", "[1 | [input.a]; not startswith(input.a, `b`)] == [1]"),
        ("not f(input.a); input.b", "[1 | [input.a]; not f(input.a)] == [1]; input.b"),
        ('not f(input.a) with input as {"a": 1}', '[1 | [input.a]; not f(input.a)] == [1] with input as {"a": 1}'),
        ("some item in input; not rule(item)", "some item in input; not rule(item)"),
        ("not g(rule)", "[1 | [rule]; not g(rule)] == [1]"),
        ('input.not == "not f(input.a)"', 'input.not == "not f(input.a)"'),
        ("not f(", "not f("),
        ("not", "not"),
    ],
)
def test_only_what_needs_it_is_written_out(body: str, written: str) -> None:
    head = "package t\n\nrule := 1\n\nx if { "
    assert as_opa(f"{head}{body} }}\n") == f"{head}{written} }}\n"


def test_a_long_policy_is_written_out_in_one_go() -> None:
    rules = "".join(f"rule_{number} if {{\n\tinput.a\n\tnot f(input.b)\n}}\n\n" for number in range(10_000))
    began = time.process_time()
    assert as_opa(f"package t\n\n{rules}").count("[1 | [input.b]; not f(input.b)] == [1]") == 10_000
    assert time.process_time() - began < 10


def test_no_line_moves() -> None:
    text = 'package t\n\nx if {\n\tnot f( # why\n\t\tinput.a,\n\t\t"b # c",\n\t)\n\tinput.b\n}\n'
    written = as_opa(text)
    assert written != text
    assert written.count("\n") == text.count("\n")
    assert written.splitlines()[7] == "\tinput.b"
    assert "[1 | [input.a]; not f( # why" in written


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_a_mistake_is_told_with_the_column_that_its_author_sees(name: str, engine_of: EngineOf) -> None:
    text = 'package t\n\nx if { not startswith(input.a, "b"); y := := 1 }\n'
    with pytest.raises(PolicyCompileError) as refused:
        engine_of(name).load(Policy(text))
    (problem,) = refused.value.problems[:1]
    assert problem.line == 3
    assert text.splitlines()[2].index(":=") <= problem.column <= len(text.splitlines()[2])

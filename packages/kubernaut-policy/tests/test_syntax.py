"""The scanner under odd texts, and the respelling of literals."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_policy import syntax

PIECES = st.sampled_from(
    ['"', "`", "\\", "{", "}", "(", "[", "#", "\n", " ", "if", "package", "input", ".", "a", "1", ":=", '"x"', "é"]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_scanned_and_no_token_is_lost(text: str) -> None:
    lines = text.split("\n")
    for token in syntax.tokens(text):
        assert "\n".join([lines[token.line - 1][token.column - 1 :], *lines[token.line :]]).startswith(token.text)
    syntax.check(text)
    syntax.input_paths(text)
    syntax.package_of(text)
    syntax.may_define(text, "a")
    syntax.plain_escapes(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_respelled_literal_means_the_same(value: str) -> None:
    respelled = syntax.plain_escapes(f"x := {json.dumps(value)}")
    assert json.loads(respelled.removeprefix("x := ")) == value
    assert respelled == f"x := {json.dumps(value, ensure_ascii=False)}"


def test_raw_strings_and_comments_keep_their_spelling() -> None:
    text = 'x := `\\u00e9` # "\\u00e9"\ny := "\\u00e9"'
    assert syntax.plain_escapes(text) == 'x := `\\u00e9` # "\\u00e9"\ny := "é"'


def test_the_fixed_beginning_of_each_input_reference_is_what_a_policy_reads() -> None:
    text = """package t
x := input.a.b["c-d"].e[y] # input.comment
z := data.input.no
w := [v | some v in input["f"]]
import input.g as g
"""
    assert syntax.input_paths(text) == {("a", "b", "c-d", "e"), ("f",), ("g",)}
    assert syntax.input_paths("x := walk(input)") == {()}


def test_calls_are_led_elsewhere_and_nothing_else() -> None:
    text = 'x := max(input.max) + a.max(1) # max(2)\ny := "max(3)"\nz := max (4)'
    assert (
        syntax.led_elsewhere(text, {"max": "m"}) == 'x := m(input.max) + a.max(1) # max(2)\ny := "max(3)"\nz := m (4)'
    )
    assert syntax.led_elsewhere("max(a) := a\nx := max(1)", {"max": "m"}) == "max(a) := a\nx := max(1)"


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("package shop\n", "shop"),
        ("# first\npackage shop.prices\n\nimport rego.v1\n", "shop.prices"),
        ("x := 1\n", ""),
        ("package", ""),
        ("", ""),
    ],
)
def test_the_package_is_read_from_the_first_line(text: str, package: str) -> None:
    assert syntax.package_of(text) == package


@pytest.mark.parametrize(
    "head",
    [
        "price := 3",
        "default price := 3",
        "default\n\tprice := 3",
        "  price := 3",
        "price = 3 if input.a",
        "price if input.a",
        "price contains 3 if input.a",
        'price["pen"] := 3',
        "price.pen := 3",
        "price(x) := 3 if x",
        "a := 1; price := 3",
        "a := {",
    ],
)
def test_every_form_of_a_head_may_define_its_rule(head: str) -> None:
    assert syntax.may_define(f"package shop\n\nimport rego.v1\n\n{head}\n", "price")


@pytest.mark.parametrize(
    "other",
    [
        "cost := 3",
        "# price := 3",
        'cost := "price"',
        "cost := price + 1",
        "cost := shop.price",
        "cost := 3 if {\n\tprice == 3\n}",
        "cost := 3 if {\n\tprice\n\tprices := [price]\n}",
        "cost := data\n.price",
        "prices := 3",
    ],
)
def test_a_name_that_is_only_used_defines_nothing(other: str) -> None:
    assert not syntax.may_define(f"package shop\n\nimport rego.v1\n\n{other}\n", "price")

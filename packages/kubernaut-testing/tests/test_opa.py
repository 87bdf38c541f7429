"""The OPA wrapper: values, absent keys for what is undefined, and what OPA has against a policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubernaut_testing import opa

POLICY = """package t

import rego.v1

twice := 2 * input.n

big if input.n > 10

twin := 1

twin := 2 if input.n == 7
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "t.rego").write_text(POLICY)
    return tmp_path / "t.rego"


def test_each_input_has_its_values_and_no_key_for_what_is_undefined(policy: Path) -> None:
    assert opa.answers(policy, "t", ["twice", "big"], [{"n": 2}, {"n": 11}, {}]) == [
        {"twice": 4},
        {"twice": 22, "big": True},
        {},
    ]


def test_a_rule_in_conflict_with_itself_raises_what_opa_said(policy: Path) -> None:
    with pytest.raises(opa.OpaError, match="multiple outputs"):
        opa.answers(policy, "t", ["twin"], [{"n": 7}])


def test_check_tells_what_is_wrong_and_nothing_of_a_good_policy(policy: Path) -> None:
    assert opa.check(policy) == ""
    policy.write_text("package t\n\nx := y\n")
    assert "t.rego:3: rego_unsafe_var_error" in opa.check(policy)

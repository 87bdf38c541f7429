"""The table of faults in docs/faults.md names tests that exist, and knows every fault."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (?P<number>\d+) \| (?P<fault>[^|]+) \| (?P<injected>[^|]+) \| (?P<shown>[^|]*)\|$", re.MULTILINE)
NAMED = re.compile(r"(?P<bold>\*\*)?`(?P<file>[\w/]+\.py)::(?P<test>\w+)`")
ROWS = {int(row["number"]): row for row in ROW.finditer((ROOT / "docs" / "faults.md").read_text())}
ELSEWHERE = {27, 36}
"""Rows without a test, which say why."""


def defined_in(file: str) -> dict[str, list[str]]:
    """The tests in the files whose path below a tests folder is `file`, with the names that their decorators use."""
    found = {}
    for path in [*ROOT.glob(f"packages/*/tests/{file}"), *ROOT.glob(f"services/*/tests/{file}")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                marks = [one for decorator in node.decorator_list for one in ast.walk(decorator)]
                found[node.name] = [one.attr for one in marks if isinstance(one, ast.Attribute)] + [
                    one.id for one in marks if isinstance(one, ast.Name)
                ]
    return found


def test_every_fault_has_its_row() -> None:
    assert list(ROWS) == list(range(1, 39))


@pytest.mark.parametrize("number", ROWS)
def test_the_tests_that_a_row_names_exist_and_run_at_true_times_where_it_says_so(number: int) -> None:
    named = list(NAMED.finditer(ROWS[number]["shown"]))
    assert bool(named) == (number not in ELSEWHERE)
    for one in named:
        tests = defined_in(one["file"])
        assert one["test"] in tests, f"{one['file']} has no {one['test']}"
        marks = tests[one["test"]]
        assert bool(one["bold"]) == bool({"faults_full", "FULL", "LEASE_TIMES"} & set(marks)), one["test"]

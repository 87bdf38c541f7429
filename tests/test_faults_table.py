"""The table of faults in docs/faults.md names tests that exist, knows every fault, and leaves none without a word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = ("notification", "signalprocessing")
"""The columns of the table, after the number, the fault and how it is injected."""

_CELLS = r" \| ".join(rf"(?P<{service}>[^|]+)" for service in SERVICES)
ROW = re.compile(rf"^\| (?P<number>\d+) \| (?P<fault>[^|]+) \| (?P<injected>[^|]+) \| {_CELLS} \|$", re.MULTILINE)
NAMED = re.compile(r"(?P<bold>\*\*)?`(?P<file>[\w/]+\.py)::(?P<test>\w+)`")
ROWS = {int(row["number"]): row for row in ROW.finditer((ROOT / "docs" / "faults.md").read_text())}
FULL = {"faults_full", "FULL", "LEASE_TIMES", "full"}
"""Names that a test uses of which something, or all, is left to `make test-faults-full`."""


def defined_in(path: Path) -> Iterator[tuple[str, set[str]]]:
    """The tests that a file defines, or imports from the scenes of faults, with the names that their marks use."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, {name for decorator in node.decorator_list for name in _names(decorator)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scenarios.faults."):
            scenes = dict(defined_in(ROOT.joinpath(*str(node.module).split(".")).with_suffix(".py")))
            yield from ((alias.name, scenes.get(alias.name, set())) for alias in node.names)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, _names(node.value)


def _names(node: ast.AST) -> set[str]:
    found = list(ast.walk(node))
    return {one.attr for one in found if isinstance(one, ast.Attribute)} | {
        one.id for one in found if isinstance(one, ast.Name)
    }


def find_tests(service: str, file: str) -> dict[str, set[str]]:
    """The tests of the file of this name below the service's tests folder, or a package's."""
    paths = [ROOT / "services" / service / "tests" / file, *ROOT.glob(f"packages/*/tests/{file}")]
    return {name: marks for path in paths if path.exists() for name, marks in defined_in(path)}


def test_every_fault_has_its_row() -> None:
    assert list(ROWS) == list(range(1, 39))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("number", ROWS)
def test_the_tests_that_a_cell_names_exist_and_are_bold_where_a_part_is_left_to_the_full_run(
    number: int, service: str
) -> None:
    """A cell without tests says why in words."""
    cell = ROWS[number][service]
    named = list(NAMED.finditer(cell))
    assert named or len(cell.split()) >= 2 or "](" in cell, "neither a test nor a reason"
    for one in named:
        tests = find_tests(service, one["file"])
        assert one["test"] in tests, f"{one['file']} has no {one['test']}"
        assert bool(one["bold"]) == bool(FULL & tests[one["test"]]), one["test"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_fault_test_of_a_service_is_in_its_column(service: str) -> None:
    """A test in a file of faults or crashes that no row names would be one that nobody finds."""
    column = "".join(row[service] for row in ROWS.values())
    folder = ROOT / "services" / service / "tests"
    files = [*folder.rglob("test_faults*.py"), *folder.rglob("test_crash.py")]
    tests = {name for path in files for name, _ in defined_in(path) if name.startswith("test_")}
    assert {name for name in tests if f"::{name}`" not in column} == set()

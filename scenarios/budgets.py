"""What the README of a service promises of its requests, as a table that tests run row by row.

| path | PATCH on the object | GET on the object | Events |
|---|---|---|---|
| one channel succeeds | 3 | 0 | 3 |
"""

from __future__ import annotations

import re
from pathlib import Path

MODES = ("atomic", "sequential")
"""`controller.statusUpdateMode`: one write for a pass, or one for each change that it makes."""

SERVICES = Path(__file__).parents[1] / "services"

_TABLE = re.compile(r"^\| path \|(?P<columns>.+)\|\n\|[-|]+\|\n(?P<rows>(?:\|.+\|\n)+)", re.MULTILINE)


def read_budgets(service: str) -> dict[str, dict[str, int]]:
    """Return the budget table in the README of `service`: path -> column -> how many.

    The table is the one whose first column is `path`; all its other cells are numbers.
    """
    text = (SERVICES / service / "README.md").read_text()
    (table,) = _TABLE.finditer(text)
    columns = _cells(table["columns"])
    rows = [_cells(row.strip("|")) for row in table["rows"].splitlines()]
    return {path: dict(zip(columns, map(int, numbers), strict=True)) for path, *numbers in rows}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]

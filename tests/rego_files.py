"""Every Rego policy of the repository that somebody may use: files, code blocks of pages, texts in charts and demo.

    policies()  ->  [Found("docs/x.md#1", "package a ..."), ...]

Tests of code have policies in their own texts; those are not for use, and not looked for.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "services/signalprocessing/src/kubernaut_signalprocessing/policy/default.rego"
COOKBOOK = ROOT / "docs/signalprocessing/policies.md"

_BLOCK = re.compile(r"^```rego\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PACKAGE = re.compile(r"^[ \t]*package [a-z]\w*(\.\w+)*[ \t]*$", re.MULTILINE)
_IN_PYTHON = re.compile(r"(demo|benchmarks|scenarios)/")
_TEXT = {".md", ".yaml", ".yml", ".json", ".tpl", ".txt", ".py", ".rego", ".toml"}


class Found(NamedTuple):
    """Where a policy stands, and its text."""

    where: str
    text: str


@cache
def files() -> tuple[Path, ...]:
    """The files of the repository, those not yet committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return tuple(ROOT / name for name in listed if Path(name).suffix in _TEXT and (ROOT / name).is_file())


def blocks(page: str) -> list[str]:
    """The Rego code blocks of a Markdown page."""
    return _BLOCK.findall(page)


def policies() -> list[Found]:
    """All policies of the repository, one entry a text."""
    return [found for path in files() for found in policies_in(path, str(path.relative_to(ROOT)))]


def policies_in(path: Path, name: str) -> Iterator[Found]:
    """The policies in one file that is called `name` in the repository."""
    if path.suffix == ".rego":
        yield Found(name, path.read_text())
        return
    texts: list[str] = []
    if path.suffix == ".md":
        texts = blocks(path.read_text())
    elif path.suffix == ".py":
        if not _IN_PYTHON.match(name):
            return
        nodes = ast.walk(ast.parse(path.read_text()))
        constants = (node.value for node in nodes if isinstance(node, ast.Constant))
        texts = [value for value in constants if isinstance(value, str) and _PACKAGE.search(value)]
    elif _PACKAGE.search(path.read_text()):
        texts = _of_values(path) or ["nothing reads a policy out of this file"]
    for number, text in enumerate(texts, 1):
        yield Found(f"{name}#{number}", text)


def _of_values(path: Path) -> list[str]:
    try:
        return [text for document in yaml.safe_load_all(path.read_text()) for text in _strings(document)]
    except yaml.YAMLError:  # a template
        return []


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str) and _PACKAGE.search(value):
        yield value

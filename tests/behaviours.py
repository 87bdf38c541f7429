"""Which behaviours of a catalogue the tests show, and which they do not.

    python tests/behaviours.py services/notification/BEHAVIOURS.md services/notification packages [--list]

A catalogue is a Markdown file with numbered items. A test names those that it shows with
`@pytest.mark.behaviour(24, 41)`; pytest itself collects them, so what it does not collect does not count. A behaviour
without a test must be argued for in the catalogue's last section. Exit code 1 says what is wrong, a line each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

LAST_SECTION = "## Not shown by a test here"
_ITEM = re.compile(r"^(?P<number>\d+)\. (?P<text>\S.*)$", re.MULTILINE)
_ARGUED = re.compile(r"^\* \*\*(?P<number>\d+)\*\*: (?P<text>\S.*)$", re.MULTILINE)
MOST_ARGUED = 3
"""Behaviours that may be argued away; a longer list would be an excuse."""


@dataclass(frozen=True)
class Catalogue:
    """The numbers of a catalogue in their order of appearance, and those that it argues need no test."""

    numbers: tuple[int, ...]
    argued: tuple[int, ...]


def read_catalogue(text: str) -> Catalogue:
    """Return what a catalogue's text says."""
    items, _, last = text.partition(LAST_SECTION)
    return Catalogue(
        tuple(int(match["number"]) for match in _ITEM.finditer(items)),
        tuple(int(match["number"]) for match in _ARGUED.finditer(last)),
    )


class Collector:
    """A pytest plugin that notes which behaviours the collected tests show: number -> test functions."""

    def __init__(self) -> None:
        self.shown: dict[int, set[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look at every collected test; the cases of one function are one test."""
        for item in session.items:
            for mark in item.iter_markers("behaviour"):
                for number in mark.args:
                    self.shown.setdefault(number, set()).add(item.nodeid.partition("[")[0])


def collect(paths: Iterable[str]) -> dict[int, set[str]]:
    """Let pytest collect `paths`; RuntimeError with its words if it cannot."""
    collector, words = Collector(), io.StringIO()
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *paths], plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"cannot collect the tests: pytest ended with {code!r}\n{words.getvalue()[-4000:]}")
    return collector.shown


def problems(catalogue: Catalogue, shown: Mapping[int, object]) -> list[str]:
    """Return what does not fit together; empty if all does."""
    expected = tuple(range(1, len(catalogue.numbers) + 1))
    found = []
    if catalogue.numbers != expected:
        found.append(f"the numbers must be 1 to {len(expected)} in order, each once")
    known, argued = set(catalogue.numbers), set(catalogue.argued)
    if missing := sorted(known - set(shown) - argued):
        found.append(f"no test shows {_list(missing)}: mark one with @pytest.mark.behaviour, or argue why none does")
    if unknown := sorted(set(shown) - known):
        found.append(f"tests show {_list(unknown)}, which the catalogue does not have")
    if stale := sorted(argued & set(shown)):
        found.append(f"{_list(stale)} is shown by a test: remove it from the last section")
    if strangers := sorted(argued - known):
        found.append(f"the last section argues about {_list(strangers)}, which the catalogue does not have")
    if len(argued) > MOST_ARGUED:
        found.append(f"{len(argued)} behaviours are argued away, at most {MOST_ARGUED} may be: write tests")
    return found


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def main(arguments: list[str] | None = None) -> int:
    """Print what is shown and what is not; returns the exit code."""
    parser = argparse.ArgumentParser(description="Which behaviours of a catalogue the tests show.")
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("paths", nargs="+", help="folders with the tests")
    parser.add_argument("--list", action="store_true", help="name every test of each behaviour")
    options = parser.parse_args(arguments)
    catalogue = read_catalogue(options.catalogue.read_text())
    try:
        shown = collect(options.paths)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    for number in catalogue.numbers:
        tests = sorted(shown.get(number, ()))
        print(f"{number:>4}  {len(tests):>2} tests" if tests else f"{number:>4}  not shown")
        for test in tests if options.list else ():
            print(f"          {test}")
    covered = sum(number in shown for number in catalogue.numbers)
    print(f"{covered} of {len(catalogue.numbers)} behaviours are shown by tests, {len(catalogue.argued)} argued")
    wrong = problems(catalogue, shown)
    for line in wrong:
        print(f"cannot accept {options.catalogue}: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Which behaviours of a service's catalogue the tests show, and which they do not.

    python tests/behaviours.py services/notification [--list]

The catalogue is the service's BEHAVIOURS.md: numbered items, and weak points of the Go controller as items W1, W2, ...
A test names those that it shows with `@pytest.mark.behaviour(24, "W4")`; pytest itself collects them, so what it does
not collect does not count. Numbers belong to the service in whose folder the test is; a test of a package names it:
`behaviour(85, service="notification")`. An item without a test must be argued for in the catalogue's last section. Exit
code 1 says what is wrong, a line each.
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
MOST_ARGUED = 3
"""Items that may be argued away; a longer list would be an excuse."""

_ITEM = re.compile(r"^(?P<number>W?\d+)\. (?P<text>\S.*)$", re.MULTILINE)
_ARGUED = re.compile(r"^\* \*\*(?P<number>W?\d+)\*\*: (?P<text>\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Catalogue:
    """The numbers of a catalogue in their order of appearance, and those that it argues need no test."""

    numbers: tuple[str, ...]
    argued: tuple[str, ...]

    @property
    def behaviours(self) -> list[str]:
        """The numbers of the behaviours."""
        return [number for number in self.numbers if not number.startswith("W")]

    @property
    def weak_points(self) -> list[str]:
        """The numbers of the Go controller's weak points."""
        return [number for number in self.numbers if number.startswith("W")]


def read_catalogue(text: str) -> Catalogue:
    """Return what a catalogue's text says."""
    items, _, last = text.partition(LAST_SECTION)
    return Catalogue(
        tuple(match["number"] for match in _ITEM.finditer(items)),
        tuple(match["number"] for match in _ARGUED.finditer(last)),
    )


class Collector:
    """A pytest plugin that notes what the collected tests show of the service in `folder`: number -> test functions.

    `nameless` are tests of no service's folder whose mark names no service.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.shown: dict[str, set[str]] = {}
        self.nameless: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look at every collected test; the cases of one function are one test."""
        for item in session.items:
            test = item.nodeid.partition("[")[0]
            for mark in item.iter_markers("behaviour"):
                service = mark.kwargs.get("service")
                if service is None and not item.path.is_relative_to(self._folder):
                    self.nameless.add(test)
                elif service in (None, self._folder.name):
                    for number in mark.args:
                        self.shown.setdefault(str(number), set()).add(test)


def collect(folder: Path, further: Iterable[Path] = ()) -> Collector:
    """Let pytest collect the tests in `folder` and in `further` ones; RuntimeError with its words if it cannot."""
    collector, words = Collector(folder), io.StringIO()
    paths = [str(path) for path in (folder, *further)]
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *paths], plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"cannot collect the tests: pytest ended with {code!r}\n{words.getvalue()[-4000:]}")
    return collector


def problems(catalogue: Catalogue, shown: Mapping[str, object], nameless: Iterable[str] = ()) -> list[str]:
    """Return what does not fit together; empty if all does."""
    found = []
    for letter, numbers in (("", catalogue.behaviours), ("W", catalogue.weak_points)):
        if numbers != [f"{letter}{number}" for number in range(1, len(numbers) + 1)]:
            found.append(f"the numbers must be {letter}1 to {letter}{len(numbers)} in order, each once")
    known, argued = set(catalogue.numbers), set(catalogue.argued)
    if missing := known - set(shown) - argued:
        found.append(f"no test shows {_list(missing)}: mark one with @pytest.mark.behaviour, or argue why none does")
    if unknown := set(shown) - known:
        found.append(f"tests show {_list(unknown)}, which the catalogue does not have")
    if stale := argued & set(shown):
        found.append(f"{_list(stale)} is shown by a test: remove it from the last section")
    if strangers := argued - known:
        found.append(f"the last section argues about {_list(strangers)}, which the catalogue does not have")
    if len(argued) > MOST_ARGUED:
        found.append(f"{len(argued)} items are argued away, at most {MOST_ARGUED} may be: write tests")
    found.extend(f"{test} is in no service's folder: its mark must name one, service=..." for test in sorted(nameless))
    return found


def _list(numbers: Iterable[str]) -> str:
    return ", ".join(sorted(numbers, key=lambda number: (number.startswith("W"), len(number), number)))


def main(arguments: list[str] | None = None) -> int:
    """Print what is shown and what is not; returns the exit code."""
    parser = argparse.ArgumentParser(description="Which behaviours of a service's catalogue the tests show.")
    parser.add_argument("service", type=Path, help="the service's folder, with BEHAVIOURS.md")
    parser.add_argument("--further", type=Path, nargs="*", default=[Path("packages"), Path("tests")], metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="name every test of each item")
    options = parser.parse_args(arguments)
    path: Path = options.service / "BEHAVIOURS.md"
    try:
        catalogue = read_catalogue(path.read_text())
        found = collect(options.service, options.further)
    except OSError as error:
        print(f"cannot read the catalogue {path}: {error.strerror}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    for number in catalogue.numbers:
        tests = sorted(found.shown.get(number, ()))
        print(f"{number:>4}  {len(tests):>2} tests" if tests else f"{number:>4}  not shown")
        for test in tests if options.list else ():
            print(f"          {test}")
    kinds = {"behaviours": catalogue.behaviours, "weak points": catalogue.weak_points}
    covered = [
        f"{sum(number in found.shown for number in numbers)} of {len(numbers)} {kind}"
        for kind, numbers in kinds.items()
        if numbers
    ]
    print(f"{' and '.join(covered)} are shown by tests, {len(catalogue.argued)} argued")
    wrong = problems(catalogue, found.shown, found.nameless)
    for line in wrong:
        print(f"cannot accept {path}: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

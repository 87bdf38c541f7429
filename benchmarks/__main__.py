"""The command line; see `python -m benchmarks --help`. Progress goes to standard error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import archive
from benchmarks.report import render
from benchmarks.run import BenchmarkError
from benchmarks.services import LOADS
from benchmarks.suite import run_all
from kubernaut_testing.binaries import ToolUnavailableError
from kubernaut_testing.controlplane import ControlPlaneError

EXAMPLE_ROUNDS = 20
QUICK = (50, 1, 3)
"""Objects per run, rounds and repetitions of the examples with `--quick`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the report, return the exit code: 0, or 1 when something could not be measured."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = _parser().parse_args(arguments)
    chosen = [load for load in LOADS if load.name in (options.load or [each.name for each in LOADS])]
    usual = QUICK if options.quick else (None, None, EXAMPLE_ROUNDS)
    loads = [load.sized(options.objects or usual[0], options.repetitions or usual[1]) for load in chosen]
    example_rounds = min(usual[2], 4 * max(load.rounds for load in loads)) if options.repetitions else usual[2]
    command = " ".join(["python -m benchmarks", *_told(options)])
    report: Path | None = options.report
    raw: Path | None = options.json or (report.with_suffix(".json") if report else None)
    try:
        earlier = archive.read(raw) if raw else []
        results = archive.merged(earlier, run_all(command, loads, example_rounds, _tell))
    except (archive.ArchiveError, BenchmarkError, ControlPlaneError, ToolUnavailableError) as error:
        _tell(str(error))
        return 1
    if raw is not None:
        archive.write(raw, results)
    text = render(results, raw.name if raw else None)
    if report is None:
        print(text, end="")
    else:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(text)
        _tell(f"wrote {report} and {raw}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--load", action="append", choices=[load.name for load in LOADS], help="a load to measure (default: all)"
    )
    parser.add_argument("--objects", type=_positive, help="objects per run (default: as the load says)")
    parser.add_argument("--repetitions", type=_positive, help="rounds of all modes (default: as the load says)")
    parser.add_argument("--report", type=Path, help="Markdown file to write (default: standard output)")
    parser.add_argument(
        "--json",
        type=Path,
        help="file for the raw figures; other loads keep theirs in it (default: beside the report)",
    )
    parser.add_argument("--quick", action="store_true", help=f"a short look: {QUICK[0]} objects, {QUICK[1]} round")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def _told(options: argparse.Namespace) -> list[str]:
    """The options as the report repeats them: a file outside of the working folder by its name only."""
    given = ["--quick"] if options.quick else []
    for load in options.load or ():
        given += ["--load", load]
    for name in ("objects", "repetitions"):
        if (value := getattr(options, name)) is not None:
            given += [f"--{name}", str(value)]
    for name in ("report", "json"):
        if (path := getattr(options, name)) is not None:
            given += [f"--{name}", path.name if path.is_absolute() else path.as_posix()]
    return given


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""The raw figures that a report is made of, kept beside it: one entry per call of the command.

A call measures some loads. They take the place of what an earlier call measured of them, and everything else stays, so
that one load can be measured again without the hour that all take. Each entry keeps its command, machine and versions:
figures of two calls stand on one page, and are not compared there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.services import LOADS
from benchmarks.suite import Results


class ArchiveError(RuntimeError):
    """The file with earlier figures cannot be understood."""


def read(path: Path) -> list[Results]:
    """The results in the file, the oldest first; none if there is no file. Raises ArchiveError."""
    try:
        return [Results.from_raw(each) for each in json.loads(path.read_text())["results"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ArchiveError(
            f"cannot read the figures of {path.name}: {type(error).__name__}: {error}; remove the file to begin anew"
        ) from None


def merged(earlier: Sequence[Results], new: Results) -> list[Results]:
    """`earlier` without what `new` measured again and without loads that are no more; then `new`."""
    measured = {load.name for load in new.loads}
    counted = {each.service for each in new.examples}
    known = {load.name for load in LOADS}
    kept = []
    for results in earlier:
        left = {load.name for load in results.loads if load.name in known} - measured
        rest = replace(
            results,
            loads=tuple(load for load in results.loads if load.name in left),
            runs=[run for run in results.runs if run.load in left],
            examples=[each for each in results.examples if each.service not in counted],
        )
        if rest.loads:
            kept.append(rest)
    return [*kept, new]


def write(path: Path, archive: Sequence[Results]) -> None:
    """Write the results for `read`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"results": [each.raw() for each in archive]}, indent=1) + "\n")

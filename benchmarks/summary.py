"""Medians over the rounds, and ratios within a round.

A ratio is taken between two runs of the same round, which ran minutes apart at most, and only then is the median taken:
what slows a whole round down does not show in it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Values


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest value of a figure."""

    median: float
    least: float
    greatest: float


@dataclass(frozen=True)
class Run:
    """One run: the name of its load, its round (from 0), the name of its mode, its figures."""

    load: str
    round: int
    mode: str
    values: Values


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of `values` lie, by linear interpolation between neighbours; None if empty."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(runs: Sequence[Run], mode: str, key: str) -> Spread | None:
    """The figure `key` over all rounds of `mode`; None if no run has it."""
    found = [value for run in runs if run.mode == mode and (value := run.values.get(key)) is not None]
    return Spread(statistics.median(found), min(found), max(found)) if found else None


def ratio(runs: Sequence[Run], mode: str, key: str, base: str) -> float | None:
    """Median over the rounds of `key` in `mode` divided by `key` in `base`; None where that says nothing."""
    by_round: dict[int, dict[str, float]] = {}
    for run in runs:
        if (value := run.values.get(key)) is not None:
            by_round.setdefault(run.round, {})[run.mode] = value
    ratios = [values[mode] / values[base] for values in by_round.values() if mode in values and values.get(base)]
    return statistics.median(ratios) if ratios else None

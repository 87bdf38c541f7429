"""Reading metrics in Prometheus text format: counters and histograms between two looks at a server."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Histogram:
    """Cumulative counts by upper bound in seconds (the last is infinite), sum of all values, number of values."""

    buckets: dict[float, float] = field(default_factory=dict)
    total: float = 0.0
    count: float = 0.0

    def since(self, earlier: Histogram) -> Histogram:
        """What was observed after `earlier`."""
        buckets = {bound: number - earlier.buckets.get(bound, 0.0) for bound, number in self.buckets.items()}
        return Histogram(buckets, self.total - earlier.total, self.count - earlier.count)

    @property
    def mean(self) -> float | None:
        """The exact mean in seconds; None without values."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of all values lie, by linear interpolation within its bucket.

        As Prometheus's histogram_quantile: what lies beyond the last finite bound counts as that bound.
        """
        wanted = share * self.count
        below, reached = 0.0, 0.0
        for bound in sorted(self.buckets):
            number = self.buckets[bound]
            if self.count and number >= wanted:
                if math.isinf(bound):
                    return below
                inside = (wanted - reached) / (number - reached) if number > reached else 0.0
                return below + (bound - below) * inside
            below, reached = bound, number
        return None


class Metrics:
    """One look at a server's metrics: `text` is what its `/metrics` answered."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def samples(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """The samples of `name` that have these labels: all labels and the value of each."""
        for line in self._lines:
            if not line.startswith(name) or not (match := _SAMPLE.match(line)) or match["name"] != name:
                continue
            given = dict(_LABEL.findall(match["labels"] or ""))
            if labels.items() <= given.items():
                yield given, float(match["value"])

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of `name` that have these labels; 0 if there is none."""
        return sum(value for _, value in self.samples(name, **labels))

    def label(self, name: str, label: str) -> str:
        """The value of a label of the first sample of `name`, empty if there is none."""
        return next((labels.get(label, "") for labels, _ in self.samples(name)), "")

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram `name`, summed over all its series that have these labels."""
        buckets: dict[float, float] = {}
        for given, value in self.samples(f"{name}_bucket", **labels):
            bound = float(given["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        return Histogram(buckets, self.value(f"{name}_sum", **labels), self.value(f"{name}_count", **labels))

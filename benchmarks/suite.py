"""The whole measurement: one control plane, rounds of all modes in rotated order, then the examples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from scenarios.notification import install_crds

from benchmarks import machine
from benchmarks.examples import Counted, count_examples
from benchmarks.modes import MODES
from benchmarks.prometheus import Metrics
from benchmarks.run import CREATORS, RECONCILES, measure
from benchmarks.summary import Run
from kubernaut_testing.controlplane import ControlPlane

WARM_UP = 20
"""Notifications of a run that is not counted: a fresh API server answers slowly at first."""

Tell = Callable[[str], None]


@dataclass
class Results:
    """Everything that was measured, and on what."""

    notifications: int
    rounds: int
    example_rounds: int
    machine: dict[str, str | float]
    versions: dict[str, str]
    runs: list[Run] = field(default_factory=list)
    examples: list[Counted] = field(default_factory=list)
    seconds: float = 0.0
    creators: int = CREATORS
    reconciles: int = RECONCILES

    @property
    def warm_up(self) -> int:
        """Notifications of the run before the first, which is not counted."""
        return min(WARM_UP, self.notifications)

    def raw(self) -> dict[str, Any]:
        """All of it as plain data, for a JSON file."""
        return asdict(self)


def run_all(notifications: int, rounds: int, example_rounds: int, tell: Tell) -> Results:
    """Measure every mode `rounds` times with `notifications` objects, and each example `example_rounds` times.

    `tell` gets a line of progress after each run. Raises BenchmarkError (see `run`), and what a control plane
    that cannot start raises.
    """
    began = time.monotonic()
    results = Results(notifications, rounds, example_rounds, machine.describe(), {})
    tell("starting etcd and kube-apiserver")
    # No bodies in the audit log: recording them would cost the API server more, the more is written.
    with ControlPlane(record_bodies=()) as control_plane:
        install_crds(control_plane)
        results.versions = {
            "kubernetes": str(control_plane.api.request("GET", "/version")["gitVersion"]).removeprefix("v"),
            "etcd": Metrics(control_plane.etcd_metrics()).label("etcd_server_version", "server_version"),
        }
        tell(f"warming up: {results.warm_up} notifications")
        measure(control_plane, "warm-up", MODES[0], results.warm_up)
        for number in range(rounds):
            first = number % len(MODES)
            for place, mode in enumerate((*MODES[first:], *MODES[:first])):
                values = measure(control_plane, f"round-{number}-{place}", mode, notifications)
                results.runs.append(Run(number, mode.name, values))
                tell(
                    f"round {number + 1} of {rounds}, {mode.name}: {values['object_requests']} requests on objects, "
                    f"{values['wall']:.1f} s [{time.monotonic() - began:.0f} s so far]"
                )
        tell("counting the standard's examples")
        results.examples = asyncio.run(count_examples(control_plane, "examples", example_rounds))
    results.seconds = time.monotonic() - began
    return results

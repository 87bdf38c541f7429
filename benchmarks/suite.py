"""The whole measurement: one control plane; per load, rounds of its modes in rotated order; then the examples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import machine
from benchmarks.examples import Counted, count_examples
from benchmarks.loads import Load
from benchmarks.modes import ATOMIC, MODES
from benchmarks.prometheus import Metrics
from benchmarks.run import CREATORS, RECONCILES, measure
from benchmarks.services import SERVICES, service_of
from benchmarks.summary import Run
from kubernaut_testing.controlplane import ControlPlane

WARM_UP = Load("warm-up", "warm-up", 20)
"""A run of each service that is not counted: a fresh API server answers slowly at first."""

Tell = Callable[[str], None]


@dataclass
class Results:
    """Everything that one call of the command measured, and on what."""

    command: str
    loads: tuple[Load, ...]
    example_rounds: int
    machine: dict[str, str | float]
    versions: dict[str, str]
    runs: list[Run] = field(default_factory=list)
    examples: list[Counted] = field(default_factory=list)
    seconds: float = 0.0
    creators: int = CREATORS
    reconciles: int = RECONCILES

    def raw(self) -> dict[str, Any]:
        """All of it as plain data, for a JSON file."""
        plain = asdict(self)
        for load in plain["loads"]:
            load["modes"] = [mode["name"] for mode in load["modes"]]
        return plain

    @classmethod
    def from_raw(cls, plain: dict[str, Any]) -> Results:
        """What `raw` gave. Raises KeyError, TypeError or ValueError for anything else."""
        modes = {mode.name: mode for mode in MODES}
        loads = [Load(**{**each, "modes": tuple(modes[name] for name in each["modes"])}) for each in plain["loads"]]
        runs = [Run(**each) for each in plain["runs"]]
        examples = [Counted(**each) for each in plain["examples"]]
        return cls(**{**plain, "loads": tuple(loads), "runs": runs, "examples": examples})


def run_all(command: str, loads: Sequence[Load], example_rounds: int, tell: Tell) -> Results:
    """Measure every load in its modes, as often as it says, and `example_rounds` times each example of its service.

    `command` is what this is the measurement of. `tell` gets a line of progress after each run. Raises BenchmarkError
    (see `run`), and what a control plane that cannot start raises.
    """
    began = time.monotonic()
    results = Results(command, tuple(loads), example_rounds, machine.describe(), {})
    services = [service for service in SERVICES if any(service_of(load.name) is service for load in loads)]
    tell("starting etcd and kube-apiserver")
    # No bodies in the audit log: recording them would cost the API server more, the more is written.
    with ControlPlane(record_bodies=()) as control_plane:
        results.versions = {
            "kubernetes": str(control_plane.api.request("GET", "/version")["gitVersion"]).removeprefix("v"),
            "etcd": Metrics(control_plane.etcd_metrics()).label("etcd_server_version", "server_version"),
        }
        for service in services:
            service.install(control_plane)
            tell(f"warming up: {WARM_UP.objects} {service.objects}")
            measure(control_plane, service, f"warm-up-{service.name}", ATOMIC, WARM_UP)
        for load in loads:
            service = service_of(load.name)
            for number in range(load.rounds):
                first = number % len(load.modes)
                for place, mode in enumerate((*load.modes[first:], *load.modes[:first])):
                    values = measure(control_plane, service, f"{load.name}-{number}-{place}", mode, load)
                    results.runs.append(Run(load.name, number, mode.name, values))
                    took = values["wall"] or values["backlog_wall"]
                    tell(
                        f"{service.title}, {load.title}: round {number + 1} of {load.rounds}, {mode.name}: "
                        f"{values['object_requests']} requests on objects, {took:.1f} s "
                        f"[{time.monotonic() - began:.0f} s so far]"
                    )
        tell("counting the examples")
        results.examples = asyncio.run(count_examples(control_plane, services, "examples", example_rounds))
    results.seconds = time.monotonic() - began
    return results

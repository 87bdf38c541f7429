"""Single commits, counted in the API server's audit log; what is committed is the service's (`service.Example`).

The time is that of the call, seen by the caller.
"""

from __future__ import annotations

import ssl
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.modes import MODES
from benchmarks.run import BenchmarkError
from benchmarks.service import Service
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.ledger import RequestLedger

AGENT = "kubernaut-benchmarks/examples"


@dataclass(frozen=True, slots=True)
class Counted:
    """What one commit of an example cost in one mode: status PATCHes, GETs, and milliseconds (median)."""

    service: str
    example: str
    mode: str
    patches: int
    gets: int
    milliseconds: float


async def count_examples(
    control_plane: ControlPlane, services: Sequence[Service], namespace: str, repetitions: int
) -> list[Counted]:
    """Commit each example in each mode `repetitions` times; `namespace` must not exist yet.

    Raises BenchmarkError if two commits of the same example in the same mode differ in their requests.
    """
    control_plane.create_namespace(namespace)
    tls = ssl.create_default_context(cafile=str(control_plane.ca_file))
    token = control_plane.admin_token
    found: list[Counted] = []
    async with AiohttpClient(control_plane.url, ssl=tls, token=lambda: token, user_agent=AGENT) as client:
        for service in services:
            found += await _count(control_plane, client, service, namespace, repetitions)
    return found


async def _count(
    control_plane: ControlPlane, client: AiohttpClient, service: Service, namespace: str, repetitions: int
) -> list[Counted]:
    found: list[Counted] = []
    for example in service.examples:
        times: dict[str, list[float]] = {mode.name: [] for mode in MODES}
        costs: dict[str, set[tuple[int, int]]] = {mode.name: set() for mode in MODES}
        for repetition in range(repetitions):
            for number, mode in enumerate(MODES):
                name = f"{example.name}-{number}-{repetition}"
                ledger = control_plane.ledger().fresh()
                commit = await example.prepare(control_plane, client, mode, namespace, name)
                mark = ledger.mark()
                began = time.perf_counter()
                await commit()
                times[mode.name].append(time.perf_counter() - began)
                costs[mode.name].add(_cost(ledger, mark, f"{service.plural}/{namespace}/{name}"))
        for mode in MODES:
            if len(costs[mode.name]) != 1:
                raise BenchmarkError(
                    f"cannot count {example.name} in {mode.name}: its commits differ in (PATCH, GET): "
                    f"{sorted(costs[mode.name])}"
                )
            ((patches, gets),) = costs[mode.name]
            median = statistics.median(times[mode.name]) * 1000
            found.append(Counted(service.name, example.name, mode.name, patches, gets, median))
    return found


def _cost(ledger: RequestLedger, mark: int, obj: str) -> tuple[int, int]:
    ledger.settle()
    counted = ledger.count(obj, user_agent=AGENT, since=mark)
    return counted.get("patch/status", 0), counted.get("get", 0)

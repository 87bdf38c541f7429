"""One run: one service, one mode, one namespace, one operator process, one load, all figures.

The load is created by several threads, while the operator works; a backlog before it starts. Nothing but the operator
reads or watches the objects before all have ended; that they have is seen in the operator's own metrics first. CPU and
metrics are taken from before the first creation (with a backlog: from before the operator's start) until the operator
has been quiet for `QUIET` seconds, so that its Events are in.

Processes that the operator started are its policy workers; they are told apart from it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Values
from benchmarks.loads import Load, paced
from benchmarks.machine import Clocks
from benchmarks.modes import Mode
from benchmarks.prometheus import Metrics
from benchmarks.service import Service, Stage
from benchmarks.summary import quantile
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.entries import Entry
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.process import children_of, usage_of
from kubernaut_testing.rest import ADMIN_AGENT
from kubernaut_testing.waiting import eventually

CREATORS = 4
"""Threads that create the load."""

RECONCILES = 10
"""The operator's `controller.maxConcurrentReconciles`."""

QUIET = 1.0
_GROUP = "kubernaut.ai"


class BenchmarkError(RuntimeError):
    """A run did not do what was to be measured; its figures would mean nothing."""


def measure(control_plane: ControlPlane, service: Service, namespace: str, mode: Mode, load: Load) -> Values:
    """Take the objects of `load` to their end and return the figures.

    `namespace` must not exist yet. Raises BenchmarkError if not every object ends as it should.
    """
    control_plane.create_namespace(namespace)
    config = {"controller": {**mode.config, "maxConcurrentReconciles": RECONCILES}, "logging": {"level": "WARN"}}
    with (
        tempfile.TemporaryDirectory(prefix="kubernaut-bench-") as folder,
        service.stage(control_plane, namespace, Path(folder), config) as stage,
    ):
        run = _Run(control_plane, service, stage)
        return (_measure_backlog if load.backlog else _measure_stream)(run, load)


@dataclass(frozen=True)
class _Run:
    control_plane: ControlPlane
    service: Service
    stage: Stage


def _measure_stream(run: _Run, load: Load) -> Values:
    with run.stage.site.deployment:
        look = _Look(run)
        names = [f"n-{number}" for number in range(load.objects)]
        _create(run, paced(names, load.per_minute))
        _wait_until_ended(run, load.objects)
        _wait_until_quiet(run, look.ledger)
        return {**look.figures(), **_latencies(look.ledger, run, names), "backlog_wall": None, "fresh_p50": None}


def _measure_backlog(run: _Run, load: Load) -> Values:
    made = run.control_plane.ledger().fresh()
    old = [f"n-{number}" for number in range(load.objects)]
    fresh = [f"fresh-{number}" for number in range(load.fresh)]
    _create(run, old)
    look, started = _Look(run), datetime.now(UTC)
    with run.stage.site.deployment:
        for name in fresh:
            run.stage.create(name)
            _wait_for_one(run, name, timeout=60 + load.objects / 2)
        _wait_until_ended(run, len(old) + len(fresh))
        _wait_until_quiet(run, look.ledger)
        ends = _ends(made, run, [*old, *fresh])
        waits = [(end - created).total_seconds() for created, end in (ends[name] for name in fresh)]
        return {
            **look.figures(),
            **dict.fromkeys(("wall", "ended_p50", "ended_p95", "ended_p99")),
            "backlog_wall": (max(ends[name][1] for name in old) - started).total_seconds(),
            "fresh_p50": quantile(waits, 0.5),
        }


def _wait_for_one(run: _Run, name: str, timeout: float) -> None:
    end = run.service.end
    try:
        eventually(lambda: run.stage.site.phase(name) == end, timeout=timeout, interval=0.2)
    except AssertionError:
        raise BenchmarkError(f"cannot measure: {name} was not {end} within {timeout:g} s") from None


def _create(run: _Run, names: Iterable[str]) -> None:
    with ThreadPoolExecutor(CREATORS) as creators:
        for made in [creators.submit(run.stage.create, name) for name in names]:
            made.result()


class _Look:
    """What was spent and asked since this was made, also by an operator that starts later."""

    def __init__(self, run: _Run) -> None:
        self.ledger = run.control_plane.ledger().fresh()
        self._run = run
        self._process = run.stage.site.deployment.process
        self._server = Metrics(run.control_plane.metrics())
        self._workers = children_of(self._process.pid) if self._process.running else set()
        before = Clocks.read(self._pids() if self._process.running else self._servers())
        idle = {"operator": 0.0, "workers": 0.0}
        self._before = replace(before, processes={**idle, **before.processes})

    def _servers(self) -> dict[str, list[int]]:
        return {name: [pid] for name, pid in self._run.control_plane.pids.items()}

    def _pids(self) -> dict[str, list[int]]:
        return {**self._servers(), "operator": [self._process.pid], "workers": sorted(self._workers)}

    def figures(self) -> Values:
        """All figures that do not depend on the load's shape."""
        run = self._run
        workers = children_of(self._process.pid)
        if not self._workers <= workers:
            raise BenchmarkError("cannot measure: a process that the operator had started ended during the run")
        self._workers = workers
        after = Clocks.read(self._pids())
        usage = self._process.usage()
        memory = [usage_of(pid) for pid in workers]
        server = Metrics(run.control_plane.metrics())
        return {
            **_requests(self.ledger.entries(user_agent=run.service.program), run.service.plural),
            **_server(self._server, server, run.service.plural),
            "events_dropped": run.stage.site.deployment.metric("kubernetes_events_total", result="overflowed"),
            "operator_cpu": after.spent("operator", self._before),
            "operator_rss": usage.rss / 1024**2,
            "operator_peak": usage.peak / 1024**2,
            "workers_cpu": after.spent("workers", self._before) if workers else None,
            "workers_rss": sum(each.rss for each in memory) / 1024**2 if workers else None,
            "workers_peak": sum(each.peak for each in memory) / 1024**2 if workers else None,
            "apiserver_cpu": after.spent("kube-apiserver", self._before),
            "etcd_cpu": after.spent("etcd", self._before),
            "others": after.others(self._before),
        }


def _wait_until_ended(run: _Run, objects: int) -> None:
    timeout, service, deployment = 60 + objects / 2, run.service, run.stage.site.deployment
    phases: list[str] = []

    def told() -> bool:
        return deployment.metric(f"{service.prefix}_time_to_terminal_seconds_count") >= objects

    def all_ended() -> bool:
        phases[:] = [str(each.get("status", {}).get("phase", "")) for each in run.stage.site.objects()]
        return len(phases) == objects and set(phases) == {service.end}

    try:
        # The operator's metrics ask nothing of the API server; the objects are listed only when it is over.
        eventually(told, timeout=timeout, interval=min(1.0, objects / 500))
        eventually(all_ended, timeout=10, interval=0.5)
    except AssertionError:
        all_ended()
        log = deployment.process.log.read_text(errors="replace")[-3000:]
        counted = {phase or "(none)": phases.count(phase) for phase in sorted(set(phases))}
        raise BenchmarkError(
            f"cannot measure: not all of {objects} {service.objects} were {service.end} in time; phases: {counted}; "
            f"the end of the operator's log:\n{log}"
        ) from None


def _wait_until_quiet(run: _Run, ledger: RequestLedger) -> None:
    last, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET:
        time.sleep(QUIET / 10)
        ledger.settle()
        writes = len(ledger.entries(user_agent=run.service.program, where=lambda entry: entry.resource != "leases"))
        if writes != last:
            last, since = writes, time.monotonic()


def _requests(entries: Sequence[Entry], plural: str) -> Values:
    patches = [entry for entry in entries if (entry.resource, entry.action) == (plural, "patch/status")]
    gets = [entry for entry in entries if (entry.resource, entry.action) == (plural, "get")]
    reads = [entry for entry in entries if entry.resource not in (plural, "leases") and entry.verb == "get"]
    events = [entry for entry in entries if entry.resource == "events"]
    took = _seconds(patches)
    behind = max(entry.time for entry in events) - max(entry.time for entry in patches) if events and patches else None
    return {
        "patches": len(patches),
        "gets": len(gets),
        "object_requests": len(patches) + len(gets),
        "reads": len(reads),
        "events": len(events),
        "other": len(entries) - len(patches) - len(gets) - len(reads) - len(events),
        "requests": len(entries),
        "conflicts": sum(entry.code == 409 for entry in entries),
        "events_behind": None if behind is None else max(0.0, behind.total_seconds()),
        "reads_total": sum(_seconds(reads)),
        "patch_audit_p50": _ms(quantile(took, 0.5)),
        "patch_audit_p95": _ms(quantile(took, 0.95)),
        "patch_audit_p99": _ms(quantile(took, 0.99)),
    }


def _seconds(entries: Sequence[Entry]) -> list[float]:
    """From each request's arrival to the end of its answer."""
    return [(entry.time - entry.received).total_seconds() for entry in entries]


def _latencies(ledger: RequestLedger, run: _Run, names: Sequence[str]) -> Values:
    ends = _ends(ledger, run, names)
    waits = [(end - created).total_seconds() for created, end in ends.values()]
    return {
        "wall": (max(end for _, end in ends.values()) - min(created for created, _ in ends.values())).total_seconds(),
        "ended_p50": quantile(waits, 0.5),
        "ended_p95": quantile(waits, 0.95),
        "ended_p99": quantile(waits, 0.99),
    }


def _ends(ledger: RequestLedger, run: _Run, names: Sequence[str]) -> dict[str, tuple[datetime, datetime]]:
    """When each object was created and when it ended: as all have ended, the last status write of each said so."""
    plural, namespace = run.service.plural, run.stage.site.namespace
    creations = ledger.entries(resource=plural, namespace=namespace, verb="create", user_agent=ADMIN_AGENT)
    writes = ledger.entries(resource=plural, namespace=namespace, subresource="status", code=200)
    created = {entry.name: entry.time for entry in creations}
    ended = {entry.name: entry.time for entry in writes}
    if not created.keys() == ended.keys() == set(names):
        raise BenchmarkError("cannot measure: the audit log does not show every object's creation and end")
    return {name: (created[name], ended[name]) for name in names}


def _server(before: Metrics, after: Metrics, plural: str) -> Values:
    of_objects = {"group": _GROUP, "resource": plural}
    patch, etcd = (
        after.histogram(name, **labels).since(before.histogram(name, **labels))
        for name, labels in (
            ("apiserver_request_duration_seconds", {**of_objects, "subresource": "status", "verb": "PATCH"}),
            ("etcd_request_duration_seconds", {**of_objects, "operation": "update"}),
        )
    )
    watched = "apiserver_watch_events_total"
    return {
        "watch_events": after.value(watched, **of_objects) - before.value(watched, **of_objects),
        "patch_total": patch.total,
        "patch_mean": _ms(patch.mean),
        "patch_p50": _ms(patch.quantile(0.5)),
        "patch_p95": _ms(patch.quantile(0.95)),
        "etcd_writes": etcd.count,
        "etcd_total": etcd.total,
        "etcd_mean": _ms(etcd.mean),
        "etcd_p50": _ms(etcd.quantile(0.5)),
        "etcd_p95": _ms(etcd.quantile(0.95)),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000

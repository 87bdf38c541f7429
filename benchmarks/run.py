"""One run: one mode, one namespace, one operator process, one load, all figures.

The load is created by several threads, while the operator works; a backlog before it starts. Nothing but the operator
reads or watches the objects before all are delivered. CPU and metrics are taken from before the first creation (with a
backlog: from before the operator's start) until the operator has been quiet for `QUIET` seconds, so that its Events
are in.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from scenarios.notification import PLURAL, PROGRAM, NotificationSite

from benchmarks.figures import Values
from benchmarks.loads import Load, paced
from benchmarks.machine import Clocks
from benchmarks.modes import Mode
from benchmarks.prometheus import Metrics
from benchmarks.summary import quantile
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.entries import Entry
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import WebhookReceiver
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


def measure(control_plane: ControlPlane, namespace: str, mode: Mode, load: Load) -> Values:
    """Deliver the notifications of `load` through three channels each and return the figures.

    `namespace` must not exist yet. Raises BenchmarkError if not every notification ends Sent.
    """
    control_plane.create_namespace(namespace)
    with WebhookReceiver() as receiver, tempfile.TemporaryDirectory(prefix="kubernaut-bench-") as folder:
        config = {"controller": {**mode.config, "maxConcurrentReconciles": RECONCILES}, "logging": {"level": "WARN"}}
        site = NotificationSite(control_plane, namespace, Path(folder), receiver, config=config)
        return (_measure_backlog if load.backlog else _measure_stream)(site, load)


def _measure_stream(site: NotificationSite, load: Load) -> Values:
    with site.deployment:
        look = _Look(site)
        names = [f"n-{number}" for number in range(load.notifications)]
        _create(site, paced(names, load.per_minute))
        _wait_until_sent(site, load.notifications)
        _wait_until_quiet(look.ledger)
        return {**look.figures(), **_latencies(look.ledger, site, names), "backlog_wall": None, "fresh_p50": None}


def _measure_backlog(site: NotificationSite, load: Load) -> Values:
    made = site.control_plane.ledger().fresh()
    old = [f"n-{number}" for number in range(load.notifications)]
    fresh = [f"fresh-{number}" for number in range(load.fresh)]
    _create(site, old)
    look, started = _Look(site), datetime.now(UTC)
    with site.deployment:
        for name in fresh:
            site.create(name)
            _wait_until_ended(site, name, timeout=60 + load.notifications / 2)
        _wait_until_sent(site, len(old) + len(fresh))
        _wait_until_quiet(look.ledger)
        ends = _ends(made, site, [*old, *fresh])
        waits = [(sent - created).total_seconds() for created, sent in (ends[name] for name in fresh)]
        return {
            **look.figures(),
            **dict.fromkeys(("wall", "sent_p50", "sent_p95", "sent_p99")),
            "backlog_wall": (max(ends[name][1] for name in old) - started).total_seconds(),
            "fresh_p50": quantile(waits, 0.5),
        }


def _wait_until_ended(site: NotificationSite, name: str, timeout: float) -> None:
    try:
        eventually(lambda: site.ended(name), timeout=timeout, interval=0.2)
    except AssertionError:
        raise BenchmarkError(f"cannot measure: notification {name} was not Sent within {timeout:g} s") from None


def _create(site: NotificationSite, names: Iterable[str]) -> None:
    with ThreadPoolExecutor(CREATORS) as creators:
        for made in [creators.submit(site.create, name) for name in names]:
            made.result()


class _Look:
    """What was spent and asked since this was made, also by an operator that starts later."""

    def __init__(self, site: NotificationSite) -> None:
        self.ledger = site.control_plane.ledger().fresh()
        self._site = site
        self._server = Metrics(site.control_plane.metrics())
        running = site.deployment.process.running
        before = Clocks.read(self._pids() if running else site.control_plane.pids)
        self._before = before if running else replace(before, processes={**before.processes, "operator": 0.0})

    def _pids(self) -> dict[str, int]:
        return {**self._site.control_plane.pids, "operator": self._site.deployment.process.pid}

    def figures(self) -> Values:
        """All figures that do not depend on the load's shape."""
        site = self._site
        after = Clocks.read(self._pids())
        usage = site.deployment.process.usage()
        server = Metrics(site.control_plane.metrics())
        return {
            **_requests(self.ledger.entries(user_agent=PROGRAM)),
            **_server(self._server, server),
            "events_dropped": site.deployment.metric("kubernetes_events_total", result="overflowed"),
            "operator_cpu": after.spent("operator", self._before),
            "operator_rss": usage.rss / 1024**2,
            "operator_peak": usage.peak / 1024**2,
            "apiserver_cpu": after.spent("kube-apiserver", self._before),
            "etcd_cpu": after.spent("etcd", self._before),
            "others": after.others(self._before),
        }


def _wait_until_sent(site: NotificationSite, notifications: int) -> None:
    timeout = 60 + notifications / 2
    phases: list[str] = []

    def all_sent() -> bool:
        phases[:] = [str(each.get("status", {}).get("phase", "")) for each in site.objects()]
        return len(phases) == notifications and set(phases) == {"Sent"}

    try:
        # Counting messages asks nothing of the API server; the objects are listed only when it is nearly over.
        site.receiver.wait_for(notifications, timeout=timeout)
        eventually(all_sent, timeout=60, interval=0.5)
    except AssertionError:
        log = site.deployment.process.log.read_text(errors="replace")[-3000:]
        counted = {phase or "(none)": phases.count(phase) for phase in sorted(set(phases))}
        raise BenchmarkError(
            f"cannot measure: not all of {notifications} notifications were Sent in time; Slack's stand-in got "
            f"{len(site.receiver.requests)} messages, last phases seen: {counted}; the end of the operator's log:\n"
            f"{log}"
        ) from None


def _wait_until_quiet(ledger: RequestLedger) -> None:
    last, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET:
        time.sleep(QUIET / 10)
        ledger.settle()
        writes = len(ledger.entries(user_agent=PROGRAM, where=lambda entry: entry.resource != "leases"))
        if writes != last:
            last, since = writes, time.monotonic()


def _requests(entries: Sequence[Entry]) -> Values:
    patches = [entry for entry in entries if (entry.resource, entry.action) == (PLURAL, "patch/status")]
    gets = [entry for entry in entries if (entry.resource, entry.action) == (PLURAL, "get")]
    events = [entry for entry in entries if entry.resource == "events"]
    took = [(entry.time - entry.received).total_seconds() for entry in patches]
    return {
        "patches": len(patches),
        "gets": len(gets),
        "object_requests": len(patches) + len(gets),
        "events": len(events),
        "other": len(entries) - len(patches) - len(gets) - len(events),
        "requests": len(entries),
        "conflicts": sum(entry.code == 409 for entry in entries),
        "patch_audit_p50": _ms(quantile(took, 0.5)),
        "patch_audit_p95": _ms(quantile(took, 0.95)),
        "patch_audit_p99": _ms(quantile(took, 0.99)),
    }


def _latencies(ledger: RequestLedger, site: NotificationSite, names: Sequence[str]) -> Values:
    ends = _ends(ledger, site, names)
    waits = [(sent - created).total_seconds() for created, sent in ends.values()]
    return {
        "wall": (max(sent for _, sent in ends.values()) - min(created for created, _ in ends.values())).total_seconds(),
        "sent_p50": quantile(waits, 0.5),
        "sent_p95": quantile(waits, 0.95),
        "sent_p99": quantile(waits, 0.99),
    }


def _ends(ledger: RequestLedger, site: NotificationSite, names: Sequence[str]) -> dict[str, tuple[datetime, datetime]]:
    """When each object was created and when it was Sent: as all are Sent, the last status write of each said so."""
    creations = ledger.entries(resource=PLURAL, namespace=site.namespace, verb="create", user_agent=ADMIN_AGENT)
    writes = ledger.entries(resource=PLURAL, namespace=site.namespace, subresource="status", code=200)
    created = {entry.name: entry.time for entry in creations}
    sent = {entry.name: entry.time for entry in writes}
    if not created.keys() == sent.keys() == set(names):
        raise BenchmarkError("cannot measure: the audit log does not show every notification's creation and end")
    return {name: (created[name], sent[name]) for name in names}


def _server(before: Metrics, after: Metrics) -> Values:
    of_objects = {"group": _GROUP, "resource": PLURAL}
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

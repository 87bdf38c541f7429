"""One run: one mode, one namespace, one operator process, one load, all figures.

The load is created by several threads as fast as the API server takes it, while the operator works. Nothing but the
operator reads or watches the objects before all are delivered. CPU and metrics are taken from before the first
creation until the operator has been quiet for `QUIET` seconds, so that its Events are in.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scenarios.notification import PLURAL, PROGRAM, NotificationSite

from benchmarks.figures import Values
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


def measure(control_plane: ControlPlane, namespace: str, mode: Mode, notifications: int) -> Values:
    """Deliver `notifications` through three channels each and return the figures.

    `namespace` must not exist yet. Raises BenchmarkError if not every notification ends Sent.
    """
    control_plane.create_namespace(namespace)
    with WebhookReceiver() as receiver, tempfile.TemporaryDirectory(prefix="kubernaut-bench-") as folder:
        config = {"controller": {**mode.config, "maxConcurrentReconciles": RECONCILES}, "logging": {"level": "WARN"}}
        site = NotificationSite(control_plane, namespace, Path(folder), receiver, config=config)
        with site.deployment:
            return _load_and_measure(site, notifications)


def _load_and_measure(site: NotificationSite, notifications: int) -> Values:
    plane, process = site.control_plane, site.deployment.process
    ledger = plane.ledger().fresh()
    pids = {**plane.pids, "operator": process.pid}
    server_before = Metrics(plane.metrics())
    before = Clocks.read(pids)
    names = [f"n-{number}" for number in range(notifications)]
    with ThreadPoolExecutor(CREATORS) as creators:
        for _ in creators.map(site.create, names):
            pass
    _wait_until_sent(site, notifications)
    _wait_until_quiet(ledger)
    after = Clocks.read(pids)
    memory = process.usage().rss
    server = Metrics(plane.metrics())
    return {
        **_requests(ledger.entries(user_agent=PROGRAM)),
        **_latencies(ledger, site, names),
        **_server(server_before, server),
        "events_dropped": site.deployment.metric("kubernetes_events_total", result="overflowed"),
        "operator_cpu": after.spent("operator", before),
        "operator_rss": memory / 1024**2,
        "apiserver_cpu": after.spent("kube-apiserver", before),
        "etcd_cpu": after.spent("etcd", before),
        "others": after.others(before),
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
    }


def _latencies(ledger: RequestLedger, site: NotificationSite, names: Sequence[str]) -> Values:
    """Every object is Sent by now, so the last status write of each is the one that said so."""
    creations = ledger.entries(resource=PLURAL, namespace=site.namespace, verb="create", user_agent=ADMIN_AGENT)
    writes = ledger.entries(resource=PLURAL, namespace=site.namespace, subresource="status", code=200)
    created = {entry.name: entry for entry in creations}
    sent = {entry.name: entry for entry in writes}
    if not created.keys() == sent.keys() == set(names):
        raise BenchmarkError("cannot measure: the audit log does not show every notification's creation and end")
    waits = [(sent[name].time - created[name].time).total_seconds() for name in names]
    first = min(entry.received for entry in creations)
    return {
        "wall": (max(entry.time for entry in sent.values()) - first).total_seconds(),
        "sent_p50": quantile(waits, 0.5),
        "sent_p95": quantile(waits, 0.95),
    }


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

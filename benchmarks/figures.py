"""What one run tells: every figure with its unit, its source and how it is shown. The report follows this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Values = dict[str, float | None]
"""Figures of one run by key; None where nothing was observed."""

Source = Literal["audit log", "operator", "API server", "/proc", "machine"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its key in the raw data, its row in the report, decimals, and where it comes from.

    `{end}` in a title stands for the phase that a service's objects end in.
    """

    key: str
    title: str
    unit: str
    decimals: int
    source: Source

    @property
    def counted(self) -> bool:
        """Whether it is a number of things, which no busy machine changes."""
        return not self.unit and self.source != "machine"


FIGURES = (
    Figure("patches", "status PATCHes", "", 0, "audit log"),
    Figure("gets", "GETs of the objects", "", 0, "audit log"),
    Figure("object_requests", "**requests on the objects**", "", 0, "audit log"),
    Figure("reads", "GETs of other objects", "", 0, "audit log"),
    Figure("events", "Event writes", "", 0, "audit log"),
    Figure("events_dropped", "Events dropped: the operator's buffer was full", "", 0, "operator"),
    Figure("other", "other requests (watch, list)", "", 0, "audit log"),
    Figure("requests", "requests, all", "", 0, "audit log"),
    Figure("conflicts", "conflicts (409)", "", 0, "audit log"),
    Figure("watch_events", "watch events sent to the operator", "", 0, "API server"),
    Figure("wall", "**wall time**, first creation to last {end}", "s", 2, "audit log"),
    Figure("ended_p50", "creation to {end}, p50", "s", 2, "audit log"),
    Figure("ended_p95", "creation to {end}, p95", "s", 2, "audit log"),
    Figure("ended_p99", "creation to {end}, p99", "s", 2, "audit log"),
    Figure("events_behind", "last Event write, after the last {end}", "s", 2, "audit log"),
    Figure("backlog_wall", "**wall time**, operator's start to the last of the backlog {end}", "s", 2, "audit log"),
    Figure("fresh_p50", "creation to {end} of those created meanwhile, p50", "s", 2, "audit log"),
    Figure("operator_cpu", "**operator CPU**", "s", 2, "/proc"),
    Figure("operator_rss", "operator RSS at the end", "MiB", 1, "/proc"),
    Figure("operator_peak", "operator RSS at most", "MiB", 1, "/proc"),
    Figure("workers_cpu", "**policy workers' CPU**", "s", 2, "/proc"),
    Figure("workers_rss", "policy workers' RSS at the end, summed", "MiB", 1, "/proc"),
    Figure("workers_peak", "policy workers' RSS at most, summed", "MiB", 1, "/proc"),
    Figure("apiserver_cpu", "**API server CPU**", "s", 2, "/proc"),
    Figure("etcd_cpu", "etcd CPU", "s", 2, "/proc"),
    Figure("patch_total", "API server time in status PATCHes, summed", "s", 2, "API server"),
    Figure("patch_mean", "status PATCH, mean", "ms", 2, "API server"),
    Figure("patch_p50", "status PATCH, p50 (interpolated)", "ms", 2, "API server"),
    Figure("patch_p95", "status PATCH, p95 (interpolated)", "ms", 2, "API server"),
    Figure("patch_audit_p50", "status PATCH, p50 (exact)", "ms", 2, "audit log"),
    Figure("patch_audit_p95", "status PATCH, p95 (exact)", "ms", 2, "audit log"),
    Figure("patch_audit_p99", "status PATCH, p99 (exact)", "ms", 2, "audit log"),
    Figure("reads_total", "time in GETs of other objects, summed", "s", 2, "audit log"),
    Figure("etcd_writes", "etcd updates of the objects", "", 0, "API server"),
    Figure("etcd_total", "time in those etcd updates, summed", "s", 2, "API server"),
    Figure("etcd_mean", "etcd update, mean", "ms", 2, "API server"),
    Figure("etcd_p50", "etcd update, p50 (interpolated)", "ms", 2, "API server"),
    Figure("etcd_p95", "etcd update, p95 (interpolated)", "ms", 2, "API server"),
    Figure("others", "cores kept busy by other programs", "", 2, "machine"),
)

"""Counters of what the process asks of the API server, and of what became of its status updates.

| name | type | labels |
|---|---|---|
| `k8s_api_calls_total` | counter | service, verb, resource, subresource, code (`0` = no answer) |
| `k8s_status_updates_total` | counter | service, resource, result |
| `k8s_status_conflicts_total` | counter | service, resource |
| `k8s_status_resends_total` | counter | service, resource, reason |
| `k8s_status_changes_per_write` | histogram | service, resource |
| `k8s_status_update_duration_seconds` | histogram | service, resource |
| `k8s_status_pruned_fields_total` | counter | service, resource, field |
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram


class ApiCalls:
    """Every request that the process sends to the API server, by whatever client."""

    def __init__(self, service: str, registry: CollectorRegistry | None = None) -> None:
        self.service = service
        self._calls = Counter(
            "k8s_api_calls_total",
            "Requests sent to the Kubernetes API server.",
            ("service", "verb", "resource", "subresource", "code"),
            registry=registry,
        )

    def count(self, verb: str, resource: str, subresource: str, code: int) -> None:
        """Count one request; `code` 0 means that no answer came."""
        self._calls.labels(self.service, verb, resource, subresource, str(code)).inc()


class StatusMetrics:
    """What became of the status updates of one service. One instance serves all its managers."""

    def __init__(self, service: str, registry: CollectorRegistry | None = None) -> None:
        self.service = service
        labels = ("service", "resource")
        self._updates = Counter(
            "k8s_status_updates_total", "Status updates by what became of them.", (*labels, "result"), registry=registry
        )
        self._conflicts = Counter(
            "k8s_status_conflicts_total", "Status writes answered with 409.", labels, registry=registry
        )
        self._resends = Counter(
            "k8s_status_resends_total",
            "Status requests sent again because the server was busy, failed or did not answer.",
            (*labels, "reason"),
            registry=registry,
        )
        self._changes = Histogram(
            "k8s_status_changes_per_write",
            "Changes (fields, appended entries, conditions) that one status write carried.",
            labels,
            buckets=(1, 2, 3, 5, 8, 13, 21, 34),
            registry=registry,
        )
        self._duration = Histogram(
            "k8s_status_update_duration_seconds", "Time from the call to its outcome.", labels, registry=registry
        )
        self._pruned = Counter(
            "k8s_status_pruned_fields_total",
            "Fields that the API server dropped from a status write: the CRD's schema does not know them.",
            (*labels, "field"),
            registry=registry,
        )

    def begin(self, resource: str, results: Iterable[str]) -> None:
        """Show the counters of `resource` from 0 on, so that the first conflict, or `results`, is an increase."""
        self._conflicts.labels(self.service, resource)
        for result in results:
            self._updates.labels(self.service, resource, result)

    def updated(self, resource: str, result: str, seconds: float) -> None:
        """Count one finished update."""
        self._updates.labels(self.service, resource, result).inc()
        self._duration.labels(self.service, resource).observe(seconds)

    def wrote(self, resource: str, changes: int) -> None:
        """Count one accepted write and the changes that it carried."""
        self._changes.labels(self.service, resource).observe(changes)

    def conflicted(self, resource: str) -> None:
        """Count one 409."""
        self._conflicts.labels(self.service, resource).inc()

    def resent(self, resource: str, reason: str) -> None:
        """Count one request sent again; `reason` is the HTTP code or `no_answer`."""
        self._resends.labels(self.service, resource, reason).inc()

    def pruned(self, resource: str, field: str) -> None:
        """Count one field that the server did not keep."""
        self._pruned.labels(self.service, resource, field).inc()

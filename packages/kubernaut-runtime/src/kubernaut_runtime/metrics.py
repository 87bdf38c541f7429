"""The one metrics registry of a process. The global registry of prometheus_client is never used.

| name | type | labels |
|---|---|---|
| `kubernaut_build_info` | gauge, always 1 | service, version |
| `process_*`, `python_info`, `python_gc_*` | as prometheus_client names them | |
| `config_reload_total` | counter | file, result (`ok`, `failed`) |
| `config_last_reload_successful` | gauge, 0 while the last good content is kept | file |
| `leader_election_master_status` | gauge, 1 while leading | name |
| `event_loop_lag_seconds` | gauge: how late the main loop is now | |
| `event_loop_delay_seconds` | histogram: how late each beat was | |
| `kubernetes_events_total` | counter | component, result |

prometheus_client adds to each counter and histogram series one of its creation time, a third more to store; it can only
be told for all registries of a process not to, so this one leaves them out itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge, GCCollector, Metric, PlatformCollector, ProcessCollector


class _Registry(CollectorRegistry):
    """Without the `_created` series."""

    def collect(self) -> Iterable[Metric]:
        for family in super().collect():
            family.samples = [sample for sample in family.samples if sample.name != f"{family.name}_created"]
            yield family


def new_registry(service: str, version: str) -> CollectorRegistry:
    """Return a registry with the process's own figures and `kubernaut_build_info{service,version}`."""
    registry = _Registry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge("kubernaut_build_info", "The running build.", ("service", "version"), registry=registry)
    build.labels(service, version).set(1)
    return registry

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
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector


def new_registry(service: str, version: str) -> CollectorRegistry:
    """Return a registry with the process's own figures and `kubernaut_build_info{service,version}`."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge("kubernaut_build_info", "The running build.", ("service", "version"), registry=registry)
    build.labels(service, version).set(1)
    return registry

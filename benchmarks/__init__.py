"""Atomic, sequential and refetch=always, measured against each other on one real API server.

    python -m benchmarks --report docs/benchmarks.md

One control plane, one load, three modes (`modes`). A round runs each mode once, in a namespace and a process of its
own (`run`); rounds are repeated with the order rotated, so that whatever drifts on the machine or in the server hits
all modes alike (`suite`). What one run tells is listed in one table (`figures`); requests and latencies come from the
API server's audit log, the rest from /proc and from the servers' own metrics (`prometheus`, `machine`). `examples`
counts single commits. `summary` takes medians, and ratios within a round; `archive` keeps them, `report` writes them
down.

What is special to a service is in one module of `services`, by a description that `service` defines. The rest is the
same for all.

Absolute figures belong to the machine they were taken on; ratios of one run are what may be compared.
"""

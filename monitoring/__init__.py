"""Alerts and dashboards of the controllers: what they have in common is written once.

    monitoring/shared/{rules,dashboard}.yaml       of every controller, with placeholders such as <prefix>
    monitoring/<service>/{rules,dashboard}.yaml    of one
                    │
                    └── make charts ──> charts/<service>/files/{rules.yaml,dashboard.json}

The results are committed and are what users install: a chart's folder is complete by itself, a Prometheus without an
operator can load `rules.yaml` as it is, and a difference shows in a review.

`services` has what the placeholders stand for, `rules` and `dashboard` make the `files`, `text` replaces. The tests are
in `tests/observability`: promtool for the alerts, and a real Prometheus on the live processes for every query.

A shared alert is explained in `docs/operations/runbook.md`, others in `docs/operations/runbook-<service>.md`.
"""

"""The cases in `rules/` as promtool's unit tests: for each, one look before its alert is due and one after.

A case has the `alert` without the service's name, `because` (what happens, and what the alert must not take for it),
`series` (without the namespace; `none`: nobody is scraped), the time when all is `quiet`, the time when it `fires`, and
the alerts `as` which it does: their labels without name, severity and namespace. Samples are a minute apart, or `every`
so often: rules are evaluated each minute, and in life scrapes do not fall on the same instants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from monitoring.services import Service
from monitoring.text import filled_in

RULES = Path(__file__).with_name("rules")
NAMESPACE = "k"
_RUNNING = ('{prefix}_reconciler_active{{job="{job}",instance="{instance}",phase="Pending"}}', "0x200")


@dataclass(frozen=True)
class Case:
    """One case; times as promtool has them, `fires` is empty where the alert must stay quiet."""

    alert: str
    because: str
    series: Mapping[str, str]
    quiet: str
    fires: str
    firing: tuple[Mapping[str, str], ...]
    every: str


def cases(service: Service) -> list[Case]:
    """The cases of the alerts that every service has, and of its own."""
    found = []
    for name in ("shared", service.name):
        text = filled_in((RULES / f"{name}.yaml").read_text(), service.words, f"{name}.yaml")
        for case in yaml.load(text, yaml.BaseLoader):  # 0x9 is ten zeros, not nine
            running = {
                _RUNNING[0].format(prefix=service.prefix, job=job, instance=instance): _RUNNING[1]
                for job, instance in (("ill", "a"), ("well", "b"))
            }
            found.append(
                Case(
                    service.words["alerts"] + case["alert"],
                    case["because"],
                    {} if case["series"] == "none" else running | case["series"],
                    case["quiet"],
                    case.get("fires", ""),
                    tuple(case.get("as", ())),
                    case.get("every", "1m"),
                )
            )
    return found


def promtool_tests(rules: Path, severities: Mapping[str, str], found: list[Case]) -> dict[str, Any]:
    """What `promtool test rules` reads; `severities` are those of the alerts in the file `rules`."""
    return {
        "rule_files": [str(rules.absolute())],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": case.every,
                "input_series": [
                    {"series": name.replace("{", f'{{namespace="{NAMESPACE}",', 1), "values": values}
                    for name, values in case.series.items()
                ],
                "promql_expr_test": list(_looks(case, severities.get(case.alert, ""))),
            }
            for case in found
        ],
    }


def _looks(case: Case, severity: str) -> list[dict[str, Any]]:
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    looks: list[dict[str, Any]] = [{"eval_time": case.quiet, "expr": firing, "exp_samples": []}]
    if case.fires:
        samples = []
        for given in case.firing:
            labels = {"alertname": case.alert, "alertstate": "firing", "severity": severity, **given}
            if case.series:
                labels["namespace"] = NAMESPACE
            samples.append({"labels": f"ALERTS{{{_joined(labels)}}}", "value": 1})
        looks.append({"eval_time": case.fires, "expr": firing, "exp_samples": samples})
    return looks


def _joined(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())

"""What helm tells after an installation: how it is set up, as the values say, and what would not work."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing.helm import Helm

from .services import NOTIFICATION, SIGNALPROCESSING, Charted, merged

Notes = Callable[..., dict[str, str]]


@pytest.fixture
def notes(service: Charted) -> Notes:
    """The lines of the notes' overview by their first word."""

    def notes(**values: Any) -> dict[str, str]:
        return _overview(service.chart, merged(service.needed, values))

    return notes


def _overview(chart: Path, values: dict[str, Any]) -> dict[str, str]:
    text = Helm().run("install", "n", str(chart), "--dry-run=client", values=values)
    return dict(re.findall(r"^  ([a-zA-Z]+) {2,}(.+)$", text.partition("NOTES:")[2], re.MULTILINE))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "the pod's log, one JSON object a line"),
        ({"audit": {"file": "/var/audit/a.jsonl"}}, "/var/audit/a.jsonl in the pod, one JSON object a line"),
        ({"datastorage": {"url": "https://ds:8080"}}, "https://ds:8080"),
        ({"config": {"datastorage": {"url": "https://ds:8080"}}}, "https://ds:8080"),
    ],
    ids=["stdout", "file", "datastorage", "config"],
)
def test_the_notes_tell_where_the_audit_trail_goes(notes: Notes, values: dict[str, Any], words: str) -> None:
    told = notes(**values)
    assert told["audit"] == words
    assert "metrics" not in told


def test_the_notes_tell_that_the_network_policy_keeps_prometheus_out(notes: Notes) -> None:
    monitor = {"podMonitor": {"enabled": True}}
    assert "set networkPolicy.monitoring.namespace" in notes(metrics=monitor)["metrics"]
    for policy in ({"monitoring": {"namespace": "m"}}, {"enabled": False}, {"extraIngress": [{}]}):
        assert "metrics" not in notes(metrics=monitor, networkPolicy=policy)


@pytest.mark.parametrize(
    ("service", "values", "word", "told"),
    [
        (NOTIFICATION, {}, "routing", "everything to the console, which is the pod's log"),
        (NOTIFICATION, {"slack": {"secretName": "s"}}, "routing", "everything to Slack and the console"),
        (NOTIFICATION, {"routing": {"existingConfigMap": "ours"}}, "routing", "ConfigMap ours"),
        (SIGNALPROCESSING, {}, "policy", "as given"),
        (SIGNALPROCESSING, {"policies": {"existingConfigMap": "ours"}}, "policy", "ConfigMap ours"),
        (SIGNALPROCESSING, {}, "proactive", "none: all signals are reactive"),
        (SIGNALPROCESSING, {"proactiveSignalMappings": {"content": "{}"}}, "proactive", "as given"),
        (
            SIGNALPROCESSING,
            {"fleet": {"endpoint": "https://fleet"}},
            "fleet",
            "not supported: signals with a clusterID end Failed",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_the_notes_tell_where_the_followed_files_come_from(
    service: Charted, values: dict[str, Any], word: str, told: str
) -> None:
    assert _overview(service.chart, merged(service.needed, values))[word] == told

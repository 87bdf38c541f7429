"""What helm tells after an installation: how it is set up, as the values say, and what would not work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing.helm import Helm


def notes(chart: Path, **values: Any) -> dict[str, str]:
    """The lines of the notes' overview by their first word."""
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
def test_the_notes_tell_where_the_audit_trail_goes(chart: Path, values: dict[str, Any], words: str) -> None:
    told = notes(chart, **values)
    assert told["audit"] == words
    assert "metrics" not in told


def test_the_notes_tell_that_the_network_policy_keeps_prometheus_out(chart: Path) -> None:
    monitor = {"podMonitor": {"enabled": True}}
    assert "set networkPolicy.monitoring.namespace" in notes(chart, metrics=monitor)["metrics"]
    for policy in ({"monitoring": {"namespace": "m"}}, {"enabled": False}, {"extraIngress": [{}]}):
        assert "metrics" not in notes(chart, metrics=monitor, networkPolicy=policy)

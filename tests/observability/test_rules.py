"""The alerts: right by promtool, each with a test of what fires it and what does not, and a section in the runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from kubernaut_testing.prometheus import promtool

TESTS = Path(__file__).with_name("rules_test.yaml")
_FIRING = re.compile(r'ALERTS\{alertname="(\w+)",alertstate="firing"\}')
_LABEL = re.compile(r"\$labels\.(\w+)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)

Alerts = list[dict[str, Any]]


def test_promtool_accepts_the_rules(rules_file: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", rules_file)


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", TESTS)


def expectations() -> dict[str, list[list[dict[str, str]]]]:
    """Per alert the label sets that its tests expect to fire: one list per look, empty where it must be quiet."""
    found: dict[str, list[list[dict[str, str]]]] = {}
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for look in test["promql_expr_test"]:
            match = _FIRING.fullmatch(look["expr"])
            assert match, look["expr"]
            fired = [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in look["exp_samples"]]
            found.setdefault(match[1], []).append(fired)
    return found


def test_each_alert_has_a_test_that_fires_it_and_one_that_does_not(alerts: Alerts) -> None:
    looks = expectations()
    assert sorted(looks) == sorted(alert["alert"] for alert in alerts)
    assert [name for name, fired in looks.items() if not any(fired)] == []
    assert [name for name, fired in looks.items() if all(fired)] == []


def test_an_alert_s_texts_use_only_labels_that_it_has_when_it_fires(alerts: Alerts) -> None:
    looks = expectations()
    for alert in alerts:
        used = set(_LABEL.findall(alert["annotations"]["description"]))
        for labels in (labels for fired in looks[alert["alert"]] for labels in fired):
            assert used <= labels.keys(), alert["alert"]
            assert labels["severity"] == alert["labels"]["severity"]


def test_each_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(alerts: Alerts) -> None:
    names = [alert["alert"] for alert in alerts]
    assert len(set(names)) == len(names)
    for alert in alerts:
        assert re.fullmatch(r"KubernautNotification[A-Z]\w+", alert["alert"])
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert "{{" not in alert["annotations"]["summary"], "a summary is the same for all that it groups"


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown document's headings, as GitHub and mkdocs make them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def test_each_alert_s_runbook_section_exists_and_no_section_is_about_an_alert_that_does_not(
    alerts: Alerts, docs: Path
) -> None:
    runbook = docs / "runbook-notification.md"
    text = runbook.read_text()
    for alert in alerts:
        path, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert path == str(runbook.relative_to(docs.parents[1]))
        assert anchor == alert["alert"].lower()
        assert anchor in anchors(text), alert["alert"]
    told = {heading for heading in _HEADING.findall(text) if heading.startswith("KubernautNotification")}
    assert told == {alert["alert"] for alert in alerts}


def test_each_section_about_an_alert_says_what_it_means_how_to_look_and_what_to_do(docs: Path) -> None:
    text = (docs / "runbook-notification.md").read_text()
    sections = re.split(r"^#{2,3} ", text, flags=re.MULTILINE)
    about_alerts = [section for section in sections if section.startswith("KubernautNotification")]
    for section in about_alerts:
        for word in ("**Means**", "**Look**", "**Do**"):
            assert word in section, f"{section.splitlines()[0]} lacks {word}"


def test_no_query_relies_on_a_service_label(alerts: Alerts, dashboard: dict[str, Any]) -> None:
    """Service discovery sets one of its own, and the metrics' is then found under another name."""
    queries = [alert["expr"] for alert in alerts]
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert [query for query in queries if re.search(r"\bservice\b", query)] == []

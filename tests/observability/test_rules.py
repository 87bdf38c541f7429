"""The alerts: right by promtool, each with a case of what fires it and what does not, and a section in a runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring.services import LEAST_FAILED, ROOT, Service
from tests.observability.cases import Case, cases, promtool_tests

from kubernaut_testing.prometheus import promtool

_LABEL = re.compile(r"\$labels\.(\w+)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)

Alerts = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found(service: Service) -> list[Case]:
    return cases(service)


def test_promtool_accepts_the_rules(rules_file: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", rules_file)


def test_each_alert_fires_when_it_should_and_not_before(
    rules_file: Path, alerts: Alerts, found: list[Case], tmp_path: Path
) -> None:
    severities = {alert["alert"]: alert["labels"]["severity"] for alert in alerts}
    tests = tmp_path / "tests.yaml"
    tests.write_text(yaml.safe_dump(promtool_tests(rules_file, severities, found)))
    assert "SUCCESS" in promtool("test", "rules", tests)


def test_each_alert_has_a_case_that_fires_it(alerts: Alerts, found: list[Case]) -> None:
    """And so one that does not: each case looks before its time too."""
    assert {case.alert for case in found if case.fires} == {alert["alert"] for alert in alerts}


def test_an_alert_s_texts_use_only_labels_that_it_has_when_it_fires(alerts: Alerts, found: list[Case]) -> None:
    for alert in alerts:
        used = set(_LABEL.findall(alert["annotations"]["description"]))
        for labels in (labels for case in found if case.alert == alert["alert"] for labels in case.firing):
            assert used <= {"namespace", *labels}, alert["alert"]


def test_each_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(service: Service, alerts: Alerts) -> None:
    names = [alert["alert"] for alert in alerts]
    assert len(set(names)) == len(names)
    for alert in alerts:
        assert re.fullmatch(service.words["alerts"] + r"[A-Z]\w+", alert["alert"])
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert "{{" not in alert["annotations"]["summary"], "a summary is the same for all that it groups"
        for text in alert["annotations"].values():
            assert text == " ".join(text.split()), "one line"


def test_no_alert_of_one_service_is_about_another(service: Service, alerts: Alerts) -> None:
    """What every process exposes must be joined with, or limited to, what only this one does."""
    for alert in alerts:
        own = (f"{service.prefix}_", f'resource="{service.plural}"', f'="{service.plural}"')
        assert any(word in alert["expr"] for word in own), alert["alert"]


def test_the_runbook_tells_how_many_failed_objects_page(service: Service, docs: Path) -> None:
    text = about_alerts(docs / f"runbook-{service.name}.md")[f"{service.words['alerts']}Failed"]
    assert f"at least {LEAST_FAILED}" in " ".join(text.split())


def anchor(heading: str) -> str:
    """The anchor of a Markdown heading, as GitHub and mkdocs make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def headings(page: Path) -> list[str]:
    return _HEADING.findall(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))


def test_each_alert_s_runbook_section_exists(service: Service, alerts: Alerts, docs: Path) -> None:
    for alert in alerts:
        path, _, section = alert["annotations"]["runbook"].partition("#")
        page = ROOT / path
        assert page in (docs / "runbook.md", docs / f"runbook-{service.name}.md")
        prefix = service.words["alerts"]
        name = alert["alert"] if page.name != "runbook.md" else alert["alert"].removeprefix(prefix)
        assert section == name.lower(), alert["alert"]
        assert section in {anchor(heading) for heading in headings(page)}, alert["alert"]


def test_no_section_is_about_an_alert_that_does_not_exist(service: Service, alerts: Alerts, docs: Path) -> None:
    prefix = service.words["alerts"]
    names = {alert["alert"] for alert in alerts}
    own = {heading for heading in headings(docs / f"runbook-{service.name}.md") if heading.startswith(prefix)}
    assert own <= names
    shared = {prefix + name for name in about_alerts(docs / "runbook.md")}
    assert shared <= names
    assert own.isdisjoint(shared), "one section for each alert"


def about_alerts(page: Path) -> dict[str, str]:
    """Heading of each section about an alert (one word of several capitals) -> its text."""
    sections = re.split(r"^### ", page.read_text(), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: section for section in sections if re.match(r"[A-Z]\w+\n", section)}


@pytest.mark.parametrize("page", ["runbook.md", "runbook-notification.md", "runbook-signalprocessing.md"])
def test_each_section_about_an_alert_says_what_it_means_how_to_look_and_what_to_do(docs: Path, page: str) -> None:
    sections = about_alerts(docs / page)
    assert sections
    for heading, text in sections.items():
        for word in ("**Means**", "**Effect**", "**Look**", "**Do**"):
            assert word in text, f"{heading} lacks {word}"


def test_panels_that_the_runbook_names_exist(service: Service, dashboard: dict[str, Any], docs: Path) -> None:
    titles = {panel["title"] for panel in dashboard["panels"]}
    for page in ("runbook.md", f"runbook-{service.name}.md"):
        named = re.findall(r"[Pp]anels? (\*[^*]+\*(?:(?:, | and )\*[^*]+\*)*)", (docs / page).read_text())
        for title in (title for group in named for title in re.findall(r"\*([^*]+)\*", group)):
            assert " ".join(title.split()) in titles, f"{page}: {title}"


def test_no_query_relies_on_a_service_label(alerts: Alerts, dashboard: dict[str, Any]) -> None:
    """Service discovery sets one of its own, and the metrics' is then found under another name."""
    queries = [alert["expr"] for alert in alerts]
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert [query for query in queries if re.search(r"\bservice\b", query)] == []

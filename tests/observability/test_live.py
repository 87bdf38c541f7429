"""Real operators under load and faults, scraped by one real Prometheus: what every query and every rule finds.

One run serves all tests, and all services: what happens to one of them must not be told of another. The targets carry
the labels that service discovery in a cluster sets, `service` among them.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from monitoring.services import SERVICES, Service
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.observability.stories.notification import notification
from tests.observability.stories.signalprocessing import signalprocessing
from tests.observability.stories.story import Story

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.prometheus import Prometheus, QueryError, Target, promtool
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

STORIES = {"notification": notification, "signalprocessing": signalprocessing}


@dataclass(frozen=True)
class Observed:
    """The run of one service when all has happened: Prometheus, and what the process exposed in the end."""

    prometheus: Prometheus
    story: Story
    exposition: str

    @property
    def families(self) -> dict[str, Metric]:
        """What is exposed, by name as in a query's metadata."""
        return {family.name: family for family in text_string_to_metric_families(self.exposition)}


@pytest.fixture(scope="module")
def run(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Observed]]:
    """The run of all services, by name."""
    with ExitStack() as running:
        stories: dict[str, Story] = {
            name: running.enter_context(start(control_plane, tmp_path_factory.mktemp(name)))
            for name, start in STORIES.items()
        }
        targets = []
        for name, story in stories.items():
            labels = {"namespace": story.namespace, "pod": "operator", "service": f"{name}-metrics"}
            targets.append(Target(story.deployment.metrics_url, name, labels))
        rules = [service.files / "rules.yaml" for service in SERVICES]
        prometheus = running.enter_context(Prometheus(targets, rules=rules))
        with ThreadPoolExecutor() as side_by_side:
            list(side_by_side.map(lambda story: story.begin(), stories.values()))
            prometheus.wait_scraped()
            list(side_by_side.map(lambda story: story.go_on(prometheus), stories.values()))
        prometheus.wait_scraped()
        prometheus.wait_evaluated()
        yield {name: Observed(prometheus, story, exposition(story)) for name, story in stories.items()}


def exposition(story: Story) -> str:
    with urllib.request.urlopen(story.deployment.metrics_url, timeout=20) as answer:
        text: str = answer.read().decode()
        return text


@pytest.fixture(scope="module")
def observed(run: dict[str, Observed], service: Service) -> Observed:
    return run[service.name]


def states(observed: Observed, service: Service) -> dict[str, str]:
    """The service's alerts, without its name, and their states."""
    prefix = service.words["alerts"]
    found = {rule.name: rule.state for rule in observed.prometheus.rules()}
    return {name.removeprefix(prefix): state for name, state in found.items() if name.startswith(prefix)}


def chosen(service: Service) -> dict[str, str]:
    """What the dashboard's variables are set to; the times hold the whole run, however slow the machine is."""
    return {"namespace": ".+", "job": service.name, "__rate_interval": "15m", "__range": "15m"}


def filled_in(expression: str, values: dict[str, str]) -> str:
    """The query that Grafana sends: variables replaced by their values."""
    for name, value in values.items():
        expression = re.sub(rf"\${name}\b", lambda _, text=value: text, expression)
    assert "$" not in expression, f"a variable without a value: {expression}"
    return expression


def test_promtool_accepts_what_the_process_exposes(observed: Observed) -> None:
    assert promtool("check", "metrics", stdin=observed.exposition) == ""


def test_every_query_of_every_panel_finds_numbers(
    observed: Observed, service: Service, dashboard: dict[str, Any]
) -> None:
    values = chosen(service)
    empty = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = filled_in(target["expr"], values)
            if not any(sample.is_number for sample in observed.prometheus.query(query)):
                empty.append(f"{panel['title']}: {query}")
    assert empty == []


def test_every_legend_names_labels_that_its_query_yields(
    observed: Observed, service: Service, dashboard: dict[str, Any]
) -> None:
    values = chosen(service)
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            answer = observed.prometheus.query(filled_in(target["expr"], values))
            grouped = any(used <= sample.labels.keys() for sample in answer)
            nothing_yet = "vector(0)" in target["expr"] and all(not sample.labels for sample in answer)
            assert grouped or nothing_yet, (panel["title"], target["legendFormat"])


def test_the_dashboard_s_variables_find_the_process_and_no_other(
    observed: Observed, service: Service, dashboard: dict[str, Any]
) -> None:
    for variable in dashboard["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
        assert match
        found = observed.prometheus.query(filled_in(match[1], {"namespace": ".+"}))
        expected = {"namespace": observed.story.namespace, "job": service.name}[variable["name"]]
        assert {sample.labels[match[2]] for sample in found} == {expected}


def test_the_alert_rules_are_evaluated_without_an_error(
    observed: Observed, service: Service, alerts: list[dict[str, Any]]
) -> None:
    assert {service.words["alerts"] + name for name in states(observed, service)} == {a["alert"] for a in alerts}
    rules = observed.prometheus.rules()
    assert [f"{rule.name}: {rule.error}" for rule in rules if rule.health != "ok"] == []


def test_what_happened_in_this_run_is_on_its_way_to_an_alert_and_what_did_not_is_not(
    observed: Observed, service: Service
) -> None:
    expected = observed.story.expected
    eventually(
        lambda: expected.items() <= states(observed, service).items(),
        message=lambda: f"{expected} within {states(observed, service)}",
    )
    healthy = observed.story.healthy
    found = states(observed, service)
    assert {name: found[name] for name in healthy} == dict.fromkeys(healthy, "inactive")


def test_no_alert_of_a_service_is_about_the_process_of_another(observed: Observed, service: Service) -> None:
    named = f'alertname=~"{service.words["alerts"]}.+"'
    found = observed.prometheus.query(f"ALERTS{{{named}}}")
    assert found
    assert {sample.labels["job"] for sample in found} == {service.name}


def test_every_series_that_an_alert_or_a_panel_asks_for_is_one_that_the_process_exposes(
    observed: Observed, alerts: list[dict[str, Any]], dashboard: dict[str, Any]
) -> None:
    """A rule about a metric that nobody exposes is silent for ever."""
    queries = [alert["expr"] for alert in alerts]
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    queries = [re.sub(r"\b(by|on) \([^)]*\)", "", query) for query in queries]
    asked = {name for query in queries for name in re.findall(r"\b[a-z]\w*_\w+(?=[{\[)\s]|$)", query)}
    known = {f"{name}{suffix}" for name in observed.families for suffix in ("", "_total", "_bucket", "_sum", "_count")}
    functions = {"histogram_quantile", "max_over_time", "min_over_time"}
    assert asked - known - functions == set()


def test_a_query_that_is_wrong_would_be_noticed(observed: Observed) -> None:
    with pytest.raises(QueryError):
        observed.prometheus.query("sum(rate(k8s_api_calls_total))")


_ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[\w, ]*)\| .+ \|$", re.MULTILINE)


def rows_about(page: str, service: Service) -> list[dict[str, str]]:
    """The rows of the page's tables, those left out that are about other services alone."""
    others = {other.kind for other in SERVICES} - {service.kind}
    sections = [section for section in page.split("\n## ") if section.partition("\n")[0] not in others]
    return [match.groupdict() for section in sections for match in _ROW.finditer(section)]


def test_the_page_of_metrics_names_what_is_exposed_and_nothing_else(
    observed: Observed, service: Service, docs: Path
) -> None:
    rows = rows_about((docs / "metrics.md").read_text(), service)
    told = {row["name"].removesuffix("_total"): row for row in rows}
    assert len(told) == len(rows)
    assert told.keys() == observed.families.keys()
    for name, family in observed.families.items():
        assert told[name]["type"] == family.type, name
        assert told[name]["name"].endswith("_total") == (family.type == "counter"), name
        found = {label for sample in family.samples for label in sample.labels} - {"le"}
        labels = {label.strip() for label in told[name]["labels"].split(",")} - {""}
        assert labels == found or not family.samples, name

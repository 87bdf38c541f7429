"""A real operator under load and faults, scraped by a real Prometheus: what every query and every rule finds.

One run serves all tests. Its target carries the labels that service discovery in a cluster sets, `service` among them.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from scenarios.notification import PLURAL, NotificationSite, install_crds

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.prometheus import Prometheus, QueryError, Target, promtool
from kubernaut_testing.proxy import FaultProxy, Rule, Status
from kubernaut_testing.receivers import Answer, WebhookReceiver
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

ELECTION = {"leaderElection": True, "leaseDuration": "2s", "renewDeadline": "1500ms", "retryPeriod": "300ms"}
ONCE_MORE = {"maxAttempts": 2, "initialBackoffSeconds": 1, "backoffMultiplier": 1, "maxBackoffSeconds": 60}


@dataclass(frozen=True)
class Observed:
    """The run when all has happened: its Prometheus, and what the process exposed in the end."""

    prometheus: Prometheus
    exposition: str

    @property
    def families(self) -> dict[str, Metric]:
        """What is exposed, by name as in a query's metadata."""
        return {family.name: family for family in text_string_to_metric_families(self.exposition)}


@pytest.fixture(scope="module")
def observed(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, rules_file: Path
) -> Iterator[Observed]:
    install_crds(control_plane)
    namespace = control_plane.create_namespace("observability")
    with WebhookReceiver() as receiver, FaultProxy(control_plane) as proxy:
        folder = tmp_path_factory.mktemp("observability")
        site = NotificationSite(
            control_plane, namespace, folder, receiver, config={"controller": ELECTION}, proxy=proxy
        )
        labels = {"namespace": namespace, "pod": "operator", "service": "notification-metrics"}
        target = Target(site.deployment.metrics_url, "notification", labels)
        with Prometheus([target], rules=[rules_file]) as prometheus, site.deployment:
            die_while_sending(site)
            prometheus.wait_scraped()
            work_with_faults(site, proxy, prometheus)
            refuse_a_file(site)
            prometheus.wait_scraped()
            prometheus.wait_evaluated()
            with urllib.request.urlopen(site.deployment.metrics_url, timeout=5) as answer:
                yield Observed(prometheus, answer.read().decode())


def die_while_sending(site: NotificationSite) -> None:
    """Kill the operator while Slack has the message and nobody knows, and start it again."""
    site.receiver.script(Answer(delay=30))
    site.create("unknown", "slack")
    site.receiver.wait_for(1)
    site.deployment.process.restart()
    eventually(lambda: site.ended("unknown"))


def work_with_faults(site: NotificationSite, proxy: FaultProxy, prometheus: Prometheus) -> None:
    """Deliver while Slack fails, recovers and refuses, and while status writes meet conflicts and a busy server.

    In two waves with a scrape between them: what is counted first in the second one has increased.
    """
    writes = {"verb": "patch", "resource": PLURAL, "subresource": "status"}
    proxy.add(Rule(Status(409), every=6, **writes))
    proxy.add(Rule(Status(503), every=7, **writes))
    site.receiver.script(503, 200, *[503] * 6)
    deliver(site, [f"{to}-{number}" for number in range(2) for to in ("all", "slack", "slack-and-console", "console")])
    prometheus.wait_scraped()
    site.receiver.default = 404  # refused for good: Failed where there is no other channel
    deliver(site, [f"{to}-{number}" for number in range(2, 5) for to in ("slack", "slack-and-console", "file")])


def deliver(site: NotificationSite, names: list[str]) -> None:
    for name in names:
        site.create(name, name.rpartition("-")[0], retryPolicy=ONCE_MORE)
    eventually(lambda: all(site.ended(name) for name in names), timeout=60)


def refuse_a_file(site: NotificationSite) -> None:
    """Put a wrong routing file in place and leave it there."""
    site.replace_routing("route: [")
    eventually(lambda: site.deployment.metric("config_last_reload_successful", file=str(site.routing)) == 0)


def filled_in(expression: str, values: dict[str, str]) -> str:
    """The query that Grafana sends: variables replaced by their values."""
    for name, value in values.items():
        expression = re.sub(rf"\${name}\b", lambda _, text=value: text, expression)
    assert "$" not in expression, f"a variable without a value: {expression}"
    return expression


def test_promtool_accepts_what_the_process_exposes(observed: Observed) -> None:
    assert promtool("check", "metrics", stdin=observed.exposition) == ""


def test_every_query_of_every_panel_finds_numbers(observed: Observed, dashboard: dict[str, Any]) -> None:
    values = {"namespace": ".+", "job": "notification", "__rate_interval": "1m", "__range": "1m"}
    empty = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = filled_in(target["expr"], values)
            if not any(sample.is_number for sample in observed.prometheus.query(query)):
                empty.append(f"{panel['title']}: {query}")
    assert empty == []


def test_every_legend_names_labels_that_its_query_yields(observed: Observed, dashboard: dict[str, Any]) -> None:
    values = {"namespace": ".+", "job": "notification", "__rate_interval": "1m", "__range": "1m"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            answer = observed.prometheus.query(filled_in(target["expr"], values))
            grouped = any(used <= sample.labels.keys() for sample in answer)
            nothing_yet = "vector(0)" in target["expr"] and all(not sample.labels for sample in answer)
            assert grouped or nothing_yet, (panel["title"], target["legendFormat"])


def test_the_dashboard_s_variables_find_the_process(observed: Observed, dashboard: dict[str, Any]) -> None:
    for variable in dashboard["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
        assert match
        found = observed.prometheus.query(filled_in(match[1], {"namespace": ".+"}))
        assert {sample.labels[match[2]] for sample in found}, variable["name"]


def test_the_alert_rules_are_evaluated_without_an_error(observed: Observed, alerts: list[dict[str, Any]]) -> None:
    rules = observed.prometheus.rules()
    assert {rule.name for rule in rules} == {alert["alert"] for alert in alerts}
    assert [f"{rule.name}: {rule.error}" for rule in rules if rule.health != "ok"] == []


def test_what_happened_in_this_run_is_on_its_way_to_an_alert_and_what_did_not_is_not(observed: Observed) -> None:
    def states() -> dict[str, str]:
        return {rule.name.removeprefix("KubernautNotification"): rule.state for rule in observed.prometheus.rules()}

    expected = {
        "OutcomeUnknown": "firing",
        "NotificationsFailed": "firing",
        "ReloadFailed": "pending",
        "StatusConflicts": "pending",
        "StatusWritesFailing": "pending",
    }
    eventually(lambda: expected.items() <= states().items(), message=lambda: f"{expected} within {states()}")
    healthy = ("Down", "NoLeader", "SeveralLeaders", "WatchSilent", "LoopSlow", "NotificationStuck", "QueueDeep")
    assert {name: states()[name] for name in healthy} == dict.fromkeys(healthy, "inactive")


def test_every_series_that_an_alert_or_a_panel_asks_for_is_one_that_the_process_exposes(
    observed: Observed, alerts: list[dict[str, Any]], dashboard: dict[str, Any]
) -> None:
    """A rule about a metric that nobody exposes is silent for ever."""
    queries = [alert["expr"] for alert in alerts]
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"\b[a-z]\w*_\w+(?=[{\[)\s]|$)", query)}
    known = {f"{name}{suffix}" for name in observed.families for suffix in ("", "_total", "_bucket", "_sum", "_count")}
    functions = {"histogram_quantile", "max_over_time", "min_over_time"}
    assert asked - known - functions == set()


def test_a_query_that_is_wrong_would_be_noticed(observed: Observed) -> None:
    with pytest.raises(QueryError):
        observed.prometheus.query("sum(rate(k8s_api_calls_total))")


_ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[\w, ]*)\| .+ \|$", re.MULTILINE)


def test_the_page_of_metrics_names_what_is_exposed_and_nothing_else(observed: Observed, docs: Path) -> None:
    rows = [match.groupdict() for match in _ROW.finditer((docs / "metrics.md").read_text())]
    told = {row["name"].removesuffix("_total"): row for row in rows}
    assert len(told) == len(rows)
    assert told.keys() == observed.families.keys()
    for name, family in observed.families.items():
        assert told[name]["type"] == family.type, name
        assert told[name]["name"].endswith("_total") == (family.type == "counter"), name
        found = {label for sample in family.samples for label in sample.labels} - {"le"}
        labels = {label.strip() for label in told[name]["labels"].split(",")} - {""}
        assert labels == found or not family.samples, name

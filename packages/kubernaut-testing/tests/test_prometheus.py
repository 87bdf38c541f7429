"""Prometheus and promtool, as tests use them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kubernaut_testing.prometheus import Prometheus, QueryError, Target, promtool
from kubernaut_testing.receivers import Answer, WebhookReceiver
from kubernaut_testing.waiting import eventually

METRICS = """\
# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{service="of the metric",kind="a"} 3
jobs_total{service="of the metric",kind="b"} 4
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    good = {"alert": "Good", "expr": "sum(jobs_total) > 5", "for": "1h"}
    bad = {"alert": "Bad", "expr": "jobs_total * on (service) jobs_total"}
    rules.write_text(yaml.safe_dump({"groups": [{"name": "some", "rules": [good, bad]}]}))
    text = Answer(body=METRICS)
    with WebhookReceiver(default=text) as target:
        labels = {"namespace": "there", "service": "of the target"}
        scraped = Target(f"{target.url}/metrics", "some-job", labels)
        with Prometheus([scraped], rules=[rules], interval=0.2) as prometheus:
            prometheus.wait_scraped()
            yield prometheus


def test_a_query_yields_what_the_target_exposes(running: Prometheus) -> None:
    assert running.value("sum(jobs_total)") == 7
    assert {sample.labels["kind"]: sample.value for sample in running.query("jobs_total")} == {"a": 3, "b": 4}
    assert running.query("nothing_of_that_name") == []
    assert [(sample.labels, sample.value) for sample in running.query("scalar(vector(2))")] == [({}, 2)]
    with pytest.raises(LookupError, match="2 series"):
        running.value("jobs_total")


def test_labels_of_the_target_win_over_those_of_the_metric(running: Prometheus) -> None:
    labels = running.query('jobs_total{kind="a"}')[0].labels
    assert (labels["job"], labels["namespace"]) == ("some-job", "there")
    assert (labels["service"], labels["exported_service"]) == ("of the target", "of the metric")


def test_nothing_divided_by_nothing_is_no_number(running: Prometheus) -> None:
    (sample,) = running.query("vector(0) / vector(0)")
    assert math.isnan(sample.value)
    assert not sample.is_number


@pytest.mark.parametrize("wrong", ["sum(", "jobs_total * on (service) jobs_total", "jobs_total[1m]"])
def test_a_query_that_cannot_be_answered_is_told_with_its_text(running: Prometheus, wrong: str) -> None:
    with pytest.raises(QueryError) as refused:
        running.query(wrong)
    assert wrong in str(refused.value)


def test_a_rule_that_cannot_be_evaluated_is_told_apart_from_a_good_one(running: Prometheus) -> None:
    good, bad = sorted(running.wait_evaluated(), key=lambda rule: rule.name, reverse=True)
    assert (good.name, good.health, good.error) == ("Good", "ok", "")
    eventually(lambda: {rule.name: rule.state for rule in running.rules()}["Good"] == "pending")
    assert (bad.name, bad.health) == ("Bad", "err")
    assert "many-to-many" in bad.error


def test_a_config_that_prometheus_refuses_is_told(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: [{name: a, rules: [{alert: A, expr: 'sum('}]}]")
    with pytest.raises(RuntimeError, match="cannot start Prometheus"), Prometheus([], rules=[rules]):
        pass


def test_promtool_tells_what_it_finds(tmp_path: Path) -> None:
    assert promtool("check", "metrics", stdin=METRICS) == ""
    with pytest.raises(AssertionError, match="no help text"):
        promtool("check", "metrics", stdin="some_total 1\n")

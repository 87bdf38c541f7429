"""What the chart renders for the network and for monitoring: policy, ports, Service, monitors, alerts, dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut_testing.helm import HelmError

from .rendered import container_of, egress, only
from .services import Charted


def test_what_is_switched_off_has_no_port_and_nothing_that_asks_for_it(service: Charted, render: Any) -> None:
    off = {"controller": {"metricsAddr": "0", "healthProbeAddr": "0"}}
    objects = render(off, networkPolicy={"monitoring": {"namespace": "monitoring"}})
    assert not {"ports", "livenessProbe", "readinessProbe"} & set(container_of(objects))
    assert ("Service", service.metrics_service) not in objects
    assert only(objects, "NetworkPolicy")["spec"]["ingress"] == []


@pytest.mark.parametrize("kind", ["serviceMonitor", "podMonitor"])
def test_a_monitor_that_would_find_nothing_is_refused(render: Any, kind: str) -> None:
    with pytest.raises(HelmError, match="metricsAddr=0 switches the metrics off"):
        render(controller={"metricsAddr": "0"}, metrics={kind: {"enabled": True}})
    with pytest.raises(HelmError, match=r"cannot create a ServiceMonitor: metrics\.service\.enabled=false"):
        render(metrics={"service": {"enabled": False}, "serviceMonitor": {"enabled": True}})


def test_the_network_policy_allows_what_is_configured_and_no_more(service: Charted, render: Any) -> None:
    assert egress(render()) == [{53}, {443, 6443}, *service.egress]
    objects = render(service.everything)
    assert egress(objects) == [{53}, {443, 6443}, {8443}, *service.egress]
    (ingress,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": "metrics"}]
    closed = render(networkPolicy={"apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [6443]}})
    assert egress(closed) == [{53}, {6443}, *service.egress]
    assert only(closed, "NetworkPolicy")["spec"]["ingress"] == []
    assert ("NetworkPolicy", service.controller) not in render(networkPolicy={"enabled": False})


def test_the_readiness_of_data_storage_may_be_asked_on_a_port_of_its_own(render: Any) -> None:
    storage = {"url": "https://ds:8080", "healthUrl": "http://ds:8081/readyz"}
    assert egress(render(datastorage=storage))[2] == {8080, 8081}
    assert egress(render(datastorage=storage, networkPolicy={"dataStorage": {"port": 1}}))[2] == {1}


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://ds", 80), ("https://ds/", 443), ("https://ds.ns.svc:8080/x", 8080), ("http://[::1]:81", 81)],
)
def test_the_port_of_data_storage_is_that_of_its_address(render: Any, url: str, port: int) -> None:
    assert egress(render(datastorage={"url": url}))[2] == {port}


def test_alerts_and_dashboard_are_the_shipped_files(service: Charted, render: Any, chart: Path) -> None:
    rules, board = chart / "files" / "rules.yaml", chart / "files" / "dashboard.json"
    if not (rules.exists() and board.exists()):
        pytest.fail("files/rules.yaml and files/dashboard.json are what prometheusRule and dashboard install")
    objects = render(
        metrics={"prometheusRule": {"enabled": True, "labels": {"release": "p"}}, "dashboard": {"enabled": True}}
    )
    rule = objects["PrometheusRule", service.name]
    assert rule["spec"]["groups"] == yaml.safe_load(rules.read_text())["groups"]
    assert rule["metadata"]["labels"]["release"] == "p"
    board_map = objects["ConfigMap", f"{service.name}-dashboard"]
    assert board_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = board_map["data"].values()
    assert yaml.safe_load(text) == yaml.safe_load(board.read_text())

"""The operator as a process: real enrichment, real policy, real RBAC; counted in the API server's audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scenarios.signalprocessing import CONTRACT, PROGRAM, SignalProcessingSite

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.invariants import assert_invariants, assert_quiet
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(
    control_plane: ControlPlane, crds: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SignalProcessingSite]:
    """One operator for the file, with a fleet that it cannot use, and Data Storage."""
    namespace = control_plane.create_namespace("signalprocessing-e2e")
    fleet = {
        "endpoint": "https://fleet.example/mcp",
        "oauth2": {"enabled": True, "tokenURL": "https://idp.example/token", "credentialsSecretRef": "fleet"},
    }
    with DataStorage() as datastorage:
        made = SignalProcessingSite(
            control_plane,
            namespace,
            tmp_path_factory.mktemp("signalprocessing"),
            config={"fleet": fleet},
            datastorage=datastorage,
        )
        with made.deployment:
            yield made


@pytest.fixture(scope="module")
def shop(control_plane: ControlPlane) -> str:
    """A namespace in production with a Deployment, its ReplicaSet and its Pod."""
    name = control_plane.create_namespace("shop-e2e")
    labels = {"kubernaut.ai/environment": "production", "kubernaut.ai/team": "payments"}
    control_plane.api.patch("v1", "Namespace", None, name, {"metadata": {"labels": labels}})
    owner: dict[str, Any] | None = None
    template = {
        "metadata": {"labels": {"app": "api"}},
        "spec": {"containers": [{"name": "api", "image": "example.com/api"}]},
    }
    for api_version, kind, spec in (
        ("apps/v1", "Deployment", {"replicas": 0, "selector": {"matchLabels": {"app": "api"}}, "template": template}),
        ("apps/v1", "ReplicaSet", {"replicas": 0, "selector": {"matchLabels": {"app": "api"}}, "template": template}),
        ("v1", "Pod", template["spec"]),
    ):
        metadata: dict[str, Any] = {"namespace": name, "name": f"api-{kind.lower()}", "labels": {"app": "api"}}
        if owner is not None:
            metadata["ownerReferences"] = [owner]
        made = control_plane.api.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
        owner = {
            "apiVersion": api_version,
            "kind": kind,
            "name": metadata["name"],
            "uid": made["metadata"]["uid"],
            "controller": True,
        }
    return name


def target(kind: str, namespace: str) -> dict[str, str]:
    return {"kind": kind, "name": f"api-{kind.lower()}", "namespace": namespace}


@pytest.mark.parametrize(("kind", "reads"), [("Pod", 3), ("Deployment", 1)])
def test_a_signal_costs_five_writes_six_events_and_the_reads_of_its_target(
    site: SignalProcessingSite, shop: str, ledger: RequestLedger, kind: str, reads: int
) -> None:
    eventually(lambda: site.deployment.metric("kubernaut_store_objects", resource="namespaces") > 0)
    mark, name = ledger.mark(), f"costs-{kind.lower()}"
    site.create(name, targetResource=target(kind, shop), parent=f"rr-{name}")
    eventually(lambda: site.phase(name) == "Completed")
    eventually(lambda: len(ledger.events_about(site.ref(name))) == 6)
    ledger.assert_requests(site.ref(name), {"patch/status": 5}, user_agent=PROGRAM, only=True)
    others = [
        entry
        for agent, entries in ledger.by_user_agent(since=mark).items()
        if agent.startswith(PROGRAM)
        for entry in entries
        if entry.verb == "get" and entry.namespace == shop
    ]
    assert len(others) == reads
    assert_invariants(ledger, site.ref(name), CONTRACT)
    status = site.status(name)
    assert status["environmentClassification"]["environment"] == "Production"
    assert status["priorityAssignment"]["priority"] == "P0"
    assert status["businessClassification"]["businessUnit"] == "payments"
    assert status["kubernetesContext"]["customLabels"] == {"team": ["payments"]}
    assert site.datastorage is not None
    events = site.datastorage.wait_for_events(9, correlation_id=f"rr-{name}")
    assert len(events) == 9
    assert not site.datastorage.refusals


def test_a_fleet_is_told_as_unsupported_and_its_signals_fail(site: SignalProcessingSite) -> None:
    code, text = site.deployment.probe("/readyz")
    assert code == 200
    assert "[ ]fleet: fleet.endpoint is not supported; signals with a clusterID end Failed" in text
    site.create("remote", clusterID="east")
    eventually(lambda: site.phase("remote") == "Failed")
    assert "cluster east" in site.status("remote")["failureInfo"]["error"]


def test_a_deadline_that_has_passed_fails_the_signal(site: SignalProcessingSite) -> None:
    site.create("late", times_out_at="2026-03-01T10:00:00Z")
    eventually(lambda: site.phase("late") == "Failed")
    conditions = {c["type"]: c["reason"] for c in site.status("late")["conditions"]}
    assert conditions["ProcessingComplete"] == "TimedOut"


def test_a_changed_policy_decides_the_next_signal_and_a_broken_one_does_not(
    site: SignalProcessingSite, shop: str
) -> None:
    before = (site.policies / "policy.rego").read_text()
    metric, path = "config_reload_total", str(site.policies / "policy.rego")

    def reloads(result: str) -> float:
        return site.deployment.metric(metric, file=path, result=result)

    try:
        changed = before.replace('"policy_name": "production-critical"', '"policy_name": "changed"')
        site.write_policy(changed)
        eventually(lambda: reloads("ok") == 1)
        site.write_policy("package signalprocessing\n\nseverity := ")
        eventually(lambda: reloads("failed") == 1)
        site.create("reloaded", targetResource=target("Deployment", shop))
        eventually(lambda: site.phase("reloaded") == "Completed")
        assert site.status("reloaded")["priorityAssignment"]["policyName"] == "changed"
    finally:
        site.write_policy(before)
    eventually(lambda: reloads("ok") == 2)


def test_changed_mappings_hold_for_the_next_signal(site: SignalProcessingSite) -> None:
    new = site.mappings.with_suffix(".new")
    new.write_text("proactive_signal_mappings: {PredictedFire: Fire}\n")
    new.rename(site.mappings)
    eventually(lambda: site.deployment.metric("config_reload_total", file=str(site.mappings), result="ok") == 1)
    site.create("fire", name="PredictedFire", targetResource={"kind": "Node", "name": "none"})
    eventually(lambda: site.phase("fire") == "Completed")
    status = site.status("fire")
    assert status["signalClassification"]["signalMode"] == "proactive"
    assert status["signalClassification"]["signalName"] == "Fire"
    assert status["kubernetesContext"] == {"degradedMode": True}


def test_signals_that_come_at_once_are_all_completed_with_five_writes_each(
    site: SignalProcessingSite, shop: str, ledger: RequestLedger
) -> None:
    names = [f"burst-{number}" for number in range(20)]
    for number, name in enumerate(names):
        site.create(name, severity=f"Sev{1 + number % 4}", targetResource=target("Deployment", shop))
    eventually(lambda: all(site.phase(name) == "Completed" for name in names), timeout=30)
    for name in names:
        ledger.assert_requests(site.ref(name), {"patch/status": 5}, user_agent=PROGRAM, only=True)
        assert_invariants(ledger, site.ref(name), CONTRACT)
    severities = {site.status(name)["signalClassification"]["severity"] for name in names}
    assert severities == {"critical", "high", "warning", "info"}


def test_at_rest_nothing_is_written(site: SignalProcessingSite) -> None:
    site.create("resting", targetResource={"kind": "ConfigMap", "name": "any", "namespace": site.namespace})
    eventually(lambda: site.phase("resting") == "Completed")
    assert_quiet(site.objects, seconds=2)

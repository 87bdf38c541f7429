"""The operator as a process while things change around it: files, Data Storage, a slow API server; and at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from scenarios.shop import PRODUCTION, Shop
from scenarios.signalprocessing import CONTRACT, PROGRAM, TERMINAL, SignalProcessingSite

from kubernaut_testing.datastorage import BATCH_PATH
from kubernaut_testing.files import replace_file
from kubernaut_testing.invariants import assert_invariants, assert_quiet
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import Delay, FaultProxy, Rule, Status
from kubernaut_testing.waiting import eventually, stays

pytestmark = pytest.mark.e2e

FLEET = {
    "endpoint": "https://fleet.example/mcp",
    "oauth2": {"enabled": True, "tokenURL": "https://idp.example/token", "credentialsSecretRef": "fleet"},
}
VERSIONED = """
labels["version"] := ["v1"]
"""


@pytest.fixture(scope="module")
def site(open_site: Callable[..., SignalProcessingSite], proxy: FaultProxy) -> SignalProcessingSite:
    """One operator for the file, with a fleet that it cannot use, behind a proxy."""
    return open_site(config={"fleet": FLEET}, proxy=proxy, policy=VERSIONED)


@pytest.fixture(scope="module")
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop("shop", PRODUCTION)


@contextmanager
def in_force(proxy: FaultProxy, rule: Rule) -> Iterator[Rule]:
    yield proxy.add(rule)
    rule.remove()


@pytest.mark.behaviour(106, "W7")
def test_a_fleet_is_told_as_unsupported_and_its_signals_fail(
    site: SignalProcessingSite, shop: Shop, ledger: RequestLedger
) -> None:
    code, text = site.deployment.probe("/readyz")
    assert code == 200
    assert "[ ]fleet: fleet.endpoint is not supported; signals with a clusterID end Failed" in text
    site.create("remote", clusterID="east", targetResource=shop.target("Pod", "bare"))
    eventually(lambda: site.phase("remote") == "Failed")
    assert "cluster east" in site.status("remote")["failureInfo"]["error"]
    assert ledger.entries(user_agent=PROGRAM, verb="get", name="bare") == [], "the own cluster has one of that name"


@pytest.mark.behaviour(15, 19)
def test_a_deadline_that_has_passed_fails_the_signal(site: SignalProcessingSite) -> None:
    site.create("late", times_out_at="2026-03-01T10:00:00Z")
    eventually(lambda: site.phase("late") == "Failed")
    conditions = {c["type"]: c["reason"] for c in site.status("late")["conditions"]}
    assert conditions["ProcessingComplete"] == "TimedOut"
    eventually(lambda: site.events("late", "ProcessingTimedOut"))
    (event,) = site.events("late", "ProcessingTimedOut")
    assert event["type"] == "Warning"
    assert "timed out" in event["message"]


@pytest.mark.behaviour(81, 92, 93)
def test_a_changed_policy_decides_the_next_signal_and_a_broken_one_does_not(
    site: SignalProcessingSite, shop: Shop
) -> None:
    policy = (site.policies / "policy.rego").read_text()

    def reloads(result: str) -> float:
        path = str(site.policies / "policy.rego")
        return site.deployment.metric("config_reload_total", file=path, result=result)

    def version(name: str) -> list[str]:
        site.create(name, targetResource=shop.target("Service", "front"))
        eventually(lambda: site.phase(name) == "Completed")
        found: list[str] = site.status(name)["kubernetesContext"]["customLabels"]["version"]
        return found

    assert version("with-the-first") == ["v1"]
    site.write_policy(policy.replace('"v1"', '"v2"'))
    eventually(lambda: reloads("ok") == 1)
    assert version("with-the-second") == ["v2"]
    site.write_policy("package signalprocessing\n\nseverity := ")
    eventually(lambda: reloads("failed") == 1)
    assert version("with-none") == ["v2"]
    hashes = {site.status(f"with-{which}")["signalClassification"]["policyHash"] for which in ("the-second", "none")}
    assert len(hashes) == 1
    assert site.status("with-the-first")["signalClassification"]["policyHash"] not in hashes


@pytest.mark.behaviour(88, "W17")
def test_changed_mappings_hold_for_the_next_signal(site: SignalProcessingSite) -> None:
    replace_file(site.mappings, "proactive_signal_mappings: {PredictedFire: Fire}\n")
    eventually(lambda: site.deployment.metric("config_reload_total", file=str(site.mappings), result="ok") == 1)
    site.create("fire", name="PredictedFire", targetResource={"kind": "Node", "name": "none"})
    eventually(lambda: site.phase("fire") == "Completed")
    found = site.status("fire")["signalClassification"]
    assert (found["signalMode"], found["signalName"]) == ("proactive", "Fire")


@pytest.mark.behaviour(8, 9)
def test_signals_that_come_at_once_are_all_completed_with_five_writes_each(
    site: SignalProcessingSite, shop: Shop, ledger: RequestLedger
) -> None:
    names = [f"burst-{number}" for number in range(20)]
    for number, name in enumerate(names):
        site.create(name, severity=f"Sev{1 + number % 4}", targetResource=shop.target("Pod", "web-pod"))
    eventually(lambda: all(site.phase(name) == "Completed" for name in names), timeout=60)
    for name in names:
        ledger.assert_requests(site.ref(name), {"patch/status": 5}, user_agent=PROGRAM, only=True)
        assert_invariants(ledger, site.ref(name), CONTRACT)
    severities = {site.status(name)["signalClassification"]["severity"] for name in names}
    assert severities == {"critical", "high", "warning", "info"}


@pytest.mark.behaviour(100, "W14")
def test_data_storage_that_fails_changes_no_result_and_gets_every_event_later(
    site: SignalProcessingSite, shop: Shop
) -> None:
    assert site.datastorage is not None
    site.datastorage.script(500, 503, path=BATCH_PATH)
    before = len(site.datastorage.batches)
    site.create("unheard", parent="rr-unheard", targetResource=shop.target("Service", "front"))
    eventually(lambda: site.phase("unheard") == "Completed")
    assert len(site.datastorage.wait_for_events(9, timeout=40, correlation_id="rr-unheard")) == 9
    assert len(site.datastorage.batches) >= before + 3


@pytest.mark.behaviour(97, "W1")
def test_a_failure_is_recorded_by_one_write_that_wakes_nobody(
    site: SignalProcessingSite, shop: Shop, proxy: FaultProxy, ledger: RequestLedger
) -> None:
    with in_force(proxy, Rule(Status(503), verb="get", resource="pods", name="bare")) as busy:
        site.create("waiting", targetResource=shop.target("Pod", "bare"))
        eventually(lambda: "failureInfo" in site.status("waiting"))
        stays(lambda: (busy.hits, site.status("waiting")), seconds=2)
        assert busy.hits == 1
    assert site.status("waiting")["failureInfo"]["consecutiveFailures"] == 1
    ledger.assert_requests(site.ref("waiting"), {"patch/status": 3}, user_agent=PROGRAM, only=True)
    (event,) = eventually(lambda: site.events("waiting", "EnrichmentFailed"))
    assert (event["type"], event.get("count", 1)) == ("Warning", 1)


@pytest.mark.behaviour("W12")
def test_a_signal_whose_target_is_slow_to_read_holds_up_no_other(
    site: SignalProcessingSite, shop: Shop, proxy: FaultProxy
) -> None:
    with in_force(proxy, Rule(Delay(60), verb="get", resource="pods", name="lost")) as slow:
        site.create("slow", targetResource=shop.target("Pod", "lost"))
        slow.wait()
        site.create("quick", targetResource=shop.target("Pod", "bare"))
        eventually(lambda: site.phase("quick") == "Completed")
        assert site.phase("slow") == "Enriching"


def test_at_rest_nothing_is_written(site: SignalProcessingSite) -> None:
    site.create("resting", targetResource={"kind": "ConfigMap", "name": "any", "namespace": site.namespace})
    eventually(lambda: site.phase("resting") == "Completed")
    ended = {each["metadata"]["name"] for each in site.objects() if each["status"]["phase"] in TERMINAL}
    assert_quiet(lambda: [each for each in site.objects() if each["metadata"]["name"] in ended], seconds=2)

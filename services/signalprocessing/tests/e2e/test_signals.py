"""Many signals through one operator, about targets of every kind, until each has ended; then what is told of each.

Real enrichment with the permissions of the shipped role, the shipped policy (with one rule more that fails for a
severity of its own), Data Storage and Events. All depart together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from scenarios.shop import LABELS, LONG_NAME, PRODUCTION, Shop
from scenarios.signalprocessing import API_VERSION, CONTRACT, KIND, PROGRAM, TERMINAL, SignalProcessingSite

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

FAILING_RULE = """
severity := "info" if input.signal.severity == "both"
severity := "high" if input.signal.severity == "both"
"""
INFRASTRUCTURE = {
    "kubernaut.ai/business-unit": "infrastructure",
    "kubernaut.ai/team": "infra",
    "kubernaut.ai/tier": "1",
}
SEVERITIES = {"Sev1": "critical", "Sev2": "high", "Sev3": "warning", "Sev4": "info", "P0": "critical", "p7": "unknown"}
KINDS = {
    "Pod": ("bare", LABELS),
    "Deployment": ("web-deployment", {"app": "web"}),
    "StatefulSet": ("db", LABELS),
    "DaemonSet": ("agent", LABELS),
    "ReplicaSet": ("web-replicaset", {"app": "web"}),
    "Service": ("front", LABELS),
}
CHAINS = {
    "web-pod": ["ReplicaSet/web-replicaset", "Deployment/web-deployment"],
    "db-0": ["StatefulSet/db"],
    "agent-x": ["DaemonSet/agent"],
    "report-1-x": ["Job/report-1", "CronJob/report"],
    "canary-x": ["Rollout/canary"],
    "bare": [],
}


class World:
    """An operator, two shops, and the signals that it has processed; `status` is that of one."""

    def __init__(self, site: SignalProcessingSite, shop: Shop, plain: Shop) -> None:
        self.site, self.shop, self.plain = site, shop, plain
        self.ledger: RequestLedger = site.control_plane.ledger().fresh()
        self._found: dict[str, dict[str, Any]] = {}

    def depart(self) -> None:
        """Create every signal."""
        shop, plain = self.shop, self.plain
        for kind, (name, _) in KINDS.items():
            self.create(f"is-{kind}", shop.target(kind, name))
            self.create(f"gone-{kind}", shop.target(kind, "gone"))
        for name in CHAINS:
            self.create(f"chain-{name}", shop.target("Pod", name))
        for name in ("leaving", "lost", "plain"):
            self.create(f"pod-{name}", shop.target("Pod", name))
        self.create("pod-long", shop.target("Pod", LONG_NAME))
        self.create("node", {"kind": "Node", "name": shop.node})
        self.create("node-gone", {"kind": "Node", "name": "gone"})
        self.create("other", shop.target("ConfigMap", "settings"))
        self.create("nothing", {"kind": "", "name": "", "namespace": shop.namespace})
        self.create("volume", {"kind": "PersistentVolume", "name": "pv-1"})
        self.create("system", {"kind": "ConfigMap", "name": "any", "namespace": "kube-system"})
        self.create("plain", plain.target("Deployment", "web-deployment"))
        for severity in SEVERITIES:
            self.create(f"severity-{severity}", shop.target("Service", "front"), severity=severity)
        # No priority looks at the severity of a signal without an environment, so its own failure is the first.
        self.create("broken", {"kind": "PersistentVolume", "name": "pv-1"}, severity="both")
        for name in ("PredictedOOMKill", "CustomAlertType", ""):
            self.create(f"named-{name}", shop.target("Service", "front"), name=name)
        minimal = {
            "fingerprint": "0f" * 32,
            "name": "a",
            "severity": "high",
            "type": "alert",
            "targetType": "kubernetes",
        }
        spec = {"remediationRequestRef": {"name": "rr-minimal"}, "signal": minimal}
        spec["signal"] |= {"targetResource": shop.target("Pod", "bare"), "receivedTime": "2026-03-01T10:00:00Z"}
        metadata = {"namespace": self.site.namespace, "name": "minimal"}
        self.site.control_plane.api.create(
            {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
        )

    def create(self, name: str, target: dict[str, str], /, **signal: Any) -> None:
        """Create a signal whose parent is called after it."""
        called = _called(name)
        self.site.create(called, targetResource=target, parent=f"rr-{called}", **signal)

    def arrive(self) -> None:
        """Wait until every signal has ended."""

        def under_way() -> list[str]:
            self._found = {each["metadata"]["name"]: each for each in self.site.objects()}
            return [n for n, each in self._found.items() if each.get("status", {}).get("phase") not in TERMINAL]

        eventually(lambda: not under_way(), timeout=60, message=lambda: f"the end of {under_way()}")

    @property
    def ended(self) -> dict[str, str]:
        """The signals and the phase that each ended in."""
        return {name: each["status"]["phase"] for name, each in self._found.items()}

    def stored(self, name: str) -> dict[str, Any]:
        """A signal's object at its end."""
        return self._found[_called(name)]

    def status(self, name: str, phase: str = "Completed") -> dict[str, Any]:
        """A signal's status at its end, which is this phase."""
        found: dict[str, Any] = self.stored(name)["status"]
        assert found["phase"] == phase, found
        return found

    def context(self, name: str) -> dict[str, Any]:
        """What was told of a signal's target."""
        return self.status(name).get("kubernetesContext") or {}

    def audit(self, name: str, event: str) -> list[dict[str, Any]]:
        """The payloads of the signal's audit events of one type, once the signal is told as processed."""
        assert self.site.datastorage is not None
        parent = f"rr-{_called(name)}"
        for each in ("signal.processed", event):
            self.site.datastorage.wait_for_events(1, correlation_id=parent, event_type=f"signalprocessing.{each}")
        found = self.site.datastorage.events(correlation_id=parent, event_type=f"signalprocessing.{event}")
        return [each["event_data"] for each in found]

    def events(self, name: str, number: int) -> Counter[str]:
        """The reasons of a signal's Events, once there are `number`."""
        eventually(lambda: len(self.site.events(_called(name))) >= number)
        return Counter(event["reason"] for event in self.site.events(_called(name)))


def _called(name: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")


@pytest.fixture(scope="module")
def world(open_site: Callable[..., SignalProcessingSite], open_shop: Callable[..., Shop]) -> World:
    shop = open_shop("my-ns-123", PRODUCTION, node=INFRASTRUCTURE)
    plain = open_shop("plain", {"kubernaut.ai/business-unit": "retail", "env": "staging"})
    made = World(open_site(policy=FAILING_RULE), shop, plain)
    made.depart()
    made.arrive()
    return made


@pytest.mark.behaviour(21, 22, 23, 24, 25, 26, 43)
@pytest.mark.parametrize("kind", KINDS)
def test_a_target_is_told_with_its_kind_and_labels(world: World, kind: str) -> None:
    name, labels = KINDS[kind]
    context = world.context(f"is-{kind}")
    annotations = {"annotations": {"contact": "ops"}} if kind == "DaemonSet" else {}
    found = context["workload"]
    if kind in ("Deployment", "ReplicaSet"):
        found.pop("annotations", None)  # a controller manager's, where one runs
    assert found == {"kind": kind, "name": name, "labels": labels, **annotations}
    assert context["namespace"]["name"] == world.shop.namespace
    assert "ownerChain" not in context


@pytest.mark.behaviour(31, 32, 47)
@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_is_gone_leaves_its_namespace_and_the_signal_is_completed(world: World, kind: str) -> None:
    context = world.context(f"gone-{kind}")
    assert context["degradedMode"] is True
    assert "workload" not in context
    assert PRODUCTION.items() <= context["namespace"]["labels"].items()
    assert world.status(f"gone-{kind}")["priorityAssignment"]["priority"] == "P0"


@pytest.mark.behaviour(49, 50, 51, 52, "W18", "W19")
@pytest.mark.parametrize("pod", CHAINS)
def test_owners_are_told_up_to_the_last_with_their_api(world: World, pod: str) -> None:
    chain = world.context(f"chain-{pod}").get("ownerChain", [])
    assert [f"{entry['kind']}/{entry['name']}" for entry in chain] == CHAINS[pod]
    apis = {"Job": "batch/v1", "CronJob": "batch/v1", "Rollout": "argoproj.io/v1alpha1"}
    for entry in chain:
        assert entry["api_version"] == apis.get(entry["kind"], "apps/v1")
        assert entry["namespace"] == world.shop.namespace


@pytest.mark.behaviour(40, 42, 44, 45)
@pytest.mark.parametrize("name", ["leaving", "lost", "plain", "long"])
def test_what_else_is_true_of_a_pod_does_not_matter(world: World, name: str) -> None:
    workload = world.context(f"pod-{name}")["workload"]
    labels = {} if name == "plain" else {"labels": LABELS}
    assert workload == {"kind": "Pod", "name": LONG_NAME if name == "long" else name, **labels}


@pytest.mark.behaviour(27, 33, 84, 87)
def test_a_node_has_no_namespace_and_speaks_for_itself(world: World) -> None:
    context = world.context("node")
    assert context.keys() == {"workload", "customLabels"}
    assert context["workload"] == {"kind": "Node", "name": world.shop.node, "labels": INFRASTRUCTURE}
    assert context["customLabels"] == {"team": ["infra"], "tier": ["1"]}
    assert world.status("node")["businessClassification"]["businessUnit"] == "infrastructure"
    assert world.context("node-gone") == {"degradedMode": True}


@pytest.mark.behaviour(28, 29, 30, 41)
def test_of_any_other_target_the_namespace_is_told_if_it_has_one(world: World) -> None:
    for name, namespace in (
        ("other", world.shop.namespace),
        ("nothing", world.shop.namespace),
        ("system", "kube-system"),
    ):
        context = world.context(name)
        assert context["namespace"]["name"] == namespace
        assert context.keys() <= {"namespace", "customLabels"}
    assert world.context("volume") == {"degradedMode": True}


@pytest.mark.behaviour(7, 11, 12)
def test_a_signal_is_completed_and_does_not_end_before_it_began(world: World) -> None:
    assert world.shop.namespace.startswith("my-ns-123-")
    for name in ("chain-web-pod", "minimal"):
        status = world.status(name)
        assert status["completionTime"] >= status["startTime"] >= world.stored(name)["metadata"]["creationTimestamp"]


@pytest.mark.behaviour(9, 66, 74, 75, 76)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_policy_s_word_for_a_severity_is_told_beside_the_original(world: World, severity: str) -> None:
    name = f"severity-{severity}"
    found = world.status(name)["signalClassification"]
    assert found["severity"] == SEVERITIES[severity]
    assert re.fullmatch("[0-9a-f]{64}", found["policyHash"])
    assert world.stored(name)["spec"]["signal"]["severity"] == severity
    priorities = {"critical": "P0", "high": "P1"}
    assert world.status(name)["priorityAssignment"]["priority"] == priorities.get(SEVERITIES[severity], "P3")
    (decision,) = world.audit(name, "classification.decision")
    assert (decision["external_severity"], decision["normalized_severity"]) == (severity, SEVERITIES[severity])
    assert (decision["determination_source"], decision["policy_hash"]) == ("rego-policy", found["policyHash"])


@pytest.mark.behaviour(78, "W9")
def test_a_rule_that_fails_ends_the_signal_and_everybody_is_told(world: World) -> None:
    status = world.status("broken", "Failed")
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
    assert conditions["CategorizationComplete"] == ("False", "CategorizationFailed")
    assert conditions["ProcessingComplete"] == ("False", "ProcessingFailed")
    assert "severity: policy evaluation failed" in status["failureInfo"]["error"]
    assert status["completionTime"] >= status["startTime"]
    (error,) = world.audit("broken", "error.occurred")
    assert (error["phase"], error["error"]) == ("Classifying", status["failureInfo"]["error"])
    assert [entry["to_phase"] for entry in world.audit("broken", "phase.transition")][-1] == "Failed"
    assert len(world.audit("broken", "signal.processed")) == 1
    assert world.events("broken", 4)["PolicyEvaluationFailed"] == 1
    metric = world.site.deployment.metric
    assert metric("signalprocessing_processing_total", phase="completed", result="failure") == 1
    assert metric("signalprocessing_processing_total", phase="classifying", result="failure") == 1


@pytest.mark.behaviour(82, 83, 86)
def test_labels_of_the_namespace_tell_whom_it_belongs_to(world: World) -> None:
    assert world.status("plain")["businessClassification"] == {
        "businessUnit": "retail",
        "criticality": "Medium",
        "slaRequirement": "Silver",
    }
    (business,) = world.audit("plain", "business.classified")
    assert business["business_unit"] == "retail"
    assert world.status("is-Pod")["businessClassification"]["businessUnit"] == "payments"
    assert world.context("is-Pod")["customLabels"] == {"team": ["payments"], "tier": ["gold"], "cost-center": ["cc-1"]}


@pytest.mark.behaviour(88, 89, 90)
def test_a_predicted_signal_goes_on_under_the_name_of_what_it_predicts(world: World) -> None:
    found = world.status("named-PredictedOOMKill")["signalClassification"]
    assert (found["signalMode"], found["signalName"]) == ("proactive", "OOMKilled")
    assert found["sourceSignalName"] == "PredictedOOMKill"
    for name in ("CustomAlertType", ""):
        found = world.status(f"named-{name}")["signalClassification"]
        assert (found["signalMode"], found.get("signalName", "")) == ("reactive", name)
        assert "sourceSignalName" not in found


@pytest.mark.behaviour(95, 96)
def test_the_way_to_the_end_is_told_by_events(world: World) -> None:
    way = {"PhaseTransition": 4, "SignalProcessed": 1}
    assert world.events("chain-web-pod", 6) == {"SignalEnriched": 1, **way}
    assert world.events("gone-Pod", 6) == {"EnrichmentDegraded": 1, **way}
    (warning,) = world.site.events("gone-pod", "EnrichmentDegraded")
    assert warning["type"] == "Warning"


@pytest.mark.behaviour(99)
def test_the_way_to_the_end_is_nine_audit_events(world: World) -> None:
    datastorage = world.site.datastorage
    assert datastorage is not None
    datastorage.wait_for_events(9, correlation_id="rr-chain-web-pod")
    told = Counter(event["event_type"] for event in datastorage.events(correlation_id="rr-chain-web-pod"))
    ones = ("enrichment.completed", "classification.decision", "business.classified", "signal.processed")
    assert told == {"signalprocessing.phase.transition": 5, **{f"signalprocessing.{one}": 1 for one in ones}}
    assert datastorage.refusals == []


@pytest.mark.behaviour(101, 102)
def test_a_completed_signal_has_five_true_conditions_and_no_failures(world: World) -> None:
    status = world.status("chain-web-pod")
    words = {
        "EnrichmentComplete": "Pod",
        "ClassificationComplete": "environment=Production",
        "CategorizationComplete": "businessUnit=payments",
        "ProcessingComplete": "processed successfully",
        "Ready": "",
    }
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [(name, "True") for name in words]
    for condition in status["conditions"]:
        assert words[condition["type"]] in condition["message"]
    assert "priority=P0" in status["conditions"][1]["message"]
    assert "failureInfo" not in status


@pytest.mark.behaviour(8, "W2")
def test_all_at_once_are_completed_with_five_writes_each(world: World) -> None:
    assert Counter(world.ended.values()) == {"Completed": len(world.ended) - 1, "Failed": 1}
    for name, phase in world.ended.items():
        writes = 4 if phase == "Failed" else 5
        world.ledger.assert_requests(world.site.ref(name), {"patch/status": writes}, user_agent=PROGRAM, only=True)
        assert_invariants(world.ledger, world.site.ref(name), CONTRACT)


@pytest.mark.behaviour("W13", "W18")
def test_namespaces_and_signals_alone_are_watched_and_nothing_was_forbidden(
    world: World, control_plane: ControlPlane
) -> None:
    entries = world.ledger.entries(user_agent=PROGRAM)
    assert {entry.resource for entry in entries if entry.verb in ("watch", "list")} <= {
        "namespaces",
        "signalprocessings",
    }
    assert [entry for entry in entries if entry.code == 403] == []

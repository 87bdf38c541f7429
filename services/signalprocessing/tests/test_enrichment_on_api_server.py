"""The enrichment on a real API server: what it costs, whom it asks, and what a server that fails makes of it."""

import asyncio
from contextlib import contextmanager
from pathlib import Path

import pytest
from scenarios.shop import LABELS, LONG_NAME, Shop

from kubernaut_api import Signal
from kubernaut_runtime import Connection, Runtime, Store
from kubernaut_runtime.app import Operator, Process
from kubernaut_runtime.config import LoadedConfig
from kubernaut_runtime.flags import Arguments
from kubernaut_runtime.sections import ControllerSection
from kubernaut_signalprocessing.config import SignalProcessingConfig
from kubernaut_signalprocessing.enrichment import (
    Enricher,
    ForbiddenReadError,
    LocalReader,
    NamespaceMissingError,
    TransientReadError,
    add_enricher,
)
from kubernaut_signalprocessing.enrichment.kinds import NAMESPACES
from kubernaut_signalprocessing.enrichment.namespaces import WatchedNamespaces
from kubernaut_signalprocessing.metrics import SignalProcessingMetrics
from kubernaut_testing.proxy import Delay, Rule, Status
from kubernaut_testing.waiting import eventually_async

AGENT = "kubernaut-signalprocessing"
WEB = {"app": "web"}


def signal(kind, name, namespace):
    return Signal.model_validate({"targetResource": {"kind": kind, "name": name, "namespace": namespace}})


class Running:
    """The enrichment in a process of its own wiring, in the test's loop."""

    def __init__(self, plane, namespace):
        section = ControllerSection(metrics_addr="127.0.0.1:0", health_probe_addr="127.0.0.1:0", leader_election=False)
        loaded = LoadedConfig(SignalProcessingConfig(controller=section), Path("none"), (), "")
        operator = Operator(name="signalprocessing", version="1", config=SignalProcessingConfig, setup=self._setup)
        self.process = Process(operator, Arguments(None, plane.kubeconfig, None, False), loaded)
        self.enricher: Enricher

    def ready(self):
        return hasattr(self, "enricher") and self.process.probes.readiness.report("readyz")[0]

    async def _setup(self, runtime: Runtime[SignalProcessingConfig]) -> None:
        self.enricher = add_enricher(runtime, SignalProcessingMetrics(runtime.registry))

    def value(self, name, **labels):
        return self.process.runtime.registry.get_sample_value(name, labels) or 0


@pytest.fixture
def shop(control_plane, namespace):
    made = Shop(control_plane, namespace, {"kubernaut.ai/environment": "staging"}, node={"zone": "a"})
    yield made
    made.close()


@pytest.fixture
async def running(control_plane, namespace, shop, monkeypatch):
    monkeypatch.setenv("KUBERNAUT_CONTROLLER_NAMESPACE", namespace)
    made = Running(control_plane, namespace)
    task = asyncio.create_task(made.process.run())
    await eventually_async(lambda: task.done() or made.ready(), timeout=30)
    yield made
    made.process.stop()
    assert await task == 0


@pytest.mark.behaviour(*range(21, 29), 31, 33, 35, *range(40, 45), 46, 47, *range(49, 53), 56, 59, "W19", "W22")
async def test_what_is_read_and_what_it_costs(running, shop, namespace, control_plane, ledger):
    """One process for all kinds of targets, because starting it takes longer than all of them together."""
    enrich = running.enricher.enrich

    async def reads(kind, name, within=namespace):
        mark = ledger.mark()
        context = await enrich(signal(kind, name, within))
        ledger.settle()
        entries = ledger.entries(user_agent=AGENT, since=mark, where=lambda entry: entry.verb not in ("watch", "list"))
        assert {entry.verb for entry in entries} <= {"get"}
        return context, [f"{entry.resource} {entry.name}" for entry in entries]

    context, cost = await reads("Pod", "web-pod")
    assert context.to_wire() == {
        "namespace": {
            "name": namespace,
            "labels": {"kubernetes.io/metadata.name": namespace, "kubernaut.ai/environment": "staging"},
        },
        "workload": {"kind": "Pod", "name": "web-pod", "labels": WEB},
        "ownerChain": [
            {"namespace": namespace, "kind": "ReplicaSet", "name": "web-replicaset", "api_version": "apps/v1"},
            {"namespace": namespace, "kind": "Deployment", "name": "web-deployment", "api_version": "apps/v1"},
        ],
    }
    assert cost == ["pods web-pod", "replicasets web-replicaset", "deployments web-deployment"]

    for kind, name in (
        ("Deployment", "web-deployment"),
        ("ReplicaSet", "web-replicaset"),
        ("DaemonSet", "agent"),
        ("StatefulSet", "db"),
        ("Service", "front"),
    ):
        labels = WEB if name.startswith("web") else LABELS
        context, cost = await reads(kind, name)
        assert context.workload is not None
        assert (context.workload.kind, context.workload.labels, context.owner_chain) == (kind, labels, [])
        assert cost == [f"{kind.lower()}s {name}"]

    for pod, owners, costs in (
        ("db-0", ["StatefulSet/db"], 2),
        ("agent-x", ["DaemonSet/agent"], 2),
        ("report-1-x", ["Job/report-1", "CronJob/report"], 3),
        ("canary-x", ["Rollout/canary"], 1),
        ("static", [f"Node/{shop.node}"], 2),
        *((name, [], 1) for name in ("bare", "leaving", "lost", LONG_NAME)),
    ):
        context, cost = await reads("Pod", pod)
        assert [f"{entry.kind}/{entry.name}" for entry in context.owner_chain] == owners
        assert len(cost) == costs

    context, cost = await reads("Node", shop.node, "")
    assert context.to_wire() == {"workload": {"kind": "Node", "name": shop.node, "labels": {"zone": "a"}}}
    assert cost == [f"nodes {shop.node}"]
    context, cost = await reads("ConfigMap", "any")
    assert (context.workload, context.degraded_mode, cost) == (None, False, [])
    context, cost = await reads("ConfigMap", "any", "kube-system")
    assert (context.namespace is not None, cost) == (True, [])

    context, cost = await reads("Pod", "gone")
    assert (context.namespace is not None, context.workload, context.degraded_mode) == (True, None, True)
    assert cost == ["pods gone"]
    assert (await reads("Node", "gone", ""))[0].to_wire() == {"degradedMode": True}
    mark = ledger.mark()
    with pytest.raises(NamespaceMissingError):
        await enrich(signal("Pod", "web", "nowhere"))
    ledger.settle()
    assert [entry.resource for entry in ledger.entries(user_agent=AGENT, verb="get", since=mark)] == ["namespaces"]
    assert running.value("signalprocessing_enrichment_errors_total", error_type="not_found") == 2

    # Live: a namespace of a moment ago, and the label that it has got since, by the watch.
    fresh = control_plane.create_namespace(f"{namespace}-2")
    assert (await reads("ConfigMap", "any", fresh))[0].namespace is not None
    relabelled = {"metadata": {"labels": {"kubernaut.ai/environment": "production"}}}
    control_plane.api.patch("v1", "Namespace", None, fresh, relabelled)

    async def environment():
        context = await enrich(signal("ConfigMap", "any", fresh))
        assert context.namespace is not None
        return context.namespace.labels.get("kubernaut.ai/environment") == "production"

    await eventually_async(environment)
    pods = {"service": "signalprocessing", "verb": "get", "resource": "pods", "subresource": ""}
    assert running.value("k8s_api_calls_total", **pods, code="200") == 10
    assert running.value("k8s_api_calls_total", **pods, code="404") == 1
    assert ledger.entries(user_agent=AGENT, where=lambda entry: entry.is_write) == []


@contextmanager
def in_force(fault_proxy, rule):
    yield fault_proxy.add(rule)
    rule.remove()


class Noting:
    """The real client; `bodies` are the answers."""

    def __init__(self, client):
        self.client, self.bodies = client, []

    async def send(self, request):
        response = await self.client.send(request)
        self.bodies.append(response.body)
        return response


@pytest.fixture
async def enricher_by(namespace):
    """Makes an enricher that reads with a kubeconfig and has no watch; `.noted` has the server's answers."""
    clients = []

    def make(kubeconfig, timeout=10.0):
        client = Connection.from_kubeconfig(kubeconfig).client(f"{AGENT}/{namespace}")
        clients.append(client)
        noted = Noting(client)
        reader = LocalReader(noted)
        namespaces = WatchedNamespaces(Store(NAMESPACES, lambda *_: None), reader)
        made = Enricher(local=reader, namespaces=namespaces, timeout=timeout, lacking=lambda _: None)
        return made, noted

    yield make
    for client in clients:
        await client.close()


@pytest.mark.behaviour("W13")
async def test_the_server_sends_metadata_alone(enricher_by, shop, control_plane):
    enricher, noted = enricher_by(control_plane.kubeconfig)
    await enricher.enrich(signal("Pod", "web-pod", shop.namespace))
    assert [body["kind"] for body in noted.bodies] == ["PartialObjectMetadata"] * 4
    assert all(set(body) == {"kind", "apiVersion", "metadata"} for body in noted.bodies)


@pytest.mark.behaviour(36, 51)
async def test_missing_permissions_are_named_by_the_error(enricher_by, shop, control_plane, namespace):
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    read_namespaces = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]
    control_plane.service_account(namespace, "reader", rules=rules, cluster_rules=read_namespaces)
    control_plane.service_account(namespace, "nobody")
    enricher, _ = enricher_by(control_plane.kubeconfig_for(namespace, "reader"))
    with pytest.raises(ForbiddenReadError, match=rf"get deployments\.apps in namespace {namespace}"):
        await enricher.enrich(signal("Deployment", "web-deployment", namespace))
    context = await enricher.enrich(signal("Pod", "web-pod", namespace))
    assert [entry.kind for entry in context.owner_chain] == ["ReplicaSet"]
    enricher, _ = enricher_by(control_plane.kubeconfig_for(namespace, "nobody"))
    with pytest.raises(ForbiddenReadError, match="cannot get namespaces at cluster scope"):
        await enricher.enrich(signal("Pod", "web-pod", namespace))


@pytest.mark.behaviour(37, 38, 39, 54, 55, "W8", "W24")
async def test_a_server_that_fails_or_hangs_is_a_transient_error_and_not_a_lack(
    enricher_by, shop, control_plane, fault_proxy
):
    kubeconfig = fault_proxy.kubeconfig_for(control_plane.kubeconfig)
    enricher, _ = enricher_by(kubeconfig, timeout=2.5)
    pod = signal("Pod", "web-pod", shop.namespace)
    for code, text in ((429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable")):
        with in_force(fault_proxy, Rule(Status(code, retry_after=3), verb="get")):
            with pytest.raises(TransientReadError, match=text) as caught:
                await enricher.enrich(pod)
            assert caught.value.retry_after == 3
    hanging = in_force(fault_proxy, Rule(Delay(30), verb="get", resource="pods"))
    with hanging, pytest.raises(TransientReadError, match=r"enrichment\.timeout"):
        await enricher.enrich(pod)
    for fault in (Status(503), Delay(30)):
        with in_force(fault_proxy, Rule(fault, verb="get", resource="deployments")):
            context = await enricher.enrich(pod)
        assert [entry.kind for entry in context.owner_chain] == ["ReplicaSet", "Deployment"]
        assert not context.degraded_mode

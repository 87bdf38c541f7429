import asyncio

import pytest

from kubernaut_api import KubernetesContext
from kubernaut_signalprocessing.enrichment import (
    Enricher,
    EnrichmentError,
    ForbiddenReadError,
    InvalidTargetError,
    NamespaceMissingError,
    TransientReadError,
)
from kubernaut_signalprocessing.metrics import ENRICHMENT_ERRORS

NAMESPACED = {
    "Pod": "pods",
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "ReplicaSet": "replicasets",
    "Service": "services",
}
SHOP = {"name": "shop", "labels": {"kubernaut.ai/environment": "staging"}, "annotations": {"contact": "shop"}}
BUSY = TransientReadError("429 TooManyRequests", retry_after=7)
FORBIDDEN = ForbiddenReadError(verb="get", resource="pods", namespace="shop")


@pytest.mark.behaviour(21, 22, 23, 24, 25, 26)
@pytest.mark.parametrize("kind", NAMESPACED)
async def test_a_target_in_a_namespace_gives_namespace_and_workload_for_one_read(cluster, enricher, signal, kind):
    cluster.add(NAMESPACED[kind], "web", "shop", labels={"app": "web"}, annotations={"team": "a"})
    context = await enricher.enrich(signal(kind, "web"))
    assert context.to_wire() == {
        "namespace": SHOP,
        "workload": {"kind": kind, "name": "web", "labels": {"app": "web"}, "annotations": {"team": "a"}},
    }
    assert cluster.reads == [f"{NAMESPACED[kind]} shop/web"]


@pytest.mark.behaviour(22, 25)
@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet"])
async def test_the_owners_of_anything_but_a_pod_are_not_followed(cluster, enricher, signal, kind):
    cluster.add(NAMESPACED[kind], "web", "shop", owner=("argoproj.io/v1alpha1", "Rollout", "web"))
    assert (await enricher.enrich(signal(kind, "web"))).owner_chain == []


@pytest.mark.behaviour(27)
async def test_a_node_has_no_namespace_even_if_the_signal_names_one(cluster, enricher, signal):
    cluster.add("nodes", "n1", labels={"zone": "a"})
    context = await enricher.enrich(signal("Node", "n1", "nowhere"))
    assert context.to_wire() == {"workload": {"kind": "Node", "name": "n1", "labels": {"zone": "a"}}}
    assert cluster.reads == ["nodes n1"]


@pytest.mark.behaviour(28, 29)
@pytest.mark.parametrize(("kind", "name"), [("ConfigMap", "settings"), ("pod", "web"), ("", "")])
async def test_of_any_other_kind_only_the_namespace_is_told(cluster, enricher, signal, lacks, kind, name):
    context = await enricher.enrich(signal(kind, name))
    assert context.to_wire() == {"namespace": SHOP}
    assert (cluster.reads, lacks) == ([], [])


@pytest.mark.behaviour(30)
async def test_of_another_kind_without_namespace_nothing_is_known(cluster, enricher, signal, lacks):
    assert (await enricher.enrich(signal("PersistentVolume", "pv-1", ""))).to_wire() == {"degradedMode": True}
    assert (cluster.reads, lacks) == ([], [])


@pytest.mark.behaviour(31, 32, 47)
@pytest.mark.parametrize("kind", NAMESPACED)
async def test_a_missing_target_leaves_the_namespace_and_is_no_error(enricher, signal, lacks, kind):
    assert (await enricher.enrich(signal(kind, "gone"))).to_wire() == {"namespace": SHOP, "degradedMode": True}
    assert lacks == ["not_found"]


@pytest.mark.behaviour(33)
async def test_a_missing_node_leaves_nothing_and_is_no_error(enricher, signal, lacks):
    assert (await enricher.enrich(signal("Node", "gone", ""))).to_wire() == {"degradedMode": True}
    assert lacks == ["not_found"]


@pytest.mark.behaviour(34, 37, 38)
@pytest.mark.parametrize("kind", [*NAMESPACED, "Node"])
@pytest.mark.parametrize("error", [BUSY, FORBIDDEN, EnrichmentError("400 BadRequest")])
async def test_a_target_that_cannot_be_read_is_an_error_of_its_own_type(cluster, enricher, signal, lacks, kind, error):
    cluster.failing[NAMESPACED.get(kind, "nodes")] = error
    with pytest.raises(type(error)) as caught:
        await enricher.enrich(signal(kind, "web"))
    assert caught.value is error
    assert not caught.value.permanent
    assert lacks == ["api_error"]


@pytest.mark.behaviour(36, 37, 38)
@pytest.mark.parametrize("error", [BUSY, ForbiddenReadError(verb="get", resource="namespaces", namespace="")])
async def test_a_namespace_that_cannot_be_read_is_an_error(cluster, enricher, signal, lacks, error):
    cluster.failing["namespaces"] = error
    with pytest.raises(type(error)):
        await enricher.enrich(signal("Pod", "web"))
    assert (cluster.reads, lacks) == ([], [])


@pytest.mark.behaviour(35)
@pytest.mark.parametrize("kind", ["Pod", "ConfigMap", ""])
async def test_a_missing_namespace_is_an_error_that_names_it(cluster, enricher, signal, kind):
    with pytest.raises(NamespaceMissingError, match="namespace gone does not exist") as caught:
        await enricher.enrich(signal(kind, "web", "gone"))
    assert caught.value.namespace == "gone"
    assert not caught.value.permanent
    assert cluster.reads == []


@pytest.mark.parametrize("namespace", ["", "..", "a/b", "%2e", "x" * 254])
async def test_a_target_without_a_possible_namespace_is_a_permanent_error(cluster, enricher, signal, namespace):
    with pytest.raises(InvalidTargetError, match="cannot enrich Deployment") as caught:
        await enricher.enrich(signal("Deployment", "web", namespace))
    assert caught.value.permanent
    assert cluster.reads == []


@pytest.mark.behaviour(39, 103)
@pytest.mark.parametrize("slow", ["namespaces", "pods"])
async def test_reads_that_take_too_long_are_a_transient_error(cluster, make_enricher, signal, slow):
    cluster.failing[slow] = None
    with pytest.raises(TransientReadError, match=r"Pod shop/web: .* enrichment\.timeout"):
        await make_enricher(timeout=0.05).enrich(signal("Pod", "web"))


@pytest.mark.behaviour(39)
async def test_a_time_that_is_over_before_it_began_reads_nothing(cluster, make_enricher, signal):
    with pytest.raises(TransientReadError):
        await make_enricher(timeout=0.0).enrich(signal("Node", "n1"))
    assert cluster.reads == []


@pytest.mark.behaviour(39)
async def test_a_cancelled_enrichment_ends(cluster, enricher, signal):
    cluster.failing["pods"] = None
    task = asyncio.create_task(enricher.enrich(signal("Pod", "web")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.behaviour(40, 41, 42, 43, 44)
async def test_what_else_is_true_of_a_target_does_not_matter(cluster, enricher, signal):
    cluster.add("namespaces", "kube-system")
    name = "a" * 253
    cluster.add("pods", name, "kube-system", deletionTimestamp="2026-03-01T10:00:00Z", finalizers=["example.org/keep"])
    context = await enricher.enrich(signal("Pod", name, "kube-system"))
    assert context.to_wire() == {"namespace": {"name": "kube-system"}, "workload": {"kind": "Pod", "name": name}}


@pytest.mark.behaviour(45)
async def test_a_target_without_labels_has_empty_maps(cluster, enricher, signal):
    cluster.add("pods", "web", "shop")
    context = await enricher.enrich(signal("Pod", "web"))
    assert context.workload is not None
    assert (context.workload.labels, context.workload.annotations) == ({}, {})


@pytest.mark.behaviour(46)
async def test_two_enrichments_share_nothing_that_one_could_change(cluster, enricher, signal):
    first = await enricher.enrich(signal("ConfigMap", "c"))
    assert first.namespace is not None
    first.namespace.labels["kubernaut.ai/environment"] = "changed"
    second = await enricher.enrich(signal("ConfigMap", "c"))
    assert second == KubernetesContext.model_validate({"namespace": SHOP})


@pytest.mark.behaviour(48)
def test_an_enricher_without_a_metric_to_tell_is_refused(cluster):
    with pytest.raises(TypeError, match="lacking"):
        Enricher(local=cluster, namespaces=cluster, timeout=1)  # type: ignore[call-arg]


def test_every_lack_has_a_metric():
    assert set(ENRICHMENT_ERRORS) == {"not_found", "api_error", "remote_reader_unavailable", "remote_not_found"}

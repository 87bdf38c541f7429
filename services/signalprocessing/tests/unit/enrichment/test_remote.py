import pytest

from kubernaut_signalprocessing.enrichment import (
    EnrichmentError,
    ForbiddenReadError,
    InvalidTargetError,
    ReaderUnavailableError,
    RemoteClusterError,
    TransientReadError,
)

PROD = "prod-east-1"


@pytest.fixture
def prod(cluster):
    """The remote cluster: its own shop, with the same names in it."""
    made = type(cluster)()
    made.add("namespaces", "shop", labels={"kubernaut.ai/environment": "production"})
    made.add("pods", "web", "shop", labels={"at": "prod"}, owner=("apps/v1", "ReplicaSet", "web-7d"))
    cluster.add("pods", "web", "shop", labels={"at": "home"})
    return made


class Fleet:
    """A `ReaderFactory` and a `ClusterRegistry`."""

    def __init__(self, readers, error=None):
        self.readers, self.error = readers, error

    async def reader(self, cluster_id):
        if self.error is not None:
            raise self.error
        return self.readers[cluster_id]

    def labels(self, cluster_id):
        return {"environment": "production", "tier": "gold"} if cluster_id in self.readers else None


@pytest.fixture
def enricher(make_enricher, prod):
    return make_enricher(remote=Fleet({PROD: prod}))


@pytest.mark.behaviour(58)
async def test_a_remote_target_is_read_in_its_cluster(cluster, prod, enricher, signal):
    context = await enricher.enrich(signal("Pod", "web", cluster_id=PROD))
    assert context.to_wire() == {
        "clusterID": PROD,
        "namespace": {"name": "shop", "labels": {"kubernaut.ai/environment": "production"}},
        "workload": {"kind": "Pod", "name": "web", "labels": {"at": "prod"}},
        "ownerChain": [{"namespace": "shop", "kind": "ReplicaSet", "name": "web-7d", "api_version": "apps/v1"}],
    }
    assert prod.reads == ["namespaces shop", "pods shop/web", "replicasets shop/web-7d"]
    assert cluster.reads == []


@pytest.mark.behaviour(59)
async def test_without_a_cluster_id_the_own_cluster_is_read(cluster, prod, enricher, signal):
    context = await enricher.enrich(signal("Pod", "web"))
    assert context.workload is not None
    assert context.workload.labels == {"at": "home"}
    assert (context.cluster_id, prod.reads) == ("", [])


@pytest.mark.behaviour("W7")
async def test_without_a_connection_a_remote_target_is_a_permanent_error_and_nothing_is_read(
    cluster, make_enricher, signal
):
    with pytest.raises(RemoteClusterError, match=f"cluster {PROD}: this controller has no connection") as caught:
        await make_enricher().enrich(signal("Pod", "web", cluster_id=PROD))
    assert caught.value.permanent
    assert caught.value.cluster_id == PROD
    assert cluster.reads == []


@pytest.mark.behaviour(60)
async def test_a_cluster_that_gives_no_reader_makes_the_context_degraded(make_enricher, signal, lacks):
    enricher = make_enricher(remote=Fleet({}, ReaderUnavailableError("not connected")))
    context = await enricher.enrich(signal("Pod", "web", cluster_id=PROD))
    assert context.to_wire() == {"clusterID": PROD, "degradedMode": True}
    assert lacks == ["remote_reader_unavailable"]


@pytest.mark.behaviour(61, 62, 63)
async def test_the_labels_of_a_registered_cluster_are_told(make_enricher, prod, signal):
    fleet = Fleet({PROD: prod})
    remote = signal("Pod", "web", cluster_id=PROD)
    context = await make_enricher(remote=fleet, registry=fleet).enrich(remote)
    assert context.to_wire()["cluster"] == {"labels": {"environment": "production", "tier": "gold"}}
    unregistered = await make_enricher(remote=fleet, registry=Fleet({})).enrich(remote)
    without_registry = await make_enricher(remote=fleet).enrich(remote)
    assert unregistered.cluster is None
    assert without_registry.cluster is None
    assert (await make_enricher(remote=fleet, registry=fleet).enrich(signal("Pod", "web"))).cluster is None


@pytest.mark.parametrize(
    "error", [None, ForbiddenReadError(verb="get", resource="pods", namespace="shop"), EnrichmentError("400")]
)
async def test_a_remote_target_that_is_missing_for_good_makes_the_context_degraded(
    prod, enricher, signal, lacks, error
):
    if error is None:
        prod.objects.clear()
    else:
        prod.failing["*"] = error
    context = await enricher.enrich(signal("Pod", "web", cluster_id=PROD))
    assert context.to_wire() == {"clusterID": PROD, "degradedMode": True}
    assert lacks == ["remote_not_found"]


@pytest.mark.behaviour("W8")
@pytest.mark.parametrize("plural", ["namespaces", "pods"])
async def test_what_is_unreadable_for_now_in_a_remote_cluster_is_tried_again(prod, enricher, signal, plural):
    prod.failing[plural] = TransientReadError("gateway restarts")
    with pytest.raises(TransientReadError):
        await enricher.enrich(signal("Pod", "web", cluster_id=PROD))


async def test_a_remote_target_of_another_kind_is_its_namespace(enricher, signal):
    context = await enricher.enrich(signal("ConfigMap", "c", cluster_id=PROD))
    assert context.workload is None
    assert context.namespace is not None
    assert not context.degraded_mode
    assert (await enricher.enrich(signal("PersistentVolume", "v", "", cluster_id=PROD))).degraded_mode


async def test_a_remote_target_without_the_namespace_that_it_needs_is_invalid(prod, enricher, signal):
    with pytest.raises(InvalidTargetError):
        await enricher.enrich(signal("Pod", "web", "", cluster_id=PROD))
    assert prod.reads == []

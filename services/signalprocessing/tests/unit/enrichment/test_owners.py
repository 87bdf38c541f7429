import pytest

from kubernaut_signalprocessing.enrichment import EnrichmentError, ForbiddenReadError, TransientReadError

RS = ("apps/v1", "ReplicaSet", "web-7d")
DEPLOYMENT = ("apps/v1", "Deployment", "web")


def chain(context):
    return [(entry.api_version, entry.kind, entry.namespace, entry.name) for entry in context.owner_chain]


@pytest.fixture
def web(cluster):
    """Pod -> ReplicaSet -> Deployment."""
    cluster.add("pods", "web-7d-x", "shop", owner=RS)
    cluster.add("replicasets", "web-7d", "shop", uid="u", owner=DEPLOYMENT)
    cluster.add("deployments", "web", "shop", uid="u")
    return cluster


@pytest.mark.behaviour(49)
async def test_pod_replicaset_deployment_are_three_reads(web, enricher, signal):
    context = await enricher.enrich(signal("Pod", "web-7d-x"))
    assert chain(context) == [
        ("apps/v1", "ReplicaSet", "shop", "web-7d"),
        ("apps/v1", "Deployment", "shop", "web"),
    ]
    assert web.reads == ["pods shop/web-7d-x", "replicasets shop/web-7d", "deployments shop/web"]
    assert not context.degraded_mode


@pytest.mark.behaviour(50)
@pytest.mark.parametrize(("kind", "plural"), [("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets")])
async def test_the_controller_of_a_pod_is_one_entry(cluster, enricher, signal, kind, plural):
    cluster.add("pods", "db-0", "shop", owner=("apps/v1", kind, "db"))
    cluster.add(plural, "db", "shop")
    assert chain(await enricher.enrich(signal("Pod", "db-0"))) == [("apps/v1", kind, "shop", "db")]


@pytest.mark.behaviour(51)
async def test_pod_job_cronjob_are_two_entries(cluster, enricher, signal):
    cluster.add("pods", "j-1-x", "shop", owner=("batch/v1", "Job", "j-1"))
    cluster.add("jobs", "j-1", "shop", owner=("batch/v1", "CronJob", "j"))
    cluster.add("cronjobs", "j", "shop")
    found = chain(await enricher.enrich(signal("Pod", "j-1-x")))
    assert found == [("batch/v1", "Job", "shop", "j-1"), ("batch/v1", "CronJob", "shop", "j")]


@pytest.mark.behaviour(51)
async def test_a_job_that_may_not_be_read_ends_the_chain_at_the_job(cluster, enricher, signal, lacks):
    cluster.add("pods", "j-1-x", "shop", owner=("batch/v1", "Job", "j-1"))
    cluster.failing["jobs"] = ForbiddenReadError(verb="get", resource="jobs.batch", namespace="shop")
    assert chain(await enricher.enrich(signal("Pod", "j-1-x"))) == [("batch/v1", "Job", "shop", "j-1")]
    assert lacks == []


@pytest.mark.behaviour(52)
async def test_an_orphan_has_no_chain(cluster, enricher, signal):
    cluster.add("pods", "bare", "shop")
    assert chain(await enricher.enrich(signal("Pod", "bare"))) == []
    assert cluster.reads == ["pods shop/bare"]


@pytest.mark.behaviour(53)
async def test_a_replicaset_without_owner_is_the_end(web, enricher, signal):
    web.add("replicasets", "web-7d", "shop", uid="u")
    assert chain(await enricher.enrich(signal("Pod", "web-7d-x"))) == [("apps/v1", "ReplicaSet", "shop", "web-7d")]


@pytest.mark.behaviour(54)
@pytest.mark.parametrize("error", [TransientReadError("timed out"), EnrichmentError("400")])
async def test_a_failing_read_of_an_owner_keeps_what_is_known_of_it(web, enricher, signal, error):
    web.failing["deployments"] = error
    context = await enricher.enrich(signal("Pod", "web-7d-x"))
    assert [entry.kind for entry in context.owner_chain] == ["ReplicaSet", "Deployment"]
    assert not context.degraded_mode


@pytest.mark.behaviour(55)
async def test_the_end_of_the_time_keeps_what_is_known_of_the_owners(web, make_enricher, signal):
    web.failing["deployments"] = None
    context = await make_enricher(timeout=0.1).enrich(signal("Pod", "web-7d-x"))
    assert [entry.kind for entry in context.owner_chain] == ["ReplicaSet", "Deployment"]
    assert context.workload is not None


@pytest.mark.behaviour(56)
async def test_a_node_as_owner_is_in_no_namespace(cluster, enricher, signal):
    cluster.add("pods", "static", "shop", owner=("v1", "Node", "n1"))
    cluster.add("nodes", "n1")
    assert chain(await enricher.enrich(signal("Pod", "static"))) == [("v1", "Node", "", "n1")]


async def test_above_an_owner_without_namespace_there_is_none(cluster, enricher, signal):
    cluster.add("pods", "static", "shop", owner=("v1", "Node", "n1"))
    cluster.add("nodes", "n1", uid="u", owner=("cluster.x-k8s.io/v1beta1", "Machine", "m1"))
    found = chain(await enricher.enrich(signal("Pod", "static")))
    assert found == [("v1", "Node", "", "n1"), ("cluster.x-k8s.io/v1beta1", "Machine", "", "m1")]


@pytest.mark.behaviour(57)
async def test_owners_that_do_not_control_the_pod_are_not_in_the_chain(cluster, enricher, signal):
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d", "uid": "u"}
    cluster.add("pods", "web", "shop", ownerReferences=[reference, reference | {"controller": False}])
    context = await enricher.enrich(signal("Pod", "web"))
    assert context.owner_chain == []
    assert context.workload is not None


@pytest.mark.behaviour("W19")
async def test_an_owner_of_another_api_is_in_the_chain_and_not_looked_up_elsewhere(cluster, enricher, signal):
    cluster.add("pods", "canary", "shop", owner=("apps/v1", "ReplicaSet", "canary-1"))
    cluster.add("replicasets", "canary-1", "shop", uid="u", owner=("argoproj.io/v1alpha1", "Rollout", "canary"))
    cluster.add("pods", "vm", "shop", owner=("example.org/v1", "Deployment", "vm"))
    cluster.add("deployments", "vm", "shop", owner=("v1", "ConfigMap", "wrong"))
    assert chain(await enricher.enrich(signal("Pod", "canary")))[1:] == [
        ("argoproj.io/v1alpha1", "Rollout", "shop", "canary")
    ]
    assert chain(await enricher.enrich(signal("Pod", "vm"))) == [("example.org/v1", "Deployment", "shop", "vm")]
    assert len(cluster.reads) == 3


async def test_an_object_that_took_the_name_of_the_owner_is_not_followed(web, enricher, signal):
    web.add("replicasets", "web-7d", "shop", uid="another", owner=DEPLOYMENT)
    assert chain(await enricher.enrich(signal("Pod", "web-7d-x"))) == [("apps/v1", "ReplicaSet", "shop", "web-7d")]


async def test_the_chain_has_five_entries_at_most_and_the_last_is_not_read(cluster, enricher, signal):
    cluster.add("pods", "p", "shop", owner=("v1", "Pod", "p"))
    cluster.objects["pods", "shop", "p"].uid = "u"
    context = await enricher.enrich(signal("Pod", "p"))
    assert len(context.owner_chain) == 5
    assert len(cluster.reads) == 5


@pytest.mark.behaviour("W19")
async def test_the_api_version_is_told_on_the_wire(web, enricher, signal):
    wire = (await enricher.enrich(signal("Pod", "web-7d-x"))).to_wire()
    assert wire["ownerChain"][0] == {
        "namespace": "shop",
        "kind": "ReplicaSet",
        "name": "web-7d",
        "api_version": "apps/v1",
    }

"""All charts, installed by helm beside each other in one namespace of a control plane whose pods run.

Work, follow files, change the leader, check, upgrade, roll back, uninstall. The releases are used by the tests below,
one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kubernaut_policy.evaluator import MEMORY
from kubernaut_testing import eventually, stays
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.helm import HelmError
from kubernaut_testing.receivers import WebhookReceiver

from .installed import API_VERSION, Installed, NotificationInstalled, SignalProcessingInstalled, make_installed
from .services import CHARTED, Charted

pytestmark = pytest.mark.e2e

RBAC = "rbac.authorization.k8s.io/v1"
MEGABYTE = 2**20
TWO: dict[str, Any] = {"replicas": 2}


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def sites(cluster: Cluster, receiver: WebhookReceiver) -> dict[str, Installed]:
    """A release of each chart, two replicas each, with the first version of the followed file."""
    namespace = cluster.control_plane.create_namespace("charts-install")
    sites = [make_installed(service, cluster, namespace, receiver) for service in CHARTED]
    named = {site.service.name: site for site in sites}
    for_each(named, install_first)
    return named


def install_first(site: Installed) -> None:
    assert site.notes in site.install(TWO, site.FIRST)


def for_each(sites: dict[str, Installed], act: Callable[[Installed], None]) -> None:
    """Do it to all releases at the same time: most of it is waiting."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(act, sites.values()))


@pytest.fixture
def site(sites: dict[str, Installed], service: Charted) -> Installed:
    return sites[service.name]


def test_a_fresh_release_does_its_work(site: Installed) -> None:
    assert site.decided_by(site.done(site.create())) == "FIRST"


def test_what_notification_delivers_arrives(sites: dict[str, Installed]) -> None:
    site = sites["notification"]
    assert isinstance(site, NotificationInstalled)
    site.done(site.create("hello"))
    assert site.arrived("hello", "/first") == 1
    assert "hello" in site.log(site.holder())


def test_of_two_replicas_one_holds_the_lease_and_another_goes_on_when_it_dies(site: Installed) -> None:
    pods, leader = site.pods(), site.holder()
    assert len(pods) == 2
    assert leader in pods
    (standby,) = set(pods) - {leader}
    assert "became leader" not in site.log(standby)
    site.cluster.kubelet.kill(site.namespace, leader)
    name = site.create("after-the-leader")
    site.done(name)
    assert site.holder() == standby
    if isinstance(site, NotificationInstalled):
        assert site.arrived(name) == 1
    eventually(lambda: site.pods()[leader] == 1, message="the restart of the old leader")
    assert set(site.pods()) == set(pods)


def test_a_rotated_secret_is_used_without_a_restart(sites: dict[str, Installed]) -> None:
    site = sites["notification"]
    assert isinstance(site, NotificationInstalled)
    pods = site.pods()
    site.secret("team-slack", **{"webhook-url": f"{site.receiver.url}/second"})

    def used() -> bool:
        name = site.create()
        site.done(name)
        return site.arrived(name, "/second") == 1

    eventually(used, timeout=60, interval=0.5)
    assert site.pods() == pods


def test_a_changed_file_applies_without_a_restart(site: Installed) -> None:
    pods = site.pods()
    site.upgrade(TWO, site.SECOND)
    site.wait_decided_by("SECOND")
    assert site.pods() == pods


def test_the_hash_in_a_signals_status_is_that_of_the_policy_in_the_values(sites: dict[str, Installed]) -> None:
    site = sites["signalprocessing"]
    text = site.SECOND["policies"]["content"]
    status = site.done(site.create())
    assert status["signalClassification"]["policyHash"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_memory_limit_leaves_room_for_a_policy_that_takes_all_it_may(sites: dict[str, Installed]) -> None:
    """It must meet its own limit, which ends one process, before the container's, which ends the controller as well."""
    site = sites["signalprocessing"]
    deployment = site.cluster.api.get("apps/v1", "Deployment", site.namespace, site.service.controller)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    limit, request = (int(container["resources"][each]["memory"].removesuffix("Mi")) for each in ("limits", "requests"))
    resting = site.resident(site.holder()) / MEGABYTE
    assert resting + MEMORY / MEGABYTE < limit
    assert resting < request


def test_changed_mappings_of_signals_apply_without_a_restart(sites: dict[str, Installed]) -> None:
    site = sites["signalprocessing"]
    assert isinstance(site, SignalProcessingInstalled)
    assert site.done(site.create())["signalClassification"]["signalMode"] == "reactive"
    pods = site.pods()
    site.upgrade(
        TWO, site.SECOND, {"proactiveSignalMappings": {"content": "proactive_signal_mappings: {OOMKilled: OOM}"}}
    )

    def proactive() -> bool:
        found = site.done(site.create())["signalClassification"]
        return (found["signalMode"], found["signalName"]) == ("proactive", "OOM")

    eventually(proactive, timeout=60, interval=0.5)
    assert site.pods() == pods


def test_the_releases_own_test_sees_what_the_pods_see_and_they_keep_the_last_good_file(site: Installed) -> None:
    told = site.helm.test(site.release, namespace=site.namespace, logs=True)
    assert f"OK: /etc/{site.service.name}/config.yaml" in told
    assert f"# namespace   {site.namespace}" in told
    assert f"# watches     {site.service.crd} of the namespace" in told
    pods, before = site.pods(), site.decided_by(site.done(site.create()))
    site.upgrade(TWO, site.BROKEN)
    with pytest.raises(HelmError):
        site.helm.test(site.release, namespace=site.namespace)
    assert site.broken_words in site.log(f"{site.service.controller}-check")
    eventually(lambda: all(site.broken_words in site.log(pod) for pod in pods), timeout=60, message="the refusals")
    assert site.decided_by(site.done(site.create())) == before
    assert site.pods() == pods
    site.upgrade(TWO, site.SECOND)


def test_a_changed_config_rolls_the_pods_and_loses_nothing(sites: dict[str, Installed]) -> None:
    def rolls(site: Installed) -> None:
        before = set(site.pods())
        names = [site.create(f"rolling-{number}") for number in range(3)]
        site.upgrade(TWO, site.SECOND, {"controller": {"maxConcurrentReconciles": 3}})
        names += [site.create(f"rolled-{number}") for number in range(2)]
        for name in names:
            site.done(name)
        assert site.config()["controller"]["maxConcurrentReconciles"] == 3
        after = set(site.pods())
        assert len(after) == 2
        assert not after & before
        if isinstance(site, NotificationInstalled):
            assert [site.arrived(name) <= 1 for name in names] == [True] * len(names)
        eventually(lambda: site.holder() in after)

    for_each(sites, rolls)


def test_a_rollback_brings_the_values_of_before(sites: dict[str, Installed]) -> None:
    def goes_back(site: Installed) -> None:
        revision = site.helm.status(site.release, namespace=site.namespace)["version"]
        site.helm.rollback(site.release, namespace=site.namespace)
        state = site.helm.status(site.release, namespace=site.namespace)
        assert (state["version"], state["info"]["status"]) == (revision + 1, "deployed")
        assert site.config()["controller"]["maxConcurrentReconciles"] == 10
        assert site.decided_by(site.done(site.create("after-the-rollback"))) == "SECOND"

    for_each(sites, goes_back)


def test_a_rollout_stops_at_a_policy_that_new_pods_cannot_start_with(sites: dict[str, Installed]) -> None:
    site = sites["signalprocessing"]
    before = site.pods()
    site.upgrade(TWO, site.BROKEN, {"controller": {"maxConcurrentReconciles": 4}}, wait=False)

    def refused() -> bool:
        fresh = {pod: restarts for pod, restarts in site.pods().items() if pod not in before}
        return any(restarts and site.broken_words in site.log(pod) for pod, restarts in fresh.items())

    eventually(refused, timeout=60, message="the end of a pod that has the policy from the start")
    assert set(before) < set(site.pods())
    site.done(site.create("meanwhile"))
    assert site.holder() in before
    site.upgrade(TWO, site.SECOND)
    eventually(lambda: set(site.pods()) == set(before), timeout=60)


def test_a_second_release_in_another_namespace_minds_its_own_objects_and_files(
    site: Installed, receiver: WebhookReceiver
) -> None:
    namespace = site.cluster.control_plane.create_namespace(f"charts-second-{site.service.name}")
    other = make_installed(site.service, site.cluster, namespace, receiver, release="second")
    before = site.decided_by(site.done(site.create()))
    values = other.existing(site.FIRST, "ours")
    other.install(values, {"crds": {"install": False}, "controller": {"leaderElection": False}})
    assert other.decided_by(other.done(other.create())) == "FIRST"
    assert other.holder() == ""
    other.existing(site.SECOND, "ours")
    other.wait_decided_by("SECOND")
    assert site.decided_by(site.done(site.create())) == before
    other.helm.uninstall(other.release, namespace=other.namespace)


def test_the_charts_own_roles_were_enough_for_all_of_this(site: Installed) -> None:
    ledger = site.cluster.control_plane.ledger()
    ledger.settle()
    assert ledger.entries(user=site.account, verb="patch", subresource="status", namespace=site.namespace)
    assert ledger.entries(user=site.account, code=403) == []


def test_an_uninstalled_release_leaves_the_crd_and_the_objects(site: Installed) -> None:
    api, service = site.cluster.api, site.service
    crd = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, service.crd)
    objects = {item["metadata"]["name"] for item in api.list(API_VERSION, service.kind, site.namespace)}
    site.helm.uninstall(site.release, namespace=site.namespace)
    left = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, service.crd)
    assert left["metadata"]["uid"] == crd["metadata"]["uid"]
    assert {item["metadata"]["name"] for item in api.list(API_VERSION, service.kind, site.namespace)} == objects
    for kind, version in (("Deployment", "apps/v1"), ("Role", RBAC), ("ConfigMap", "v1")):
        names = [item["metadata"]["name"] for item in api.list(version, kind, site.namespace)]
        assert [name for name in names if name.startswith(service.name)] == [], kind
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        names = [item["metadata"]["name"] for item in api.list(RBAC, kind)]
        assert [name for name in names if service.controller in name] == []
    eventually(lambda: not api.list("v1", "Pod", site.namespace, selector=f"app={service.controller}"), timeout=60)
    site.create("too-late")
    stays(lambda: site.status("too-late"), seconds=1)

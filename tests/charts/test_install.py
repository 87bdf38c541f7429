"""The chart, installed by helm into a control plane whose pods run: deliver, upgrade, roll back, check, uninstall."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kubernaut_testing import eventually, stays
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.helm import HelmError
from kubernaut_testing.receivers import WebhookReceiver

from .installed import API_VERSION, KIND, NAME, Installed

pytestmark = pytest.mark.e2e

SLACK: dict[str, Any] = {"replicas": 2, "slack": {"secretName": "team-slack"}}
CONSOLE = {"routing": {"content": "route: {receiver: quiet}\nreceivers: [{name: quiet, consoleConfigs: [{}]}]\n"}}


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def site(cluster: Cluster, receiver: WebhookReceiver) -> Installed:
    """Two replicas that deliver to Slack; the tests below use it one after the other."""
    cluster.kubelet.images["kubernaut-notification"] = ["kubernaut-notification"]
    site = Installed(cluster, cluster.control_plane.create_namespace("charts-install"), receiver)
    site.secret("team-slack", **{"webhook-url": f"{receiver.url}/first"})
    notes = site.install(SLACK)
    assert "everything to Slack and the console" in notes
    return site


def test_a_fresh_release_delivers(site: Installed) -> None:
    status = site.sent(site.create("hello"))
    assert sorted(attempt["channel"] for attempt in status["deliveryAttempts"]) == [
        "console",
        "slack:slack-and-console",
    ]
    assert site.arrived("hello", "/first") == 1
    assert "hello" in site.log(site.holder())


def test_of_two_replicas_one_holds_the_lease_and_its_death_repeats_nothing(site: Installed) -> None:
    pods, leader = site.pods(), site.holder()
    assert len(pods) == 2
    assert leader in pods
    (standby,) = set(pods) - {leader}
    assert "became leader" not in site.log(standby)
    site.cluster.kubelet.kill(site.namespace, leader)
    name = site.create("after-the-leader")
    site.sent(name)
    assert site.holder() == standby
    assert site.arrived(name) == 1
    eventually(lambda: site.pods()[leader] == 1, message="the restart of the old leader")
    assert set(site.pods()) == set(pods)


def test_a_rotated_secret_is_used_without_a_restart(site: Installed) -> None:
    pods = site.pods()
    site.secret("team-slack", **{"webhook-url": f"{site.receiver.url}/second"})

    def used() -> bool:
        name = site.create()
        site.sent(name)
        return site.arrived(name, "/second") == 1

    eventually(used, timeout=20, interval=0.5)
    assert site.pods() == pods


def test_a_changed_routing_applies_without_a_restart(site: Installed) -> None:
    pods = site.pods()
    site.upgrade(SLACK, CONSOLE)

    def quiet() -> bool:
        return [attempt["channel"] for attempt in site.sent(site.create())["deliveryAttempts"]] == ["console"]

    eventually(quiet, timeout=20, interval=0.5)
    assert site.pods() == pods


def test_the_releases_own_test_sees_what_the_pods_see(site: Installed) -> None:
    assert "OK: /etc/notification/config.yaml" in site.helm.test(site.release, namespace=site.namespace, logs=True)
    pods = site.pods()
    broken = {"routing": {"content": "route: {receiver: gone}\nreceivers: [{name: quiet}]\n"}}
    site.upgrade(SLACK, broken)
    with pytest.raises(HelmError):
        site.helm.test(site.release, namespace=site.namespace)
    report = site.log(f"{NAME}-check")
    assert "cannot load routing file /etc/notification-routing/routing.yaml: route.receiver names 'gone'" in report
    # The pods go on with the routing that they had.
    site.sent(site.create())
    assert site.pods() == pods
    site.upgrade(SLACK, CONSOLE)


def test_a_changed_config_rolls_the_pods_and_loses_nothing(site: Installed) -> None:
    before = set(site.pods())
    names = [site.create(f"rolling-{number}") for number in range(3)]
    site.upgrade(SLACK, {"controller": {"maxConcurrentReconciles": 3}})
    names += [site.create(f"rolled-{number}") for number in range(2)]
    for name in names:
        site.sent(name)
    assert yaml.safe_load(site.config())["controller"]["maxConcurrentReconciles"] == 3
    after = set(site.pods())
    assert len(after) == 2
    assert not after & before
    assert [site.arrived(name) <= 1 for name in names] == [True] * len(names)
    assert [site.arrived(name) for name in names[3:]] == [1, 1]
    eventually(lambda: site.holder() in after)


def test_a_rollback_brings_the_values_of_before(site: Installed) -> None:
    revision = site.helm.status(site.release, namespace=site.namespace)["version"]
    site.helm.rollback(site.release, namespace=site.namespace)
    state = site.helm.status(site.release, namespace=site.namespace)
    assert (state["version"], state["info"]["status"]) == (revision + 1, "deployed")
    assert yaml.safe_load(site.config())["controller"]["maxConcurrentReconciles"] == 10
    status = site.sent(site.create("after-the-rollback"))
    assert [attempt["channel"] for attempt in status["deliveryAttempts"]] == ["console"]


def test_a_second_release_in_another_namespace_minds_its_own_objects(
    site: Installed, receiver: WebhookReceiver
) -> None:
    other = Installed(site.cluster, site.cluster.control_plane.create_namespace("charts-second"), receiver, "second")
    other.secret("pager", key=f"{receiver.url}/third\n")
    routing = "route: {receiver: r}\nreceivers: [{name: r, slackConfigs: [{credentialRef: hook}]}]\n"
    other.config_map("our-routing", {"routing.yaml": routing})
    values = {
        "crds": {"install": False},
        "controller": {"leaderElection": False},
        "routing": {"existingConfigMap": "our-routing"},
        "credentials": [{"name": "hook", "secretName": "pager", "secretKey": "key"}],
    }
    other.install(values)
    other.sent(other.create("second"))
    assert other.arrived("second", "/third") == 1
    assert other.holder() == ""
    site.sent(site.create("first-again"))
    other.config_map("our-routing", {"routing.yaml": routing.replace("slackConfigs: [{credentialRef: hook}]", "")})

    def quiet() -> bool:
        return [attempt["channel"] for attempt in other.sent(other.create())["deliveryAttempts"]] == ["console"]

    eventually(quiet, timeout=20, interval=0.5)
    other.helm.uninstall(other.release, namespace=other.namespace)


def test_the_charts_own_role_was_enough_for_all_of_this(site: Installed) -> None:
    ledger = site.cluster.control_plane.ledger()
    ledger.settle()
    user = f"system:serviceaccount:{site.namespace}:{NAME}"
    assert ledger.entries(user=user, verb="patch", subresource="status", namespace=site.namespace)
    assert ledger.entries(user=user, code=403) == []


def test_an_uninstalled_release_leaves_the_crd_and_the_objects(site: Installed) -> None:
    api = site.cluster.api
    crd = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "notificationrequests.kubernaut.ai")
    objects = {item["metadata"]["name"] for item in api.list(API_VERSION, KIND, site.namespace)}
    site.helm.uninstall(site.release, namespace=site.namespace)
    left = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "notificationrequests.kubernaut.ai")
    assert left["metadata"]["uid"] == crd["metadata"]["uid"]
    assert {item["metadata"]["name"] for item in api.list(API_VERSION, KIND, site.namespace)} == objects
    for kind, version in (("Deployment", "apps/v1"), ("Role", "rbac.authorization.k8s.io/v1"), ("ConfigMap", "v1")):
        names = [item["metadata"]["name"] for item in api.list(version, kind, site.namespace)]
        assert [name for name in names if name.startswith("notification")] == [], kind
    eventually(lambda: not api.list("v1", "Pod", site.namespace, selector=f"app={NAME}"), timeout=40)
    site.create("too-late")
    stays(lambda: site.status("too-late"), seconds=1)

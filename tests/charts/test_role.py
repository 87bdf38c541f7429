"""Each right of the chart's Role is needed: the API server refuses the operator as soon as one is missing.

One operator meets one Role after the other, each lacking some of the rights; what was refused is read from the API
server's audit log. At the end it has been refused for every pair of verb and resource, and then, with the whole Role,
it finishes what was waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kubernaut_testing import eventually
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.helm import Helm
from kubernaut_testing.receivers import Answer, WebhookReceiver

from .installed import API_VERSION, CHART, KIND, NAME, Installed

pytestmark = pytest.mark.e2e

Right = tuple[str, str]
"""A verb and a resource, with its subresource."""

ROUTING = """
route: {receiver: slack}
receivers: [{name: slack, slackConfigs: [{credentialRef: slack-webhook}]}]
"""
BROKEN = "route: {receiver: gone}\nreceivers: [{name: slack}]\n"


def rights(rules: list[dict[str, Any]]) -> set[Right]:
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def without(rules: list[dict[str, Any]], missing: set[Right]) -> list[dict[str, Any]]:
    """Rules with one right each, `missing` left out."""
    return [
        {**rule, "resources": [resource], "verbs": [verb]}
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if (verb, resource) not in missing
    ]


class Trial:
    """An operator whose Role is changed under it. `refused` are the rights for which it was refused so far."""

    def __init__(self, site: Installed) -> None:
        self.site = site
        (role,) = [item for item in Helm().template("n", CHART) if item["kind"] == "Role"]
        self.rules = role["rules"]
        self.refused: set[Right] = set()
        self._ledger = site.cluster.control_plane.ledger().fresh()

    def grant_all_but(self, *missing: Right) -> None:
        """Give the operator its Role without these rights."""
        assert set(missing) <= rights(self.rules)
        self.site.cluster.control_plane.service_account(
            self.site.namespace, NAME, rules=without(self.rules, set(missing))
        )

    def wait_refused(self, *expected: Right) -> None:
        """Wait until the operator was refused for these rights."""

        def seen() -> bool:
            self._ledger.settle()
            user = f"system:serviceaccount:{self.site.namespace}:{NAME}"
            for entry in self._ledger.entries(user=user, code=403):
                self.refused.add((entry.verb, "/".join(filter(None, (entry.resource, entry.subresource)))))
            return set(expected) <= self.refused

        eventually(seen, timeout=40, interval=0.2, message=lambda: f"refusals for {set(expected) - self.refused}")


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture
def site(cluster: Cluster, cluster_namespace: str, receiver: WebhookReceiver) -> Iterator[Installed]:
    cluster.kubelet.images["kubernaut-notification"] = ["kubernaut-notification"]
    site = Installed(cluster, cluster_namespace, receiver)
    yield site
    site.helm.uninstall(site.release, namespace=site.namespace)


def test_every_right_of_the_role_is_needed(site: Installed, receiver: WebhookReceiver) -> None:
    nr, status, leases = "notificationrequests", "notificationrequests/status", "leases"
    trial = Trial(site)
    receiver.default = Answer(delay=1.0)
    site.secret("team-slack", **{"webhook-url": f"{receiver.url}/slack"})
    site.config_map("routing", {"routing.yaml": ROUTING})
    trial.grant_all_but(("list", nr))
    values = {
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": NAME},
        "slack": {"secretName": "team-slack"},
        "routing": {"existingConfigMap": "routing"},
    }
    site.install(values, wait=False)
    trial.wait_refused(("list", nr))

    # CRDs come with the release, so the first notification does too; the watch below never tells of changes to it.
    waiting = site.create("waiting")
    trial.grant_all_but(("watch", nr), ("get", leases))
    trial.wait_refused(("watch", nr), ("get", leases))

    trial.grant_all_but(("watch", nr), ("create", leases))
    trial.wait_refused(("create", leases))

    trial.grant_all_but(("watch", nr), ("patch", status), ("create", "events"))
    trial.wait_refused(("patch", status), ("create", "events"))

    # A change that the operator does not hear of: its write conflicts, and it reads the object again.
    site.cluster.api.patch(API_VERSION, KIND, site.namespace, waiting, {"metadata": {"labels": {"changed": "1"}}})
    trial.grant_all_but(("watch", nr), ("get", nr))
    trial.wait_refused(("get", nr))

    # The same Event again is a PATCH of the first: a file that is refused twice for the same reason.
    trial.grant_all_but(("patch", "events"))
    for number in range(2):
        site.config_map("routing", {"routing.yaml": f"# {number}\n{BROKEN}"})
        eventually(lambda number=number: reloads_failed(site) > number, timeout=20)
    trial.wait_refused(("patch", "events"))

    trial.grant_all_but(("update", leases))
    trial.wait_refused(("update", leases))

    assert trial.refused == rights(trial.rules)
    trial.grant_all_but()
    site.sent(waiting)
    assert receiver.to("/slack")


def reloads_failed(site: Installed) -> int:
    """How often a pod told that a file was refused."""
    return sum(site.log(pod).count("names 'gone'") for pod in site.pods())

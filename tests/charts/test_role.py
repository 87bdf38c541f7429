"""Each right of a chart's roles is needed: the API server refuses the operator as soon as one is missing.

One operator meets one set of rights after the other, each lacking some; what was refused is read from the API server's
audit log. At the end it has been refused for every pair of verb and resource, and then, with all of them, it works.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scenarios.signalprocessing import signal_processing
from scenarios.workloads import POD, create_object

from kubernaut_testing import eventually
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.receivers import Answer, WebhookReceiver

from .installed import API_VERSION, Installed, NotificationInstalled, make_installed
from .services import NOTIFICATION, Charted
from .trial import Right, Trial

pytestmark = pytest.mark.e2e

EVENTS, LEASES = "events", "leases"
JOB = {"template": {"spec": {**POD, "restartPolicy": "Never"}}}
"""The spec of a Job; its pod waits for an image that does not exist."""


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture
def site(service: Charted, cluster: Cluster, cluster_namespace: str, receiver: WebhookReceiver) -> Iterator[Installed]:
    site = make_installed(service, cluster, cluster_namespace, receiver)
    yield site
    site.helm.uninstall(site.release, namespace=site.namespace)


def test_every_right_of_the_roles_is_needed(service: Charted, site: Installed, receiver: WebhookReceiver) -> None:
    objects, status = service.plural, f"{service.plural}/status"
    # What the operator also watches, it watches in the whole cluster.
    watched = [resource for resource in ("namespaces",) if service.cluster_role]
    trial = Trial(site)
    receiver.default = Answer(delay=1.0)
    trial.grant_all_but(*(("list", resource) for resource in (objects, *watched)))
    trial.install(site.existing(site.FIRST, "ours"))
    trial.wait_refused(*(("list", resource) for resource in (objects, *watched)))

    # CRDs come with the release, so the first object does too; the watch below never tells of changes to it.
    waiting = site.create("waiting")
    trial.without_rights(("watch", objects), *(("watch", resource) for resource in watched), ("get", LEASES))
    trial.without_rights(("watch", objects), ("create", LEASES))
    if service is NOTIFICATION:
        trial.without_rights(("watch", objects), ("patch", status), ("create", EVENTS))
    else:
        trial.without_rights(("watch", objects), ("patch", status))

    # A change that the operator does not hear of: its write conflicts, and it reads the object again.
    site.cluster.api.patch(API_VERSION, service.kind, site.namespace, waiting, {"metadata": {"labels": {"a": "1"}}})
    trial.grant_all_but(("watch", objects), ("get", objects))
    trial.wait_refused(("get", objects))

    if service is not NOTIFICATION:
        trial.grant_all_but()
        site.done(waiting)
        look_at_targets(trial)

    # The same Event again is a PATCH of the first: a file that is refused twice for the same reason.
    trial.grant_all_but(("patch", EVENTS))
    for number in range(2):
        site.existing(broken(site, number), "ours")
        eventually(lambda number=number: site.logs().count(site.broken_words) > number, timeout=60)
    trial.wait_refused(("patch", EVENTS))

    trial.without_rights(("update", LEASES))

    assert trial.refused == trial.rights
    trial.grant_all_but()
    site.done(waiting)
    site.done(site.create("last"))
    if isinstance(site, NotificationInstalled):
        assert receiver.to("/first")


def broken(site: Installed, number: int) -> dict[str, Any]:
    """Values with a followed file that cannot be used, another text each time and wrong in the same place."""
    (section,) = set(site.BROKEN) - {"slack"}
    text = site.BROKEN[section]["content"]
    return {**site.BROKEN, section: {"content": f"{text}# {number}\n"}}


def look_at_targets(trial: Trial) -> None:
    """Signals about targets of every kind, while none of them may be read."""
    site = trial.site
    plane, namespace = site.cluster.control_plane, site.namespace
    kinds = ("Node", "Service", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
    forbidden: list[Right] = [("get", f"{kind.lower()}s") for kind in kinds]
    night = {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": JOB}}
    nightly = create_object(plane, "batch/v1", "CronJob", namespace, "nightly", spec=night)
    create_object(plane, "batch/v1", "Job", namespace, "tonight", spec=JOB, owner=nightly)
    (pod,) = eventually(lambda: plane.api.list("v1", "Pod", namespace, selector="job-name=tonight"))
    of_the_job = pod["metadata"]["name"]

    def signal(name: str, kind: str, target: str, **where: str) -> None:
        resource = {"kind": kind, "name": target, "namespace": namespace} | where
        site.cluster.api.create(signal_processing(namespace, name, targetResource=resource))

    trial.grant_all_but(("create", EVENTS), ("get", "namespaces"), ("get", "jobs"), *forbidden)
    for kind in kinds:
        signal(f"about-{kind.lower()}", kind, "any")
    signal("about-nowhere", "Pod", "any", namespace="nowhere")
    signal("about-a-pod-of-a-job", "Pod", of_the_job)
    trial.wait_refused(("create", EVENTS), ("get", "namespaces"), ("get", "jobs"), *forbidden)

    trial.grant_all_but(("get", "cronjobs"))
    signal("about-a-pod-of-a-cronjob", "Pod", of_the_job)
    trial.wait_refused(("get", "cronjobs"))

    trial.grant_all_but(("get", "pods"))
    signal("about-a-pod", "Pod", "any")
    trial.wait_refused(("get", "pods"))

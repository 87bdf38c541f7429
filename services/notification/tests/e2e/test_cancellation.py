"""To delete a notification is to cancel it: the admission webhook for deletions is asked, and nobody else decides.

The webhook is another service, which also tells audit. A stand-in takes its place, under the name, path and rules that
clusters have; it shows what that service relies on: it is asked with who deletes and what, and this controller neither
holds up a deletion nor goes on with what was deleted.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from scenarios.notification import API_VERSION, KIND, PLURAL, PROGRAM, NotificationSite

from kubernaut_api import NOTIFICATION_REQUEST
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import Answer, Received, WebhookReceiver
from kubernaut_testing.rest import AdminClient, ApiError
from kubernaut_testing.waiting import eventually, stays

pytestmark = pytest.mark.e2e

PATH = "/validate-notificationrequest-delete"
WEBHOOKS = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")


def verdict(allowed: bool) -> Any:
    """An answer to an admission review."""

    def answer(request: Received) -> Answer:
        response: dict[str, Any] = {"uid": request.json["request"]["uid"], "allowed": allowed}
        if not allowed:
            response["status"] = {"message": "audit store unavailable"}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return Answer(200, json.dumps(review), headers={"Content-Type": "application/json"})

    return answer


@pytest.fixture
def deletions(control_plane: ControlPlane, namespace: str) -> Iterator[WebhookReceiver]:
    """The admission webhook for deletions in this namespace; it allows them."""
    with WebhookReceiver(verdict(True), https=True) as receiver:
        assert receiver.ca_file is not None
        authority = base64.b64encode(receiver.ca_file.read_bytes()).decode()
        rule = {"apiGroups": ["kubernaut.ai"], "apiVersions": ["v1alpha1"], "resources": [PLURAL]}
        webhook = {
            "name": "notificationrequest.validate.kubernaut.ai",
            "clientConfig": {"url": f"{receiver.url}{PATH}", "caBundle": authority},
            "rules": [{**rule, "operations": ["DELETE"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"],
        }
        manifest = {"apiVersion": WEBHOOKS[0], "kind": WEBHOOKS[1], "metadata": {"name": namespace}}
        control_plane.api.create({**manifest, "webhooks": [webhook]})
        try:
            yield receiver
        finally:
            control_plane.api.delete(*WEBHOOKS, None, namespace)


@pytest.fixture
def sre(control_plane: ControlPlane, namespace: str) -> AdminClient:
    """Somebody who may delete notifications, and nothing else."""
    rules = [{"apiGroups": ["kubernaut.ai"], "resources": [PLURAL], "verbs": ["delete"]}]
    control_plane.service_account(namespace, "sre", rules=rules)
    return AdminClient(control_plane.url, control_plane.token(namespace, "sre"), control_plane.ca_file)


@pytest.mark.behaviour(14, 87)
def test_a_deletion_is_decided_by_the_webhook_which_learns_who_and_what_and_ends_all_work(
    site: NotificationSite, deletions: WebhookReceiver, sre: AdminClient, ledger: RequestLedger
) -> None:
    path = f"{NOTIFICATION_REQUEST.collection_path(site.namespace)}/cancelled"
    site.receiver.default = 503
    policy = {"maxAttempts": 3, "initialBackoffSeconds": 2, "backoffMultiplier": 2}
    created = site.create("cancelled", "slack", type="Approval", priority="High", retryPolicy=policy)
    eventually(lambda: site.status("cancelled").get("totalAttempts") == 1)

    def asked() -> bool:
        site.control_plane.api.request("DELETE", f"{path}?{urllib.parse.urlencode({'dryRun': 'All'})}")
        return bool(deletions.requests)

    eventually(asked, message="the webhook to be in force")
    deletions.default = verdict(False)
    with pytest.raises(ApiError, match="audit store unavailable"):
        sre.request("DELETE", path)
    before = len(deletions.requests)
    eventually(lambda: site.status("cancelled").get("totalAttempts") == 2)

    deletions.default = verdict(True)
    sre.request("DELETE", path)
    (review,) = deletions.requests[before:]
    asked_about = review.json["request"]
    assert (review.path, asked_about["operation"]) == (PATH, "DELETE")
    assert asked_about["userInfo"]["username"] == f"system:serviceaccount:{site.namespace}:sre"
    old = asked_about["oldObject"]
    assert old["metadata"]["uid"] == created["metadata"]["uid"]
    assert (old["spec"]["type"], old["spec"]["priority"]) == ("Approval", "High")
    assert "finalizers" not in old["metadata"], "nothing of ours holds up a deletion"
    with pytest.raises(ApiError, match="404"):
        site.control_plane.api.get(API_VERSION, KIND, site.namespace, "cancelled")

    end = ledger.mark()
    stays(lambda: len(site.receiver.to("/slack")), seconds=5)
    assert len(site.receiver.to("/slack")) == 2, "the attempt that was scheduled is not made"
    ledger.assert_requests(site.ref("cancelled"), {}, user_agent=PROGRAM, since=end, only=True)

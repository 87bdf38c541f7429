"""The CRD on a real API server: what it takes, what it refuses and with which words, what it fills in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from kubernaut_api import NOTIFICATION_REQUEST, NotificationRequest, load_crd
from kubernaut_testing.binaries import find
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.rest import ApiError

API, KIND = NOTIFICATION_REQUEST.api_version, NOTIFICATION_REQUEST.kind
Create = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    control_plane.apply(load_crd("notificationrequests"))
    return control_plane


@pytest.fixture
def create(cluster: ControlPlane, namespace: str) -> Create:
    """Return a function that creates a notification: keywords are spec fields, None leaves one out."""

    def make(name: str = "nr", **fields: Any) -> dict[str, Any]:
        spec = {"type": "Simple", "priority": "Low", "subject": "s", "body": "b"} | fields
        return cluster.api.create(
            {
                "apiVersion": API,
                "kind": KIND,
                "metadata": {"name": name, "namespace": namespace},
                "spec": {key: value for key, value in spec.items() if value is not None},
            }
        )

    return make


def set_status(cluster: ControlPlane, namespace: str, status: dict[str, Any], name: str = "nr") -> dict[str, Any]:
    stored = cluster.api.patch(API, KIND, namespace, name, {"status": status}, subresource="status")
    found: dict[str, Any] = stored["status"]
    return found


def test_the_crd_is_accepted_without_complaint(cluster: ControlPlane) -> None:
    crd = cluster.api.get(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "notificationrequests.kubernaut.ai"
    )
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions.get("Established") == "True"
    assert conditions.get("NamesAccepted") == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


def test_the_api_server_stores_the_schema_as_it_is_committed(cluster: ControlPlane) -> None:
    """Nothing is normalised away: what users read in the file is what is enforced."""
    crd = cluster.api.get(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "notificationrequests.kubernaut.ai"
    )
    assert crd["spec"]["versions"][0]["schema"] == load_crd("notificationrequests")["spec"]["versions"][0]["schema"]


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.behaviour(16, 17, 21, service="notification")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"subject": "x" * 501}, "spec.subject: Too long"),
        ({"subject": ""}, "spec.subject"),
        ({"body": ""}, "spec.body"),
        ({"priority": "Urgent"}, 'spec.priority: Unsupported value: "Urgent"'),
        ({"type": "escalation"}, "spec.type: Unsupported value"),
        ({"type": None}, "spec.type: Required value"),
        ({"subject": None}, "spec.subject: Required value"),
        ({"body": None}, "spec.body: Required value"),
        ({"reviewSource": "ai-analysis"}, "spec.reviewSource: Unsupported value"),
        ({"retryPolicy": {"maxAttempts": 11}}, "spec.retryPolicy.maxAttempts"),
        ({"retryPolicy": {"maxAttempts": 0}}, "spec.retryPolicy.maxAttempts"),
        ({"retryPolicy": {"initialBackoffSeconds": 301}}, "spec.retryPolicy.initialBackoffSeconds"),
        ({"retryPolicy": {"backoffMultiplier": 11}}, "spec.retryPolicy.backoffMultiplier"),
        ({"retryPolicy": {"maxBackoffSeconds": 59}}, "spec.retryPolicy.maxBackoffSeconds"),
        ({"retentionDays": 91}, "spec.retentionDays"),
        ({"actionLinks": [{"service": "g", "url": "u"}]}, "spec.actionLinks[0].label: Required value"),
        ({"context": {"verification": {}}}, "spec.context.verification.assessed: Required value"),
        ({"extensions": {"a": 1}}, "spec.extensions.a"),
    ],
)
def test_an_invalid_spec_is_refused_with_the_fields_name(create: Create, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError) as caught:
        create(**fields)
    assert caught.value.status == 422
    assert words in str(caught.value)


@pytest.mark.behaviour(18, service="notification")
@pytest.mark.parametrize("change", [{"subject": "other"}, {"body": "other"}, {"extensions": {"a": "b"}}])
def test_the_spec_cannot_be_changed(
    cluster: ControlPlane, namespace: str, create: Create, change: dict[str, Any]
) -> None:
    before = create()
    with pytest.raises(ApiError, match=r"spec is immutable after creation \(DD-NOT-005\)"):
        cluster.api.patch(API, KIND, namespace, "nr", {"spec": change})
    assert cluster.api.get(API, KIND, namespace, "nr")["spec"] == before["spec"]


@pytest.mark.behaviour(19, service="notification")
@pytest.mark.parametrize("name", ["Upper", "under_score", "-leading", "trailing-", "blank space", "n" * 254])
def test_a_name_that_is_no_dns_name_is_refused(create: Create, name: str) -> None:
    with pytest.raises(ApiError) as caught:
        create(name)
    assert caught.value.status == 422
    assert "metadata.name: Invalid value" in str(caught.value)


def test_metadata_can_be_changed(cluster: ControlPlane, namespace: str, create: Create) -> None:
    create()
    changed = cluster.api.patch(API, KIND, namespace, "nr", {"metadata": {"labels": {"a": "b"}}})
    assert changed["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Done"}, "status.phase: Unsupported value"),
        ({"deliveryAttempts": [{"channel": "a", "attempt": 1, "status": "success"}]}, "timestamp: Required value"),
        (
            {"deliveryAttempts": [{"channel": "a", "attempt": 1, "status": "ok", "timestamp": "2026-03-01T10:00:00Z"}]},
            "status.deliveryAttempts[0].status: Unsupported value",
        ),
        ({"queuedAt": "yesterday"}, "status.queuedAt"),
        (
            {
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "Yes",
                        "reason": "R",
                        "message": "",
                        "lastTransitionTime": "2026-03-01T10:00:00Z",
                    }
                ]
            },
            "status.conditions[0].status: Unsupported value",
        ),
    ],
)
def test_an_invalid_status_is_refused_with_the_fields_name(
    cluster: ControlPlane, namespace: str, create: Create, status: dict[str, Any], words: str
) -> None:
    create()
    with pytest.raises(ApiError) as caught:
        set_status(cluster, namespace, status)
    assert words in str(caught.value)


# --- what is taken ----------------------------------------------------------------------------------------------


@pytest.mark.behaviour(16, 19, service="notification")
def test_the_longest_subject_and_the_longest_name_are_accepted(create: Create) -> None:
    assert create("n" * 63, subject="é" * 500)["spec"]["subject"] == "é" * 500


@pytest.mark.behaviour(20, service="notification")
def test_unicode_and_long_bodies_survive(create: Create) -> None:
    body = "🚨 Überlast – 重大\n" * 2000
    assert create(body=body)["spec"]["body"] == body


ENUMS = {
    "type": ["Escalation", "Simple", "StatusUpdate", "Approval", "ManualReview", "Completion"],
    "priority": ["Critical", "High", "Medium", "Low"],
    "reviewSource": ["AIAnalysis", "WorkflowExecution", "RoutingEngine"],
}


@pytest.mark.behaviour(10, 21, service="notification")
@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in ENUMS.items() for value in values])
def test_every_word_of_an_enum_is_stored_as_it_is_written(create: Create, field: str, value: str) -> None:
    assert create(**{field: value})["spec"][field] == value


@pytest.mark.parametrize(
    "policy",
    [
        {"maxAttempts": 1, "initialBackoffSeconds": 1, "backoffMultiplier": 1, "maxBackoffSeconds": 60},
        {"maxAttempts": 10, "initialBackoffSeconds": 300, "backoffMultiplier": 10, "maxBackoffSeconds": 3600},
    ],
)
def test_both_ends_of_each_range_are_accepted(create: Create, policy: dict[str, int]) -> None:
    assert create(retryPolicy=policy)["spec"]["retryPolicy"] == policy


def test_an_object_without_a_spec_is_legal(cluster: ControlPlane, namespace: str) -> None:
    stored = cluster.api.create({"apiVersion": API, "kind": KIND, "metadata": {"name": "bare", "namespace": namespace}})
    assert "spec" not in stored
    assert NotificationRequest.model_validate(stored).spec.subject == ""


@pytest.mark.behaviour(22, service="notification")
def test_an_empty_retry_policy_is_filled_in(create: Create) -> None:
    assert create(retryPolicy={})["spec"]["retryPolicy"] == {
        "maxAttempts": 5,
        "initialBackoffSeconds": 30,
        "backoffMultiplier": 2,
        "maxBackoffSeconds": 480,
    }


def test_an_absent_retry_policy_stays_absent_and_the_other_defaults_are_filled_in(create: Create) -> None:
    spec = create(priority=None)["spec"]
    assert "retryPolicy" not in spec
    assert (spec["priority"], spec["retentionDays"]) == ("Medium", 7)


FULL_SPEC: dict[str, Any] = {
    "type": "ManualReview",
    "priority": "Critical",
    "remediationRequestRef": {
        "apiVersion": API,
        "kind": "RemediationRequest",
        "name": "rr",
        "namespace": "ns",
        "uid": "u",
        "resourceVersion": "1",
        "fieldPath": "spec",
    },
    "clusterID": "east",
    "severity": "critical",
    "phase": "Analyzing",
    "reviewSource": "AIAnalysis",
    "extensions": {"environment": "prod"},
    "actionLinks": [{"service": "grafana", "url": "https://g", "label": "board"}],
    "retryPolicy": {
        "maxAttempts": 1,
        "initialBackoffSeconds": 1,
        "backoffMultiplier": 1,
        "maxBackoffSeconds": 60,
    },
    "retentionDays": 90,
    "context": {
        "lineage": {"remediationRequest": "a", "aiAnalysis": "b"},
        "workflow": {
            "selectedWorkflow": "a",
            "confidence": "0.9",
            "workflowId": "b",
            "workflowName": "c",
            "actionType": "d",
            "executionEngine": "job",
        },
        "analysis": {"approvalReason": "a", "rootCause": "b", "outcome": "c"},
        "review": {
            "reason": "a",
            "subReason": "b",
            "humanReviewReason": "c",
            "rootCauseAnalysis": "d",
            "alignmentVerdict": "e",
            "circuitBreakerActivated": True,
        },
        "execution": {
            "retryCount": "1",
            "maxRetries": "2",
            "lastExitCode": "137",
            "previousExecution": "a",
            "timeoutPhase": "b",
            "phaseTimeout": "5m",
        },
        "dedup": {"duplicateCount": "3"},
        "target": {"targetResource": "Pod/a"},
        "verification": {
            "assessed": True,
            "outcome": "passed",
            "reason": "a",
            "summary": "b",
            "degraded": True,
            "degradedReason": "c",
        },
    },
}

FULL_STATUS: dict[str, Any] = {
    "phase": "Retrying",
    "reason": "PartialFailureRetrying",
    "message": "Delivered to 1/2 channel(s), retrying failed channels with backoff 30s",
    "observedGeneration": 1,
    "totalAttempts": 2,
    "successfulDeliveries": 1,
    "failedDeliveries": 1,
    "queuedAt": "2026-03-01T10:00:00Z",
    "processingStartedAt": "2026-03-01T10:00:00.123456Z",
    "completionTime": "2026-03-01T10:00:02.5Z",
    "deliveryAttempts": [
        {"channel": "console", "attempt": 1, "timestamp": "2026-03-01T10:00:01Z", "status": "success"},
        {
            "channel": "slack:sre-critical",
            "attempt": 1,
            "timestamp": "2026-03-01T10:00:01.999999Z",
            "status": "failed",
            "error": "slack webhook returned 503 (retryable): busy",
            "durationSeconds": 0.125,
        },
    ],
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": "RetryScheduled",
            "message": "slack:sre-critical#2 2026-03-01T10:00:31.250000Z",
            "lastTransitionTime": "2026-03-01T10:00:01Z",
            "observedGeneration": 1,
        }
        for kind in ("RoutingResolved", "Ready", "Delivering", "Reconciling", "Stalled")
    ],
}


def test_nothing_of_a_full_spec_is_pruned(create: Create) -> None:
    stored = create(**FULL_SPEC)
    assert {key: stored["spec"][key] for key in FULL_SPEC} == FULL_SPEC
    assert NotificationRequest.model_validate(stored).to_wire() == stored


def test_nothing_of_a_full_status_is_pruned_and_sub_second_times_are_kept(
    cluster: ControlPlane, namespace: str, create: Create
) -> None:
    create()
    assert set_status(cluster, namespace, FULL_STATUS) == FULL_STATUS


@pytest.mark.parametrize("phase", ["Pending", "Sending", "Retrying", "Sent", "PartiallySent", "Failed"])
def test_every_phase_can_be_stored(cluster: ControlPlane, namespace: str, create: Create, phase: str) -> None:
    create()
    assert set_status(cluster, namespace, {"phase": phase})["phase"] == phase


def test_the_longest_condition_message_is_counted_in_code_points(
    cluster: ControlPlane, namespace: str, create: Create
) -> None:
    create()
    condition = FULL_STATUS["conditions"][0]
    stored = set_status(cluster, namespace, {"conditions": [condition | {"message": "🚨" * 32768}]})
    assert len(stored["conditions"][0]["message"]) == 32768
    with pytest.raises(ApiError, match="Too long"):
        set_status(cluster, namespace, {"conditions": [condition | {"message": "🚨" * 32769}]})


def test_a_status_write_leaves_the_spec_alone(cluster: ControlPlane, namespace: str, create: Create) -> None:
    """The immutability rule runs on status updates too, and must not fire."""
    before = create()
    set_status(cluster, namespace, {"phase": "Pending"})
    after = cluster.api.get(API, KIND, namespace, "nr")
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], 1)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("spec.type=Approval", ["a"]),
        ("spec.severity=critical", ["b"]),
        ("spec.remediationRequestRef.name=rr-1", ["a", "b"]),
    ],
)
def test_three_fields_can_be_selected(
    cluster: ControlPlane, namespace: str, create: Create, selector: str, expected: list[str]
) -> None:
    create("a", type="Approval", remediationRequestRef={"name": "rr-1"})
    create("b", severity="critical", remediationRequestRef={"name": "rr-1"})
    create("c")
    path = NOTIFICATION_REQUEST.collection_path(namespace)
    found = cluster.api.request("GET", f"{path}?fieldSelector={selector.replace('=', '%3D')}")
    assert [item["metadata"]["name"] for item in found["items"]] == expected


@pytest.mark.parametrize("word", ["notif", "notifs", "notificationrequest", "notificationrequests"])
def test_kubectl_shows_the_columns_under_every_name(
    cluster: ControlPlane, namespace: str, create: Create, word: str
) -> None:
    create(type="Approval", priority="High")
    set_status(cluster, namespace, {"phase": "Sent", "totalAttempts": 3})
    header, row = kubectl(cluster, "get", word, "-n", namespace).splitlines()
    assert header.split() == ["NAME", "TYPE", "PRIORITY", "PHASE", "ATTEMPTS", "AGE"]
    assert row.split()[:5] == ["nr", "Approval", "High", "Sent", "3"]


def test_kubectl_shows_the_reason_of_ready_when_wide(cluster: ControlPlane, namespace: str, create: Create) -> None:
    create()
    set_status(cluster, namespace, {"phase": "Sent", "conditions": FULL_STATUS["conditions"]})
    header, row = kubectl(cluster, "get", "notif", "-o", "wide", "-n", namespace).splitlines()
    assert "REASON" in header.split()
    assert "RetryScheduled" in row.split()


def test_kubectl_explains_the_fields(cluster: ControlPlane) -> None:
    text = kubectl(cluster, "explain", "notif.spec.retryPolicy.maxAttempts")
    assert "Attempts per channel, the first one included." in text


def kubectl(cluster: ControlPlane, *arguments: str) -> str:
    command = [str(find("kubectl")), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

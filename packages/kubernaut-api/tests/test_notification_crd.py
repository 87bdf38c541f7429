"""The generated CRD of NotificationRequest, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubernaut_api.crds import load_crd

Bare = Callable[[Any], Any]


@pytest.fixture(scope="module")
def crd() -> dict[str, Any]:
    return load_crd("notificationrequests")


@pytest.fixture(scope="module")
def version(crd: dict[str, Any]) -> dict[str, Any]:
    return crd["spec"]["versions"][0]


@pytest.fixture(scope="module")
def root(version: dict[str, Any]) -> dict[str, Any]:
    return version["schema"]["openAPIV3Schema"]


@pytest.fixture(scope="module")
def spec(root: dict[str, Any]) -> dict[str, Any]:
    return root["properties"]["spec"]


@pytest.fixture(scope="module")
def status(root: dict[str, Any]) -> dict[str, Any]:
    return root["properties"]["status"]


def test_the_names_are_those_of_the_live_crd_without_categories(crd: dict[str, Any]) -> None:
    assert crd["spec"]["group"] == "kubernaut.ai"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"] == {
        "kind": "NotificationRequest",
        "listKind": "NotificationRequestList",
        "plural": "notificationrequests",
        "singular": "notificationrequest",
        "shortNames": ["notif", "notifs"],
    }


def test_the_printer_columns_are_those_of_the_live_crd(version: dict[str, Any]) -> None:
    columns = [(c["name"], c["type"], c["jsonPath"], c.get("priority", 0)) for c in version["additionalPrinterColumns"]]
    assert columns == [
        ("Type", "string", ".spec.type", 0),
        ("Priority", "string", ".spec.priority", 0),
        ("Phase", "string", ".status.phase", 0),
        ("Attempts", "integer", ".status.totalAttempts", 0),
        ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ]


def test_three_spec_fields_are_selectable(version: dict[str, Any]) -> None:
    assert version["selectableFields"] == [
        {"jsonPath": ".spec.remediationRequestRef.name"},
        {"jsonPath": ".spec.type"},
        {"jsonPath": ".spec.severity"},
    ]


def test_the_spec_is_immutable_by_one_cel_rule(spec: dict[str, Any]) -> None:
    assert spec["x-kubernetes-validations"] == [
        {"message": "spec is immutable after creation (DD-NOT-005)", "rule": "self == oldSelf"}
    ]


def test_the_spec_requires_what_a_message_needs(spec: dict[str, Any]) -> None:
    assert spec["required"] == ["body", "priority", "subject", "type"]


SPEC_FIELDS: dict[str, dict[str, Any]] = {
    "type": {
        "type": "string",
        "enum": ["Escalation", "Simple", "StatusUpdate", "Approval", "ManualReview", "Completion"],
    },
    "priority": {"type": "string", "enum": ["Critical", "High", "Medium", "Low"], "default": "Medium"},
    "subject": {"type": "string", "minLength": 1, "maxLength": 500},
    "body": {"type": "string", "minLength": 1},
    "clusterID": {"type": "string"},
    "severity": {"type": "string"},
    "phase": {"type": "string"},
    "reviewSource": {"type": "string", "enum": ["AIAnalysis", "WorkflowExecution", "RoutingEngine"]},
    "extensions": {"type": "object", "additionalProperties": {"type": "string"}},
    "retentionDays": {"type": "integer", "minimum": 1, "maximum": 90, "default": 7},
    "actionLinks": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["label", "service", "url"],
            "properties": {"service": {"type": "string"}, "url": {"type": "string"}, "label": {"type": "string"}},
        },
    },
    "retryPolicy": {
        "type": "object",
        "properties": {
            "maxAttempts": {"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
            "initialBackoffSeconds": {"type": "integer", "minimum": 1, "maximum": 300, "default": 30},
            "backoffMultiplier": {"type": "integer", "minimum": 1, "maximum": 10, "default": 2},
            "maxBackoffSeconds": {"type": "integer", "minimum": 60, "maximum": 3600, "default": 480},
        },
    },
    "remediationRequestRef": {
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            name: {"type": "string"}
            for name in ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")
        },
    },
}


@pytest.mark.parametrize("field", sorted(SPEC_FIELDS))
def test_a_spec_field_has_exactly_its_rules(spec: dict[str, Any], field: str, without_words: Bare) -> None:
    assert without_words(spec["properties"][field]) == SPEC_FIELDS[field]


def test_the_spec_has_no_further_fields(spec: dict[str, Any]) -> None:
    assert set(spec["properties"]) == {*SPEC_FIELDS, "context"}


CONTEXT_BLOCKS = {
    "lineage": "remediationRequest aiAnalysis",
    "workflow": "selectedWorkflow confidence workflowId workflowName actionType executionEngine",
    "analysis": "approvalReason rootCause outcome",
    "review": "reason subReason humanReviewReason rootCauseAnalysis alignmentVerdict circuitBreakerActivated",
    "execution": "retryCount maxRetries lastExitCode previousExecution timeoutPhase phaseTimeout",
    "dedup": "duplicateCount",
    "target": "targetResource",
    "verification": "assessed outcome reason summary degraded degradedReason",
}
BOOLEANS = {"circuitBreakerActivated", "assessed", "degraded"}


@pytest.mark.parametrize("block", sorted(CONTEXT_BLOCKS))
def test_a_context_block_has_exactly_its_fields(spec: dict[str, Any], block: str, without_words: Bare) -> None:
    schema = without_words(spec["properties"]["context"]["properties"][block])
    expected = {name: {"type": "boolean" if name in BOOLEANS else "string"} for name in CONTEXT_BLOCKS[block].split()}
    assert schema["properties"] == expected
    assert schema.get("required") == (["assessed"] if block == "verification" else None)


def test_context_and_its_blocks_are_optional(spec: dict[str, Any]) -> None:
    context = spec["properties"]["context"]
    assert set(context["properties"]) == set(CONTEXT_BLOCKS)
    assert "required" not in context


STATUS_FIELDS: dict[str, dict[str, Any]] = {
    "phase": {"type": "string", "enum": ["Pending", "Sending", "Retrying", "Sent", "PartiallySent", "Failed"]},
    "deliveryAttempts": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["attempt", "channel", "status", "timestamp"],
            "properties": {
                "channel": {"type": "string"},
                "attempt": {"type": "integer"},
                "timestamp": {"type": "string", "format": "date-time"},
                "status": {"type": "string", "enum": ["success", "failed", "timeout", "invalid"]},
                "error": {"type": "string"},
                "durationSeconds": {"type": "number"},
            },
        },
    },
    "totalAttempts": {"type": "integer"},
    "successfulDeliveries": {"type": "integer"},
    "failedDeliveries": {"type": "integer"},
    "queuedAt": {"type": "string", "format": "date-time"},
    "processingStartedAt": {"type": "string", "format": "date-time"},
    "completionTime": {"type": "string", "format": "date-time"},
    "observedGeneration": {"type": "integer", "format": "int64"},
    "reason": {"type": "string"},
    "message": {"type": "string"},
}


@pytest.mark.parametrize("field", sorted(STATUS_FIELDS))
def test_a_status_field_has_exactly_its_rules(status: dict[str, Any], field: str, without_words: Bare) -> None:
    assert without_words(status["properties"][field]) == STATUS_FIELDS[field]


def test_the_status_has_no_further_fields(status: dict[str, Any]) -> None:
    assert set(status["properties"]) == {*STATUS_FIELDS, "conditions"}

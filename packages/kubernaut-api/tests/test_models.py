"""Reading is generous, writing is exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kubernaut_api import NotificationContext, NotificationRequest, flatten_context, format_time

STORED: dict[str, Any] = {
    "apiVersion": "kubernaut.ai/v1alpha1",
    "kind": "NotificationRequest",
    "metadata": {
        "name": "nr-completion-a",
        "namespace": "kubernaut-system",
        "uid": "u-1",
        "resourceVersion": "41",
        "generation": 1,
        "creationTimestamp": "2026-03-01T10:00:00Z",
        "labels": {"team": "sre"},
        "managedFields": [{"manager": "kubectl", "operation": "Update"}],
        "ownerReferences": [
            {
                "apiVersion": "kubernaut.ai/v1alpha1",
                "kind": "RemediationRequest",
                "name": "a",
                "uid": "u-0",
                "controller": True,
            }
        ],
    },
    "spec": {
        "type": "Completion",
        "priority": "Low",
        "subject": "done",
        "body": "all good",
        "clusterID": "east",
        "retryPolicy": {},
        "context": {
            "workflow": {"workflowId": "w-1", "workflowName": "restart", "newerField": "kept"},
            "verification": {"assessed": False},
        },
        "extensions": {"environment": "prod"},
        "actionLinks": [{"service": "grafana", "url": "https://g", "label": "board"}],
        "remediationRequestRef": {"kind": "RemediationRequest", "name": "a"},
        "aFieldOfTomorrow": {"x": [1, None]},
    },
    "status": {
        "phase": "Retrying",
        "deliveryAttempts": [
            {
                "channel": "slack:a",
                "attempt": 1,
                "timestamp": "2026-03-01T10:00:01Z",
                "status": "failed",
                "error": "x",
                "durationSeconds": 0.125,
                "newer": 1,
            }
        ],
        "totalAttempts": 1,
        "failedDeliveries": 1,
        "queuedAt": "2026-03-01T10:00:00.123456Z",
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "NotReady",
                "message": "",
                "lastTransitionTime": "2026-03-01T10:00:01Z",
            }
        ],
    },
}


def test_an_object_passes_through_the_model_unchanged() -> None:
    assert NotificationRequest.model_validate(STORED).to_wire() == STORED


def test_an_object_without_spec_and_status_can_be_read() -> None:
    bare = {"apiVersion": "kubernaut.ai/v1alpha1", "kind": "NotificationRequest", "metadata": {"name": "a"}}
    nr = NotificationRequest.model_validate(bare)
    assert nr.spec.subject == ""
    assert nr.status.phase == ""
    assert nr.to_wire() == bare


def test_a_value_outside_an_enum_can_be_read() -> None:
    nr = NotificationRequest.model_validate({"status": {"phase": "Archived"}, "spec": {"priority": "P5"}})
    assert (nr.status.phase, nr.spec.priority) == ("Archived", "P5")


def test_zero_counters_empty_texts_and_empty_lists_are_not_written() -> None:
    nr = NotificationRequest.model_validate(
        {"status": {"phase": "", "totalAttempts": 0, "deliveryAttempts": [], "message": "", "conditions": []}}
    )
    assert nr.to_wire()["status"] == {}


def test_an_attempt_always_writes_its_four_required_fields() -> None:
    nr = NotificationRequest.model_validate({"status": {"deliveryAttempts": [{"durationSeconds": 0}]}})
    assert nr.to_wire()["status"]["deliveryAttempts"] == [
        {"channel": "", "attempt": 0, "timestamp": None, "status": ""}
    ]


def test_an_empty_retry_policy_is_written_because_the_api_server_fills_it() -> None:
    nr = NotificationRequest.model_validate({"spec": {"retryPolicy": {}}})
    assert nr.to_wire()["spec"]["retryPolicy"] == {}


def test_an_omitted_priority_is_not_written_as_null() -> None:
    nr = NotificationRequest.model_validate({"spec": {"type": "Simple", "subject": "s", "body": "b"}})
    assert None not in nr.to_wire()["spec"].values()


def test_a_time_without_an_offset_is_read_as_utc() -> None:
    """The API server takes such a time for a date-time; compared with another it would raise."""
    attempt = {"channel": "console", "attempt": 1, "timestamp": "2026-03-01T10:00:00", "status": "failed"}
    nr = NotificationRequest.model_validate({"status": {"deliveryAttempts": [attempt]}})
    assert nr.status.delivery_attempts[0].timestamp == datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("0001-01-01T00:00:00+10:00", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59-10:00", "9999-12-31T23:59:59.999999Z"),
        ("0000-02-29T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00+24:30", "2025-12-30T23:30:00Z"),
        ("2026-01-01t00:00:00.5-99:00", "2026-01-05T03:00:00.500000Z"),
        ("2026-01-01T00:00:00 5Z", "2026-01-01T00:00:00.500000Z"),
        ("2026-01-01T00:00:00-1-02:00", "2026-01-01T02:00:00.100000Z"),
        ("2026-01-01T00:00:0012345678901z", "2026-01-01T00:00:00.234567Z"),
        ("2026-01-01T00:00:00+01:00t\n", "2025-12-31T23:00:00Z"),
    ],
)
def test_a_time_that_python_does_not_have_is_read_as_the_nearest(stored: str, read: str) -> None:
    """The API server takes all of these; an object that cannot be read could not even be ended."""
    nr = NotificationRequest.model_validate({"status": {"completionTime": stored}})
    assert nr.to_wire()["status"] == {"completionTime": read}


@pytest.mark.parametrize("text", ["", "soon", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        NotificationRequest.model_validate({"status": {"completionTime": text}})


def test_fields_can_be_set_by_their_python_names() -> None:
    nr = NotificationRequest.model_validate(STORED)
    nr.status.completion_time = datetime(2026, 3, 1, 12, tzinfo=UTC)
    nr.spec.cluster_id = "west"
    wire = nr.to_wire()
    assert (wire["status"]["completionTime"], wire["spec"]["clusterID"]) == ("2026-03-01T12:00:00Z", "west")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC), "2026-01-02T03:04:05.000060Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05Z"),
    ],
)
def test_times_are_written_in_utc(moment: datetime, text: str) -> None:
    assert format_time(moment) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(unknown=st.dictionaries(st.text(min_size=1).map(lambda key: f"x-{key}"), JSON, max_size=4))
def test_unknown_fields_survive_a_round_trip(unknown: dict[str, Any]) -> None:
    stored = {**STORED, "spec": {**STORED["spec"], **unknown}, "status": {**STORED["status"], **unknown}}
    assert NotificationRequest.model_validate(stored).to_wire() == stored


def test_flattening_skips_what_is_only_for_formatting() -> None:
    flat = flatten_context(
        NotificationContext.model_validate(
            {"workflow": {"workflowId": "w", "workflowName": "n", "actionType": "Restart", "confidence": ""}}
        )
    )
    assert flat == {"workflowId": "w"}


def test_a_circuit_breaker_appears_only_when_it_was_activated() -> None:
    block = {"review": {"reason": "r", "circuitBreakerActivated": True}}
    assert flatten_context(NotificationContext.model_validate(block)) == {
        "reason": "r",
        "circuitBreakerActivated": "true",
    }
    block["review"]["circuitBreakerActivated"] = False
    assert flatten_context(NotificationContext.model_validate(block)) == {"reason": "r"}


@pytest.mark.behaviour(71, service="notification")
def test_a_verification_block_always_yields_its_two_booleans() -> None:
    assert flatten_context(NotificationContext.model_validate({"verification": {"assessed": False}})) == {
        "verificationAssessed": "false",
        "verificationDegraded": "false",
    }
    assert flatten_context(NotificationContext.model_validate({"lineage": {"aiAnalysis": "a"}})) == {"aiAnalysis": "a"}
    assert flatten_context(None) == {}


def test_verification_details_get_a_prefix_and_the_summary_is_left_out() -> None:
    block = {
        "assessed": True,
        "outcome": "passed",
        "reason": "r",
        "summary": "s",
        "degraded": True,
        "degradedReason": "d",
    }
    assert flatten_context(NotificationContext.model_validate({"verification": block})) == {
        "verificationAssessed": "true",
        "verificationDegraded": "true",
        "verificationOutcome": "passed",
        "verificationReason": "r",
        "verificationDegradedReason": "d",
    }

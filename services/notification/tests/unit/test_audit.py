from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from kubernaut_api import NotificationRequest
from kubernaut_notification.audit import (
    SOURCE,
    AuditTrail,
    acknowledged_event,
    escalated_event,
    failed_event,
    sent_event,
)
from kubernaut_notification.delivery.channel import PermanentError, RetryableError
from kubernaut_notification.delivery.message import prepare
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime.audit import AuditError, JsonLinesSink, to_line
from kubernaut_runtime.audit.jsonlines import LineStream
from kubernaut_testing.datastorage import audit_event_problem

MakeNR = Callable[..., NotificationRequest]


class Kept:
    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    def emit(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def trail(kept: Kept, now: datetime) -> AuditTrail:
    return AuditTrail(kept, lambda: now)


@pytest.mark.behaviour(81)
def test_a_sent_event_has_every_field_of_the_contract(make_nr: MakeNR, now: datetime) -> None:
    nr = make_nr(
        clusterID="east",
        remediationRequestRef={"name": "rr-1"},
        extensions={"environment": "prod"},
        context={"dedup": {"duplicateCount": "2"}},
    )
    assert sent_event(nr, "slack:a", now) == {
        "version": "1.0",
        "event_type": "notification.message.sent",
        "event_timestamp": "2026-03-01T10:00:00.000000Z",
        "event_category": "notification",
        "event_action": "sent",
        "event_outcome": "success",
        "actor_type": "service",
        "actor_id": "notification-controller",
        "resource_type": "NotificationRequest",
        "resource_id": "nr-a",
        "namespace": "kubernaut-system",
        "cluster_id": "east",
        "correlation_id": "rr-1",
        "event_data": {
            "event_type": "notification.message.sent",
            "notification_id": "nr-a",
            "channel": "slack:a",
            "subject": "hello",
            "body": "world",
            "priority": "Medium",
            "type": "Simple",
            "metadata": {"duplicateCount": "2", "environment": "prod"},
        },
    }


@pytest.mark.behaviour(81)
def test_a_standalone_notification_is_correlated_by_its_uid(make_nr: MakeNR, now: datetime) -> None:
    assert sent_event(make_nr(), "console", now)["correlation_id"] == "u-1"
    assert "metadata" not in sent_event(make_nr(), "console", now)["event_data"]


@pytest.mark.behaviour(82)
def test_a_failed_event_without_an_error_has_no_error_key(make_nr: MakeNR, now: datetime) -> None:
    data = failed_event(make_nr(), "slack:a", None, now)["event_data"]
    assert "error" not in data
    assert data["error_type"] == "transient"
    assert "type" not in data


def test_a_permanent_error_is_told_from_a_transient_one(make_nr: MakeNR, now: datetime) -> None:
    data = failed_event(make_nr(), "slack:a", "permanent failure: x", now, permanent=True)["event_data"]
    assert (data["error_type"], data["error"]) == ("permanent", "permanent failure: x")


def test_the_ends_have_events_of_their_own(make_nr: MakeNR, now: datetime) -> None:
    acknowledged, escalated = acknowledged_event(make_nr(), now), escalated_event(make_nr(priority="High"), now)
    assert (acknowledged["event_action"], acknowledged["event_outcome"]) == ("acknowledged", "success")
    assert acknowledged["event_data"] == {
        "event_type": "notification.message.acknowledged",
        "notification_id": "nr-a",
        "subject": "hello",
        "priority": "Medium",
    }
    assert (escalated["event_action"], escalated["event_outcome"]) == ("escalated", "success")
    assert escalated["event_data"]["reason"] == "Escalated due to High priority"


@pytest.mark.behaviour(82)
@pytest.mark.parametrize("build", [sent_event, lambda nr, channel, now: failed_event(nr, channel, "x", now)])
def test_an_event_needs_a_notification_and_a_channel(make_nr: MakeNR, now: datetime, build: Callable[..., Any]) -> None:
    with pytest.raises(AuditError, match="without a notification"):
        build(None, "console", now)
    with pytest.raises(AuditError, match="without a channel"):
        build(make_nr(), "", now)
    with pytest.raises(AuditError, match="no correlation id"):
        build(make_nr(metadata={"uid": ""}), "console", now)


@pytest.mark.behaviour(81)
def test_each_attempt_is_told_once_however_often_a_pass_runs(
    make_nr: MakeNR, now: datetime, trail: AuditTrail, kept: Kept
) -> None:
    nr = make_nr()
    attempts = [
        Attempt.success("console", 1, now, now, 0),
        Attempt.failure("slack:a", 1, now, now, 0, RetryableError("busy")),
        Attempt.failure("slack:a", 2, now, now, 0, PermanentError("no")),
    ]
    for _ in range(2):
        for attempt in attempts:
            trail.attempt(nr, attempt)
        trail.sent(nr)
        trail.failed(nr)
    types = [event["event_type"].rsplit(".", 1)[1] for event in kept.events]
    assert types == ["sent", "failed", "failed", "acknowledged", "escalated"]
    assert [event["event_data"].get("error_type") for event in kept.events[1:3]] == ["transient", "permanent"]


def test_a_recreated_object_is_told_anew_and_a_deleted_one_is_forgotten(
    make_nr: MakeNR, now: datetime, trail: AuditTrail, kept: Kept
) -> None:
    trail.sent(make_nr())
    trail.sent(make_nr(metadata={"uid": "u-2"}))
    assert len(kept.events) == 2
    trail.forget("u-1")
    assert set(trail._told) == {"u-2"}


def test_a_notification_is_redacted_once_for_all_its_events_and_again_when_it_is_another(
    make_nr: MakeNR, now: datetime, trail: AuditTrail, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    redacted: list[str] = []

    def counting(nr: NotificationRequest) -> NotificationRequest:
        redacted.append(nr.metadata.uid)
        return prepare(nr)

    monkeypatch.setattr("kubernaut_notification.audit.prepare", counting)
    nr, other = make_nr(body="password: s1"), make_nr(body="password: s2", metadata={"uid": "u-2"})
    for number in range(20):
        trail.attempt(nr, Attempt.success(f"slack:{number}", 1, now, now, 0))
    trail.sent(nr)
    trail.attempt(other, Attempt.success("console", 1, now, now, 0))
    trail.forget("u-2")
    assert trail._last is None, "a body may be large"
    assert redacted == ["u-1", "u-2"]
    assert {event["event_data"].get("body") for event in kept.events} == {"password: [REDACTED]", None}


def test_events_are_redacted(make_nr: MakeNR, now: datetime, trail: AuditTrail, kept: Kept) -> None:
    nr = make_nr(subject="token=s1", body="password: s2", extensions={"x": "secret: s3"})
    trail.attempt(nr, Attempt.success("console", 1, now, now, 0))
    assert not any(secret in str(kept.events) for secret in ("s1", "s2", "s3"))


@pytest.mark.parametrize("references", [{"remediationRequestRef": {"name": "r" * 253}}, {"clusterID": ""}])
def test_data_storage_takes_every_event_whatever_the_notification_holds(
    make_nr: MakeNR, references: dict[str, Any]
) -> None:
    now = datetime.now(UTC)
    nr = make_nr(
        subject="s" * 500,
        body="\x00\ud800\N{PILE OF POO}" * 200_000,
        extensions={f"key-{number}": "v" * 100 for number in range(50)},
        **references,
    )
    events = [
        sent_event(nr, "console", now),
        failed_event(nr, "slack:a", "e" * 2000, now, permanent=True),
        acknowledged_event(nr, now),
        escalated_event(nr, now),
    ]
    assert [event["event_type"] for event in events] == list(SOURCE.payloads)
    for event in events:
        line = orjson.loads(to_line(event, now, SOURCE.payloads).data)
        assert audit_event_problem(line) == ""
        assert line["cluster_id"] == ""


@pytest.mark.behaviour(83)
def test_audit_is_mandatory_but_a_sink_that_cannot_write_fails_nothing(
    make_nr: MakeNR, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TypeError, match="sink"):
        AuditTrail()  # type: ignore[call-arg]
    stream = io.StringIO()
    stream.close()
    trail = AuditTrail(JsonLinesSink(LineStream(stream), now=lambda: now), lambda: now)
    trail.attempt(make_nr(), Attempt.success("console", 1, now, now, 0))
    trail.sent(make_nr())
    assert "cannot deliver audit events" in caplog.text

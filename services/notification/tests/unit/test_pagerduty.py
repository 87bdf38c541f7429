"""The PagerDuty channel against a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scenarios.channel_bench import Bench

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import PermanentError, RetryableError
from kubernaut_notification.delivery.pagerduty import EVENTS_URL, MARKER, PagerDutyChannel, event
from kubernaut_notification.delivery.payload import to_json
from kubernaut_testing.receivers import Answer, WebhookReceiver

MakeNR = Callable[..., NotificationRequest]
KEY = "R0UTINGK3YR0UTINGK3Y"


@pytest.fixture
def bench(make_bench: Callable[..., Bench], receiver: WebhookReceiver) -> Bench:
    made = make_bench()
    made.put("pd", f"{KEY}\n")
    made.route(pagerdutyConfigs=[{"credentialRef": "pd", "url": f"{receiver.url}/v2/enqueue"}])
    return made


@pytest.mark.behaviour(46)
async def test_an_event_is_a_trigger_with_the_notification_as_its_key(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR
) -> None:
    receiver.default = 202
    assert await bench.attempt("pagerduty:ops", make_nr()) is None
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", "/v2/enqueue")
    assert request.headers["Content-Type"] == "application/json"
    assert request.json == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "nr-a",
        "payload": {
            "summary": "hello",
            "severity": "warning",
            "source": "kubernaut",
            "component": "kubernaut-system",
            "custom_details": {"notification_type": "Simple", "correlation_id": "nr-a"},
        },
    }


CONTEXT: dict[str, Any] = {
    "lineage": {"remediationRequest": "rr-1"},
    "analysis": {"rootCause": "out of memory"},
    "workflow": {"confidence": "0.93"},
    "target": {"targetResource": "Deployment/shop"},
}


@pytest.mark.behaviour(49)
def test_the_details_hold_what_a_responder_needs(make_nr: MakeNR) -> None:
    assert event(make_nr(type="Approval", context=CONTEXT), KEY)["payload"]["custom_details"] == {
        "notification_type": "Approval",
        "correlation_id": "nr-a",
        "rca_summary": "out of memory",
        "confidence": "0.93",
        "affected_resource": "Deployment/shop",
        "kubectl_command": "kubectl kubernaut chat rar/rr-1 -n kubernaut-system",
    }


def test_the_body_is_not_sent(make_nr: MakeNR) -> None:
    assert b"a long story" not in to_json(event(make_nr(body="a long story", context=CONTEXT), KEY))


@pytest.mark.behaviour(47)
@pytest.mark.parametrize(
    ("priority", "severity"),
    [("Critical", "critical"), ("High", "error"), ("Medium", "warning"), ("Low", "info"), ("P9", "warning")],
)
def test_severity_follows_the_priority(make_nr: MakeNR, priority: str, severity: str) -> None:
    assert event(make_nr(priority=priority), KEY)["payload"]["severity"] == severity


@pytest.mark.parametrize(("configured", "sent"), [("info", "info"), ("fatal", "critical"), ("", "critical")])
async def test_one_of_the_four_severities_in_the_routing_file_wins(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, configured: str, sent: str
) -> None:
    bench.route(pagerdutyConfigs=[{"credentialRef": "pd", "url": receiver.url, "severity": configured}])
    assert await bench.attempt("pagerduty:ops", make_nr(priority="Critical")) is None
    assert receiver.requests[0].json["payload"]["severity"] == sent


def test_an_entry_without_a_url_goes_to_pagerduty() -> None:
    assert PagerDutyChannel(None, None)._url == EVENTS_URL == "https://events.pagerduty.com/v2/enqueue"  # type: ignore[arg-type]


@pytest.mark.behaviour(48)
async def test_an_empty_routing_key_is_permanent_and_names_the_credential(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR
) -> None:
    bench.put("pd", "  \n")
    error = await bench.attempt("pagerduty:ops", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text == "pagerduty routing key is empty: put it into the credential file 'pd'"
    assert receiver.requests == []


async def test_a_url_that_is_none_is_permanent_and_names_its_key(bench: Bench, make_nr: MakeNR) -> None:
    bench.route(pagerdutyConfigs=[{"credentialRef": "pd", "url": "events.example.com"}])
    error = await bench.attempt("pagerduty:ops", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text == ("pagerduty URL is not an http(s) address: correct url in the receiver's pagerdutyConfigs")


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (429, RetryableError, "pagerduty webhook returned 429 (retryable): slow down"),
        (503, RetryableError, "pagerduty webhook returned 503 (retryable): slow down"),
        (400, PermanentError, "pagerduty webhook returned 400 (permanent failure): slow down"),
    ],
)
async def test_answers_are_classified(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, status: int, kind: type[Exception], words: str
) -> None:
    receiver.default = Answer(status, "slow down")
    error = await bench.attempt("pagerduty:ops", make_nr())
    assert isinstance(error, kind)
    assert str(error) == words


def test_a_summary_is_one_line_of_at_most_1024_characters_and_never_empty(make_nr: MakeNR) -> None:
    def summary(subject: str) -> str:
        text: str = event(make_nr(subject=subject), KEY)["payload"]["summary"]
        return text

    assert summary("é" * 2000) == "é" * 1023 + "…"
    assert summary("a\r\nb") == "a b"
    assert summary(" \n ") == "(no subject)"


def test_a_long_root_cause_is_cut_before_anything_else(make_nr: MakeNR) -> None:
    context = {**CONTEXT, "analysis": {"rootCause": "🚨" * 300_000}, "workflow": {"confidence": "9" * 100_000}}
    made = event(make_nr(context=context), KEY)
    details = made["payload"]["custom_details"]
    assert 524_288 - 4 < len(to_json(made)) <= 524_288
    assert details["rca_summary"].endswith("🚨" + MARKER)
    assert details["confidence"] == "9" * 100_000


def test_when_the_root_cause_is_not_enough_the_longest_detail_is_next(make_nr: MakeNR) -> None:
    context = {**CONTEXT, "analysis": {"rootCause": "r" * 500}, "target": {"targetResource": "t" * 600_000}}
    details = event(make_nr(context=context), KEY)["payload"]["custom_details"]
    assert details["rca_summary"] == MARKER
    assert details["affected_resource"].endswith("t" + MARKER)
    assert details["confidence"] == "0.93"
    assert details["correlation_id"] == "nr-a"

"""The generic webhook channel against a real HTTP server."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from scenarios.channel_bench import Bench, shown

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import PermanentError
from kubernaut_testing.receivers import WebhookReceiver

MakeNR = Callable[..., NotificationRequest]


@pytest.fixture
def bench(make_bench: Callable[..., Bench], receiver: WebhookReceiver) -> Bench:
    made = make_bench()
    made.put("url", f"{receiver.url}/hook/S3CR3TURL")
    made.put("proof", "pr00f-0f-us\n")
    return made


async def test_the_whole_notification_is_sent(bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR) -> None:
    bench.route(webhookConfigs=[{"url": f"{receiver.url}/hook"}])
    nr = make_nr(
        type="ManualReview",
        severity="critical",
        phase="Analyzing",
        reviewSource="AIAnalysis",
        clusterID="east",
        remediationRequestRef={"name": "rr-1"},
        context={"analysis": {"rootCause": "oom"}, "workflow": {"workflowName": "Restart"}},
        extensions={"team": "shop"},
        actionLinks=[{"service": "grafana", "url": "https://g/d", "label": "Dashboard"}],
    )
    assert await bench.attempt("webhook:ops", nr, 2) is None
    (request,) = receiver.requests
    assert (request.method, request.path, request.headers["Content-Type"]) == ("POST", "/hook", "application/json")
    assert request.headers["Idempotency-Key"] == "u-1/webhook:ops/2"
    assert "Authorization" not in request.headers
    assert request.json == {
        "version": "1",
        "notification": {
            "name": "nr-a",
            "namespace": "kubernaut-system",
            "uid": "u-1",
            "type": "ManualReview",
            "priority": "Medium",
            "subject": "hello",
            "body": "world",
            "severity": "critical",
            "phase": "Analyzing",
            "reviewSource": "AIAnalysis",
            "clusterID": "east",
            "remediationRequest": "rr-1",
            "context": {"rootCause": "oom"},
            "extensions": {"team": "shop"},
            "actionLinks": [{"service": "grafana", "url": "https://g/d", "label": "Dashboard"}],
        },
        "delivery": {"channel": "webhook:ops", "attempt": 2, "idempotencyKey": "u-1/webhook:ops/2"},
    }


async def test_keys_without_a_value_are_left_out(bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR) -> None:
    bench.route(webhookConfigs=[{"url": receiver.url}])
    assert await bench.attempt("webhook:ops", make_nr()) is None
    assert set(receiver.requests[0].json["notification"]) == {
        *("name", "namespace", "uid", "type", "priority", "subject", "body")
    }


async def test_a_receiver_name_that_no_header_can_hold_is_encoded(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR
) -> None:
    name = "öps\r\nX-Evil: 1"
    text = (
        f'route: {{receiver: "{name}"}}\nreceivers: [{{name: "{name}", webhookConfigs: [{{url: "{receiver.url}"}}]}}]'
    )
    bench.table.load(text.replace("\r\n", "\\r\\n"), "f")
    assert await bench.attempt(f"webhook:{name}", make_nr()) is None
    (request,) = receiver.requests
    assert request.headers["Idempotency-Key"] == "u-1/webhook:%C3%B6ps%0D%0AX-Evil:%201/1"
    assert "X-Evil" not in request.headers


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("entry", "header"),
    [
        ({"credentialRef": "proof"}, "Bearer pr00f-0f-us"),
        (
            {"credentialRef": "proof", "httpConfig": {"basicAuth": {"username": "me"}}},
            basic("me", "pr00f-0f-us"),
        ),
        ({"httpConfig": {"bearerToken": "inline"}}, "Bearer inline"),
        ({"httpConfig": {"basicAuth": {"username": "me", "password": "pä:ss"}}}, basic("me", "pä:ss")),
        (
            {"httpConfig": {"bearerToken": "inline", "basicAuth": {"username": "me", "password": "x"}}},
            "Bearer inline",
        ),
    ],
    ids=["token file", "password file", "inline token", "inline password", "both inline"],
)
async def test_the_caller_proves_who_it_is(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, entry: dict[str, Any], header: str
) -> None:
    bench.route(webhookConfigs=[{"urlRef": "url", **entry}])
    assert await bench.attempt("webhook:ops", make_nr()) is None
    (request,) = receiver.requests
    assert request.headers["Authorization"] == header
    assert request.path == "/hook/S3CR3TURL"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({}, "webhook URL is empty: set url or urlRef in the webhookConfigs of receiver 'ops'"),
        ({"url": "nowhere"}, "webhook URL is not an http(s) address: set url or urlRef in the webhookConfigs of"),
        (
            {"url": "http://127.0.0.1:1", "httpConfig": {"basicAuth": {"username": "me"}}},
            "webhook credential is empty: set credentialRef in the webhookConfigs of receiver 'ops'",
        ),
        (
            {"url": "http://u:p@127.0.0.1:1", "credentialRef": "proof"},
            "webhook URL holds a user, and so does the entry: remove one",
        ),
        (
            {"url": "http://127.0.0.1:1", "httpConfig": {"bearerToken": "two words"}},
            "webhook bearer token cannot stand in a header: set credentialRef in the webhookConfigs",
        ),
    ],
)
async def test_an_entry_that_cannot_work_is_permanent_and_says_what_to_do(
    bench: Bench, make_nr: MakeNR, entry: dict[str, Any], text: str
) -> None:
    bench.route(webhookConfigs=[entry])
    error = await bench.attempt("webhook:ops", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text.startswith(text)
    assert "two words" not in shown(error)


async def test_several_entries_are_channels_of_their_own(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR
) -> None:
    bench.route(webhookConfigs=[{"url": f"{receiver.url}/a"}, {"url": f"{receiver.url}/b"}])
    assert await bench.attempt("webhook:ops:1", make_nr()) is None
    assert [request.path for request in receiver.requests] == ["/b"]
    assert bench.registry.keys() == ["console", "webhook:ops:0", "webhook:ops:1"]

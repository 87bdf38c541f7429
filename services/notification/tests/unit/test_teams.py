"""The Teams channel against a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scenarios.channel_bench import Bench

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import PermanentError
from kubernaut_notification.delivery.payload import to_json
from kubernaut_notification.delivery.teams import MARKER, card
from kubernaut_testing.receivers import WebhookReceiver

MakeNR = Callable[..., NotificationRequest]

CONTEXT: dict[str, Any] = {
    "lineage": {"remediationRequest": "rr-1"},
    "analysis": {"rootCause": "out of memory"},
    "workflow": {"confidence": "0.93"},
    "target": {"targetResource": "Deployment/shop"},
    "verification": {"assessed": True, "outcome": "passed", "reason": "healthy again"},
}
FACTS = {
    "type": "FactSet",
    "spacing": "medium",
    "facts": [
        {"title": "Root Cause", "value": "out of memory"},
        {"title": "Confidence", "value": "0.93"},
        {"title": "Affected Resource", "value": "Deployment/shop"},
    ],
}
CORRELATION = {"type": "FactSet", "spacing": "small", "facts": [{"title": "Correlation ID", "value": "nr-a"}]}


def body(nr: NotificationRequest) -> list[dict[str, Any]]:
    elements: list[dict[str, Any]] = card(nr)["attachments"][0]["content"]["body"]
    return elements


@pytest.fixture
def bench(make_bench: Callable[..., Bench], receiver: WebhookReceiver) -> Bench:
    made = make_bench()
    made.put("teams", f"{receiver.url}/workflows/abc?sig=S1GNATURE")
    made.route(teamsConfigs=[{"credentialRef": "teams"}])
    return made


async def test_a_message_is_one_adaptive_card(bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR) -> None:
    receiver.default = 202
    nr = make_nr(type="Approval", priority="Critical", body="**b** [x](https://x)", context=CONTEXT)
    assert await bench.attempt("teams:ops", nr) is None
    (request,) = receiver.requests
    assert request.headers["Content-Type"] == "application/json"
    assert request.json == {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.0",
                    "body": [
                        {
                            "type": "TextBlock",
                            "text": "CRITICAL: hello",
                            "weight": "bolder",
                            "size": "medium",
                            "color": "attention",
                            "wrap": True,
                        },
                        {
                            "type": "TextBlock",
                            "text": "Priority: CRITICAL | Type: Approval",
                            "isSubtle": True,
                            "spacing": "none",
                        },
                        {"type": "TextBlock", "text": "**b** [x](https://x)", "wrap": True, "spacing": "medium"},
                        FACTS,
                        {
                            "type": "TextBlock",
                            "text": "`kubectl kubernaut chat rar/rr-1 -n kubernaut-system`",
                            "wrap": True,
                            "spacing": "medium",
                        },
                        CORRELATION,
                    ],
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("priority", "text", "color"),
    [
        ("Critical", "CRITICAL: hello", "attention"),
        ("High", "HIGH: hello", "warning"),
        ("Medium", "hello", None),
        ("Low", "hello", None),
    ],
)
def test_the_subject_is_marked_by_priority(make_nr: MakeNR, priority: str, text: str, color: str | None) -> None:
    head = body(make_nr(priority=priority))[0]
    assert (head["text"], head.get("color")) == (text, color)


@pytest.mark.behaviour(49)
def test_only_an_approval_with_a_remediation_has_the_chat_command(make_nr: MakeNR) -> None:
    command = "kubectl kubernaut chat rar/rr-1 -n kubernaut-system"
    assert command in str(body(make_nr(type="Approval", context=CONTEXT)))
    assert command not in str(body(make_nr(type="Simple", context=CONTEXT)))
    assert "kubectl" not in str(body(make_nr(type="Approval", context={})))


@pytest.mark.behaviour(50)
@pytest.mark.parametrize("kind", ["Completion", "StatusUpdate"])
def test_completions_and_status_updates_show_the_verification(make_nr: MakeNR, kind: str) -> None:
    assert body(make_nr(type=kind, context=CONTEXT))[4] == {
        "type": "FactSet",
        "spacing": "medium",
        "facts": [
            {"title": "Verification Outcome", "value": "passed"},
            {"title": "Verification Reason", "value": "healthy again"},
        ],
    }


@pytest.mark.behaviour(50)
@pytest.mark.parametrize("kind", ["Simple", "Approval", "ManualReview", "Escalation"])
def test_no_other_type_shows_the_verification(make_nr: MakeNR, kind: str) -> None:
    assert "Verification" not in str(body(make_nr(type=kind, context=CONTEXT)))


def test_an_escalation_has_its_banner(make_nr: MakeNR) -> None:
    assert body(make_nr(type="Escalation", priority="High"))[3] == {
        "type": "TextBlock",
        "text": "CRITICAL ESCALATION — Priority: HIGH",
        "weight": "bolder",
        "color": "attention",
        "wrap": True,
    }


def test_what_is_empty_is_left_out(make_nr: MakeNR) -> None:
    empty = {"analysis": {"rootCause": ""}, "verification": {"assessed": False}}
    elements = body(make_nr(type="Completion", body="", context=empty))
    assert [element["type"] for element in elements] == ["TextBlock", "TextBlock", "FactSet"]
    assert elements[-1] == CORRELATION


@pytest.mark.behaviour(48)
async def test_an_empty_url_is_permanent_and_names_the_credential(bench: Bench, make_nr: MakeNR) -> None:
    bench.put("teams", "")
    error = await bench.attempt("teams:ops", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text == "teams webhook URL is empty: put it into the credential file 'teams'"


def test_a_long_body_is_cut_on_a_code_point_and_the_rest_stays(make_nr: MakeNR) -> None:
    nr = make_nr(type="Approval", body="é" * 20_000, context=CONTEXT)
    elements = body(nr)
    assert 28_672 - 2 < len(to_json(card(nr))) <= 28_672
    assert elements[2]["text"].endswith("é" + MARKER)
    assert (elements[3], elements[-1]) == (FACTS, CORRELATION)


def test_several_long_texts_are_cut_and_the_correlation_stays(make_nr: MakeNR) -> None:
    """A root cause has no limit in the CRD; it counts among the texts that are cut."""
    nr = make_nr(subject="s" * 30_000, body="b" * 40_000, context={"analysis": {"rootCause": "r" * 50_000}})
    elements = body(nr)
    assert len(to_json(card(nr))) <= 28_672
    assert elements[3]["facts"][0]["value"].endswith(MARKER)
    assert elements[-1] == CORRELATION

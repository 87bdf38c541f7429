"""The Teams channel: an Adaptive Card for the webhook of a Power Automate workflow.

The card's elements, in order; those in brackets only where there is something to show:

1. subject, marked `CRITICAL: ` or `HIGH: ` by priority
2. priority and type
3. [body, as it is: Teams renders Markdown itself]
4. [facts: root cause, confidence, affected resource]
5. [by type: the chat command of an approval, the verification of a completion or status update, an escalation's banner]
6. the correlation ID

Teams drops a message above 28 KiB. Then the longest text is cut, again and again until the card fits; the correlation
ID, which leads to the full text, never is. Facts count among the texts: a root cause has no limit in the CRD.
"""

from __future__ import annotations

from typing import Any

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.credentials import Secret
from kubernaut_notification.delivery.http import HttpPoster, webhook_url
from kubernaut_notification.delivery.message import Message, chat_command
from kubernaut_notification.delivery.payload import json_size, shortened, to_json

CARD_LIMIT = 28 * 1024
"""Largest message, in bytes of JSON."""
MARKER = " [truncated -- full details in audit trail]"
CORRELATION = "Correlation ID"

_HEADERS = {"Critical": ("CRITICAL: ", "attention"), "High": ("HIGH: ", "warning")}

Element = dict[str, Any]


class TeamsChannel:
    """Posts to the workflow whose URL is the secret `url`."""

    def __init__(self, url: Secret, poster: HttpPoster) -> None:
        self._url = url
        self._poster = poster

    async def deliver(self, message: Message) -> None:
        """Post the card once."""
        await self._poster.post(webhook_url("teams", self._url), card(message.nr))


def card(nr: NotificationRequest) -> dict[str, Any]:
    """Return the message for a prepared notification; its JSON has at most `CARD_LIMIT` bytes."""
    body = [*_head(nr), *_facts(nr), *_by_type(nr), _fact_set({CORRELATION: nr.metadata.name}, "small")]
    made: dict[str, Any] = {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.0",
                    "body": body,
                },
            }
        ],
    }
    while (excess := len(to_json(made)) - CARD_LIMIT) > 0:
        holder, key = max(_texts(body), key=lambda place: json_size(place[0][place[1]]))
        short = shortened(holder[key], excess, MARKER)
        if short == holder[key]:
            break
        holder[key] = short
    return made


def _text(text: str, **look: Any) -> Element:
    return {"type": "TextBlock", "text": text, **look}


def _fact_set(facts: dict[str, str], spacing: str) -> Element:
    shown = [{"title": title, "value": value} for title, value in facts.items() if value]
    return {"type": "FactSet", "facts": shown, "spacing": spacing}


def _texts(body: list[Element]) -> list[tuple[Element, str]]:
    """Every text that may be cut, as the mapping that holds it and its key."""
    blocks = [(element, "text") for element in body if element["type"] == "TextBlock"]
    facts = [(fact, "value") for element in body if element["type"] == "FactSet" for fact in element["facts"]]
    return blocks + [place for place in facts if place[0]["title"] != CORRELATION]


def _head(nr: NotificationRequest) -> list[Element]:
    spec = nr.spec
    prefix, color = _HEADERS.get(spec.priority, ("", ""))
    look = {"weight": "bolder", "size": "medium", "wrap": True} | ({"color": color} if color else {})
    head = [
        _text(f"{prefix}{spec.subject}", **look),
        _text(f"Priority: {spec.priority.upper()} | Type: {spec.type}", isSubtle=True, spacing="none"),
    ]
    return [*head, _text(spec.body, wrap=True, spacing="medium")] if spec.body else head


def _facts(nr: NotificationRequest) -> list[Element]:
    context = nr.spec.context
    facts = {
        "Root Cause": context.analysis.root_cause if context and context.analysis else "",
        "Confidence": context.workflow.confidence if context and context.workflow else "",
        "Affected Resource": context.target.target_resource if context and context.target else "",
    }
    return [_fact_set(facts, "medium")] if any(facts.values()) else []


def _by_type(nr: NotificationRequest) -> list[Element]:
    spec = nr.spec
    if spec.type == "Approval" and (command := chat_command(nr)):
        return [_text(f"`{command}`", wrap=True, spacing="medium")]
    verification = spec.context.verification if spec.context else None
    if spec.type in ("StatusUpdate", "Completion") and verification is not None:
        facts = {"Verification Outcome": verification.outcome, "Verification Reason": verification.reason}
        return [_fact_set(facts, "medium")] if any(facts.values()) else []
    if spec.type == "Escalation":
        banner = f"CRITICAL ESCALATION — Priority: {spec.priority.upper()}"
        return [_text(banner, weight="bolder", color="attention", wrap=True)]
    return []

"""The Slack channel: an incoming webhook, three blocks (BR-NOT-051).

    header   plain text: emoji of the priority, subject     at most 150 characters
    section  mrkdwn: the body                               at most 3000 characters
    context  priority and type

Slack refuses a message with a longer text for good, so texts are cut on a code point; there are always three blocks.
The webhook's URL is asked for at each call: a rotated credential is used by the next attempt.
"""

from __future__ import annotations

from typing import Any

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.credentials import Secret
from kubernaut_notification.delivery.http import HttpPoster, webhook_url
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.mrkdwn import to_mrkdwn
from kubernaut_runtime.text import ELLIPSIS, encodable

HEADER_LIMIT = 150
SECTION_LIMIT = 3000

_EMOJI = {"Critical": "🚨", "High": "⚠️", "Medium": "ℹ️", "Low": "💬"}
_OTHER_EMOJI = "📢"
_LONGEST_ENTITY = 5
_FENCE = "```"


class SlackChannel:
    """Posts to the incoming webhook whose URL is the secret `url`."""

    def __init__(self, url: Secret, poster: HttpPoster) -> None:
        self._url = url
        self._poster = poster

    async def deliver(self, message: Message) -> None:
        """Post the message once."""
        await self._poster.post(webhook_url("slack", self._url), payload(message.nr))


def payload(nr: NotificationRequest) -> dict[str, Any]:
    """Return the webhook's JSON for a prepared notification."""
    spec = nr.spec
    header = _cut_utf16(f"{_EMOJI.get(spec.priority, _OTHER_EMOJI)} {encodable(spec.subject)}", HEADER_LIMIT)
    section = _cut_mrkdwn(encodable(to_mrkdwn(spec.body)), SECTION_LIMIT)
    if not section.strip():
        section = "(no text)"  # Slack refuses an empty text; a body may convert to nothing
    return {
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": header}},
            {"type": "section", "text": {"type": "mrkdwn", "text": section}},
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": f"*Priority:* {spec.priority} | *Type:* {spec.type}"}],
            },
        ],
        "replace_original": False,
        "delete_original": False,
    }


def _cut_utf16(text: str, limit: int) -> str:
    """Cut to `limit` UTF-16 units: however a receiver counts characters, it counts no more than that."""
    if _units(text) <= limit:
        return text
    room, kept = limit - len(ELLIPSIS), 0
    for index, char in enumerate(text):
        kept += 2 if ord(char) > 0xFFFF else 1
        if kept > room:
            return text[:index] + ELLIPSIS
    return text


def _units(text: str) -> int:
    return len(text) + sum(ord(char) > 0xFFFF for char in text)


def _cut_mrkdwn(text: str, limit: int) -> str:
    """Cut mrkdwn so that no entity or link is split and an open code block is closed."""
    if _units(text) <= limit:
        return text
    closing = "\n" + _FENCE
    kept = _cut_utf16(text, limit - len(closing)).removesuffix(ELLIPSIS)
    if (at := kept.rfind("&", -_LONGEST_ENTITY)) >= 0 and ";" not in kept[at:]:
        kept = kept[:at]
    if (at := kept.rfind("<")) >= 0 and ">" not in kept[at:]:
        kept = kept[:at]
    # A fence that was cut in the middle is no fence.
    kept = kept.rstrip("`") if kept.endswith(("`", "``")) and not kept.endswith(_FENCE) else kept
    return kept + ELLIPSIS + (closing if kept.count(_FENCE) % 2 else "")

"""The PagerDuty channel: one trigger event of the Events API v2.

    routing_key    the credential, asked for at each call
    event_action   trigger
    dedup_key      the notification's name: PagerDuty folds a repeated event into the same alert
    payload        summary (subject), severity, source, component (namespace), custom_details

The body of the notification is not sent; what a responder needs stands in `custom_details`.

Severity follows the priority, unless the receiver's entry names one of PagerDuty's four. The Go controller parses
that key and ignores it. It is honoured here because who writes it can only mean it: a receiver whose alerts must not
page, or always must. Whatever else stands there is warned of when the file is loaded, and the priority decides.

PagerDuty refuses an event above 512 KiB, so `rca_summary` is cut first, then the longest of the other details;
`correlation_id`, which leads to the full text, never is. It refuses an event without a summary, too.
"""

from __future__ import annotations

from typing import Any

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import PermanentError
from kubernaut_notification.delivery.credentials import Secret
from kubernaut_notification.delivery.http import HttpPoster, is_webhook_url
from kubernaut_notification.delivery.message import Message, chat_command
from kubernaut_notification.delivery.payload import json_size, shortened, to_json
from kubernaut_runtime.text import cut, one_line

EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"
SEVERITIES = ("critical", "error", "warning", "info")
EVENT_LIMIT = 512 * 1024
"""Largest event, in bytes of JSON."""
SUMMARY_LIMIT = 1024
"""Longest summary, in characters."""
MARKER = "[truncated -- full details in audit trail]"

_BY_PRIORITY = {"Critical": "critical", "High": "error", "Medium": "warning", "Low": "info"}
_OTHER_SEVERITY = "warning"
_FIRST_CUT, _NEVER_CUT = "rca_summary", "correlation_id"


class PagerDutyChannel:
    """Sends events with the routing key that `key` holds to `url`; `severity` overrides that of the priority."""

    def __init__(self, key: Secret, poster: HttpPoster, *, url: str = "", severity: str = "") -> None:
        self._key = key
        self._poster = poster
        self._url = url or EVENTS_URL
        self._severity = severity

    async def deliver(self, message: Message) -> None:
        """Send the event once."""
        key = self._key.value()
        if not key:
            raise PermanentError(f"pagerduty routing key is empty: {self._key.advice()}", reason="credential")
        if not is_webhook_url(self._url):
            raise PermanentError(
                "pagerduty URL is not an http(s) address: correct url in the receiver's pagerdutyConfigs",
                reason="bad_url",
            )
        await self._poster.post(self._url, event(message.nr, key, self._severity), secrets=[key])


def event(nr: NotificationRequest, routing_key: str, severity: str = "") -> dict[str, Any]:
    """Return the event for a prepared notification; its JSON has at most `EVENT_LIMIT` bytes."""
    details = _details(nr)
    made: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": nr.metadata.name,
        "payload": {
            "summary": cut(one_line(nr.spec.subject), SUMMARY_LIMIT) or "(no subject)",
            "severity": severity if severity in SEVERITIES else _BY_PRIORITY.get(nr.spec.priority, _OTHER_SEVERITY),
            "source": "kubernaut",
            "component": nr.metadata.namespace,
            "custom_details": details,
        },
    }
    rest = sorted(details.keys() - {_FIRST_CUT, _NEVER_CUT}, key=lambda name: -json_size(details[name]))
    for name in [_FIRST_CUT, *rest]:
        if (excess := len(to_json(made)) - EVENT_LIMIT) <= 0:
            break
        if name in details:
            details[name] = shortened(details[name], excess, MARKER)
    return made


def _details(nr: NotificationRequest) -> dict[str, str]:
    context = nr.spec.context
    optional = {
        _FIRST_CUT: context.analysis.root_cause if context and context.analysis else "",
        "confidence": context.workflow.confidence if context and context.workflow else "",
        "affected_resource": context.target.target_resource if context and context.target else "",
        "kubectl_command": chat_command(nr),
    }
    return {
        "notification_type": nr.spec.type,
        _NEVER_CUT: nr.metadata.name,
        **{name: text for name, text in optional.items() if text},
    }

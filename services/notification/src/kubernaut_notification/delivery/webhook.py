"""The generic webhook channel: the notification as JSON, POSTed to any address.

    {"version": "1",
     "notification": {"name", "namespace", "uid", "type", "priority", "subject", "body", "severity", "phase",
                      "reviewSource", "clusterID", "remediationRequest",
                      "context": {flat keys}, "extensions": {...}, "actionLinks": [{"service", "url", "label"}]},
     "delivery": {"channel", "attempt", "idempotencyKey"}}

All texts are redacted; keys without a value are left out, but for `name`, `namespace`, `uid`, `type`, `priority`,
`subject` and `body`. `phase` is the remediation phase that timed out. `version` changes when a key changes its
meaning; new keys may come any time. Any 2xx answer means that the receiver has it.

The header `Idempotency-Key` carries `delivery.idempotencyKey`: the same for every call of one attempt, also after a
restart. A receiver that remembers it takes nothing twice.

Secrets: the URL (inline or in the file that `urlRef` names) is one, since many a webhook's URL is its credential. What
proves the caller stands in the file that `credentialRef` names: a bearer token, or the password if
`httpConfig.basicAuth.username` is set. Inline values work too, with a warning when the file is loaded.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from kubernaut_api import flatten_context
from kubernaut_notification.delivery.channel import PermanentError
from kubernaut_notification.delivery.credentials import Secret
from kubernaut_notification.delivery.http import HttpPoster, webhook_url
from kubernaut_notification.delivery.message import Message

VERSION = "1"
IDEMPOTENCY_HEADER = "Idempotency-Key"

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Authorization:
    """How a webhook is told who calls: with a `username`, HTTP Basic; without, `secret` is a bearer token."""

    secret: Secret
    username: str = ""

    def header(self) -> tuple[str, list[str]]:
        """Return the Authorization header as of now, and the texts that must not be shown.

        Raises `PermanentError` if the secret is empty or does not fit into a header.
        """
        secret = self.secret.value()
        if not secret:
            raise PermanentError(f"webhook credential is empty: {self.secret.advice()}", reason="credential")
        if self.username:
            pair = base64.b64encode(f"{self.username}:{secret}".encode()).decode()
            return f"Basic {pair}", [secret, pair]
        if not _TOKEN.fullmatch(secret):
            advice = self.secret.advice().replace("put it into", "correct", 1)
            raise PermanentError(f"webhook bearer token cannot stand in a header: {advice}", reason="credential")
        return f"Bearer {secret}", [secret]


class WebhookChannel:
    """Posts to the address that the secret `url` holds, with `authorization` if there is one."""

    def __init__(self, url: Secret, poster: HttpPoster, authorization: Authorization | None = None) -> None:
        self._url = url
        self._poster = poster
        self._authorization = authorization

    async def deliver(self, message: Message) -> None:
        """Post the notification once."""
        url = webhook_url("webhook", self._url)
        made = payload(message)
        headers = {IDEMPOTENCY_HEADER: made["delivery"]["idempotencyKey"]}
        secrets: list[str] = []
        if self._authorization is not None:
            if "@" in urlsplit(url).netloc:
                raise PermanentError("webhook URL holds a user, and so does the entry: remove one", reason="bad_url")
            headers["Authorization"], secrets = self._authorization.header()
        await self._poster.post(url, made, headers, secrets=secrets)


def payload(message: Message) -> dict[str, Any]:
    """Return the JSON for a prepared notification."""
    meta, spec = message.nr.metadata, message.nr.spec
    reference = spec.remediation_request_ref
    optional: dict[str, Any] = {
        "severity": spec.severity,
        "phase": spec.phase,
        "reviewSource": spec.review_source,
        "clusterID": spec.cluster_id,
        "remediationRequest": reference.name if reference else "",
        "context": flatten_context(spec.context),
        "extensions": spec.extensions,
        "actionLinks": [{"service": a.service, "url": a.url, "label": a.label} for a in spec.action_links],
    }
    return {
        "version": VERSION,
        "notification": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "type": spec.type,
            "priority": spec.priority,
            "subject": spec.subject,
            "body": spec.body,
            **{key: value for key, value in optional.items() if value},
        },
        "delivery": {
            "channel": message.channel,
            "attempt": message.attempt,
            # As in the header, where a receiver's name may hold what a header cannot.
            "idempotencyKey": quote(message.idempotency_key, safe="/:"),
        },
    }

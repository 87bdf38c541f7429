"""Warnings about a routing file that is in force: what it says and what does not happen, or happens at a risk.

The Go controller parses these keys and ignores them, so files hold them, and a file must not be refused for them. One
line each, with receiver and key and without any value, since some of these values are secrets; told whenever a file is
put in force.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubernaut_notification.delivery.email import parse_smarthost
from kubernaut_notification.delivery.http import is_webhook_url
from kubernaut_notification.delivery.mime import parse_addresses
from kubernaut_notification.delivery.pagerduty import SEVERITIES
from kubernaut_notification.routing.config import (
    EmailConfig,
    FileConfig,
    PagerDutyConfig,
    Receiver,
    Route,
    RoutingConfig,
    SwitchConfig,
    WebhookConfig,
)

_NO_EFFECT = "has no effect"
_INLINE = "is a secret in the routing file; put it into a credential file and name that in credentialRef"
_LOST = "every delivery will fail for good"


def advice(config: RoutingConfig) -> list[str]:
    """Return the warnings about `config`, in the order of the file."""
    lines = [f"{path}: {_NO_EFFECT}; notifications are not grouped" for path in _grouped(config.route, "route")]
    for index, receiver in enumerate(config.receivers):
        lines += [f"receivers[{index}] ({receiver.name!r}).{line}" for line in _of_receiver(receiver)]
    return lines


def _grouped(route: Route, where: str) -> Iterator[str]:
    grouping = {
        "groupBy": route.group_by,
        "groupWait": route.group_wait,
        "groupInterval": route.group_interval,
        "repeatInterval": route.repeat_interval,
    }
    yield from (f"{where}.{key}" for key, value in grouping.items() if value)
    for index, child in enumerate(route.routes):
        if child is not None:
            yield from _grouped(child, f"{where}.routes[{index}]")


def _of_receiver(receiver: Receiver) -> Iterator[str]:
    for index, slack in enumerate(receiver.slack_configs):
        inline = {"channel": slack.channel, "username": slack.username, "iconEmoji": slack.icon_emoji}
        for key, value in inline.items():
            if value:
                yield f"slackConfigs[{index}].{key}: {_NO_EFFECT}; the webhook itself decides"
    for index, pagerduty in enumerate(receiver.pagerduty_configs):
        yield from (f"pagerdutyConfigs[{index}].{line}" for line in _of_pagerduty(pagerduty))
    for index, email in enumerate(receiver.email_configs):
        yield from (f"emailConfigs[{index}].{line}" for line in _of_email(email))
    for index, webhook in enumerate(receiver.webhook_configs):
        yield from (f"webhookConfigs[{index}].{line}" for line in _of_webhook(webhook))
    switches: dict[str, tuple[SwitchConfig | FileConfig, ...]] = {
        "consoleConfigs": receiver.console_configs,
        "fileConfigs": receiver.file_configs,
        "logConfigs": receiver.log_configs,
    }
    for kind, entries in switches.items():
        for index, entry in enumerate(entries):
            if not entry.enabled:
                yield f"{kind}[{index}].enabled: {_NO_EFFECT}; remove the entry to switch the channel off"
    for index, file in enumerate(receiver.file_configs):
        if file.path:
            yield f"fileConfigs[{index}].path: {_NO_EFFECT}; files go to the controller's delivery.file.outputDir"


def _of_pagerduty(entry: PagerDutyConfig) -> Iterator[str]:
    if entry.severity and entry.severity not in SEVERITIES:
        yield f"severity: {_NO_EFFECT}, since it is none of {', '.join(SEVERITIES)}; the priority decides"
    if entry.url and not is_webhook_url(entry.url):
        yield f"url: is not an http(s) address; {_LOST}"


def _of_email(entry: EmailConfig) -> Iterator[str]:
    for key, text in (("to", entry.to), ("from", entry.from_)):
        try:
            parse_addresses(text)
        except ValueError:
            yield f"{key}: holds no usable address; {_LOST}"
    try:
        parse_smarthost(entry.smarthost)
    except ValueError:
        yield f"smarthost: is not host:port; {_LOST}"
    if not entry.require_tls:
        yield "requireTls: is false; mails go out in clear text where the server offers no STARTTLS"


def _of_webhook(entry: WebhookConfig) -> Iterator[str]:
    http = entry.http_config
    if not entry.url and not entry.url_ref:
        yield f"url: is empty, and so is urlRef; {_LOST}"
    elif entry.url and not is_webhook_url(entry.url):
        yield f"url: is not an http(s) address; {_LOST}"
    if http and http.bearer_token:
        yield f"httpConfig.bearerToken: {_INLINE}"
        if http.basic_auth:
            yield f"httpConfig.basicAuth: {_NO_EFFECT} beside bearerToken; remove one"
    elif http and http.basic_auth:
        if http.basic_auth.password:
            yield f"httpConfig.basicAuth.password: {_INLINE}"
        if not http.basic_auth.username:
            yield "httpConfig.basicAuth.username: is empty; the password or credentialRef is sent as a bearer token"

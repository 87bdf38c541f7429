"""Channel key -> channel: what the process can deliver to.

Built-in channels (console, file, log) are registered once, from the config file. Channels of receivers are built from
the routing table and replaced as a whole with it. A new kind of channel is one entry in the mapping of builders.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import aiohttp

from kubernaut_notification.config import DeliverySection
from kubernaut_notification.delivery.channel import Channel, PermanentError
from kubernaut_notification.delivery.console import ConsoleChannel
from kubernaut_notification.delivery.credentials import CredentialStore, InlineSecret, Secret
from kubernaut_notification.delivery.email import EmailChannel, Mailbox
from kubernaut_notification.delivery.file import FileChannel
from kubernaut_notification.delivery.http import HttpPoster
from kubernaut_notification.delivery.log import LogChannel
from kubernaut_notification.delivery.pagerduty import PagerDutyChannel
from kubernaut_notification.delivery.slack import SlackChannel
from kubernaut_notification.delivery.teams import TeamsChannel
from kubernaut_notification.delivery.webhook import Authorization, WebhookChannel
from kubernaut_notification.routing.config import (
    EmailConfig,
    PagerDutyConfig,
    SlackConfig,
    TeamsConfig,
    WebhookConfig,
)
from kubernaut_notification.routing.router import ChannelEntry

ConfigT = TypeVar("ConfigT")
Builder = Callable[[ChannelEntry], Channel]
"""Makes the channel for one entry of a receiver."""

_OFF = {
    "file": "set delivery.file.outputDir in the controller's config",
    "log": "set delivery.log.enabled in the controller's config",
}


class ChannelRegistry:
    """The channels of this process. `builders` maps channel types to what makes a receiver's channel of that type."""

    def __init__(self, builders: Mapping[str, Builder] | None = None) -> None:
        self._builders = dict(builders or {})
        self._built_in: dict[str, Channel] = {}
        self._routed: dict[str, Channel] = {}

    def register(self, key: str, channel: Channel) -> None:
        """Put a built-in channel under `key`, in the place of one that was there."""
        self._built_in[key] = channel

    def unregister(self, key: str) -> None:
        """Take a built-in channel out; harmless if there is none."""
        self._built_in.pop(key, None)

    def replace_routed(self, entries: Iterable[ChannelEntry]) -> None:
        """Build the channels of the routing table's `entries`; those of the table before are gone."""
        self._routed = {
            entry.key: self._builders[entry.type](entry) for entry in entries if entry.type in self._builders
        }

    def keys(self) -> list[str]:
        """Return the keys of all channels, sorted."""
        return sorted({*self._built_in, *self._routed})

    def channel(self, key: str) -> Channel:
        """Return the channel under `key`. Raises `PermanentError` naming the key if there is none."""
        found = self._routed.get(key) or self._built_in.get(key)
        if found is None:
            hint = f" ({_OFF[key]})" if key in _OFF else ""
            raise PermanentError(f"channel not registered: {key}{hint}", reason="not_registered")
        return found


def http_session() -> aiohttp.ClientSession:
    """Return the session that all HTTP channels share: system certificates, no cookies.

    It trusts nothing of the environment: aiohttp would take passwords from a `.netrc`, too. Proxies are the poster's.
    How many calls are under way each receiver's lane bounds; a bound for all together would let some slow receivers
    take the connections of the others. The caller closes it.
    """
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _builders(credentials: CredentialStore, session: aiohttp.ClientSession, timeout: float) -> dict[str, Builder]:
    """Return what makes a receiver's channels; `timeout` is for one call of any of them."""
    tls = ssl.create_default_context()

    def poster(name: str) -> HttpPoster:
        return HttpPoster(name, session, timeout=timeout)

    def slack(entry: ChannelEntry) -> Channel:
        return SlackChannel(credentials.secret(_config(entry, SlackConfig).credential_ref), poster("slack"))

    def pagerduty(entry: ChannelEntry) -> Channel:
        config = _config(entry, PagerDutyConfig)
        key = credentials.secret(config.credential_ref)
        return PagerDutyChannel(key, poster("pagerduty"), url=config.url, severity=config.severity)

    def teams(entry: ChannelEntry) -> Channel:
        return TeamsChannel(credentials.secret(_config(entry, TeamsConfig).credential_ref), poster("teams"))

    def webhook(entry: ChannelEntry) -> Channel:
        config = _config(entry, WebhookConfig)
        advice = f"set url or urlRef in the webhookConfigs of receiver {entry.receiver!r}"
        url = credentials.secret(config.url_ref) if config.url_ref else InlineSecret(config.url, advice)
        proof: Secret | None = None
        if config.credential_ref:
            proof = credentials.secret(config.credential_ref)
        elif config.inline_secret or config.username:
            advice = f"set credentialRef in the webhookConfigs of receiver {entry.receiver!r}"
            proof = InlineSecret(config.inline_secret, advice)
        return WebhookChannel(url, poster("webhook"), Authorization(proof, config.username) if proof else None)

    def email(entry: ChannelEntry) -> Channel:
        config = _config(entry, EmailConfig)
        mailbox = Mailbox(
            to=config.to,
            sender=config.from_,
            smarthost=config.smarthost,
            require_tls=config.require_tls,
            username=config.auth_username,
            password=credentials.secret(config.credential_ref) if config.credential_ref else None,
        )
        return EmailChannel(mailbox, tls, timeout=timeout)

    return {"slack": slack, "pagerduty": pagerduty, "teams": teams, "webhook": webhook, "email": email}


def _config(entry: ChannelEntry, kind: type[ConfigT]) -> ConfigT:
    if not isinstance(entry.config, kind):
        raise TypeError(f"cannot build {entry.key}: its entry is no {kind.__name__}")
    return entry.config


def build_registry(
    delivery: DeliverySection, credentials: CredentialStore, session: aiohttp.ClientSession
) -> ChannelRegistry:
    """Return a registry with the built-in channels that the config switches on, ready for a routing table."""
    registry = ChannelRegistry(_builders(credentials, session, delivery.slack.timeout))
    registry.register("console", ConsoleChannel())
    if delivery.file.output_dir is not None:
        registry.register("file", FileChannel(delivery.file.output_dir, delivery.file.format))
    if delivery.log.enabled:
        registry.register("log", LogChannel(delivery.log.format))
    return registry

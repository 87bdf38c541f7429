"""Channel key -> channel: what the process can deliver to.

Built-in channels (console, file, log) are registered once, from the config file. Channels of receivers are built from
the routing table and replaced as a whole with it. A new kind of channel is one entry in the mapping of builders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import aiohttp

from kubernaut_notification.config import DeliverySection
from kubernaut_notification.delivery.channel import Channel, PermanentError
from kubernaut_notification.delivery.console import ConsoleChannel
from kubernaut_notification.delivery.credentials import CredentialStore
from kubernaut_notification.delivery.file import FileChannel
from kubernaut_notification.delivery.http import HttpPoster
from kubernaut_notification.delivery.log import LogChannel
from kubernaut_notification.delivery.slack import SlackChannel
from kubernaut_notification.routing.config import SlackConfig
from kubernaut_notification.routing.router import ChannelEntry

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
    """Return the session that all HTTP channels share: system certificates, proxies from the environment, no cookies.

    The caller closes it.
    """
    return aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar())


def build_registry(
    delivery: DeliverySection, credentials: CredentialStore, session: aiohttp.ClientSession
) -> ChannelRegistry:
    """Return a registry with the built-in channels that the config switches on, ready for a routing table."""
    slack = HttpPoster("slack", session, timeout=delivery.slack.timeout)

    def build_slack(entry: ChannelEntry) -> Channel:
        reference = entry.config.credential_ref if isinstance(entry.config, SlackConfig) else ""
        return SlackChannel(lambda: credentials.get(reference), slack, reference)

    registry = ChannelRegistry({"slack": build_slack})
    registry.register("console", ConsoleChannel())
    if delivery.file.output_dir is not None:
        registry.register("file", FileChannel(delivery.file.output_dir, delivery.file.format))
    if delivery.log.enabled:
        registry.register("log", LogChannel(delivery.log.format))
    return registry

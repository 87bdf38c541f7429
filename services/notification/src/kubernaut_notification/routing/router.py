"""From a notification to channel keys, through the tree of the routing file.

The walk, which is the Go controller's and differs from Alertmanager's in three places (patterns are unanchored, a child
without a receiver does not inherit its parent's, a receiver without channels gets the console):

* the root's own matchers are not asked; its children are, in order, depth first;
* `match` needs equality for every key, a missing attribute reading as the empty text; `matchRe` needs the attribute;
* a matching child contributes what its own children contribute, else its receiver;
* the first matching child ends its level unless it says `continue`;
* nobody matched: the root's receiver. A child that matched, contributed nothing and ended the walk: the console.

Receivers count once, and so do channel keys: two receivers that both name the console deliver there once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kubernaut_api import NotificationRequest
from kubernaut_notification.routing.attributes import attributes_of
from kubernaut_notification.routing.config import Receiver, Route, RoutingConfig
from kubernaut_notification.routing.patterns import Pattern

FALLBACK_RECEIVER = "default-console-fallback"
"""Name of the receiver that stands in where routing names none."""

CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class ChannelEntry:
    """One channel that a receiver asks for: its key, its type, its receiver's entry (None when it stands in)."""

    key: str
    type: str
    receiver: str
    config: object | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    """Whom a notification goes to: receiver names and channel keys, each once and in order, and why.

    `fallback` is True only when the built-in console receiver had to stand in.
    """

    receivers: tuple[str, ...]
    channels: tuple[str, ...]
    attributes: Mapping[str, str]
    fallback: bool = False


def channel_entries(receiver: Receiver) -> list[ChannelEntry]:
    """Return the channels of `receiver`, in the fixed order of types.

    What leads out of the cluster has keys `type:receiver`, numbered from 0 behind a colon when there are several;
    console, file and log have their bare type, once.
    """
    entries: list[ChannelEntry] = []
    outward: tuple[tuple[str, Sequence[object]], ...] = (
        ("slack", receiver.slack_configs),
        ("pagerduty", receiver.pagerduty_configs),
        ("teams", receiver.teams_configs),
        ("email", receiver.email_configs),
        ("webhook", receiver.webhook_configs),
    )
    for kind, configs in outward:
        for index, config in enumerate(configs):
            number = f":{index}" if len(configs) > 1 else ""
            entries.append(ChannelEntry(f"{kind}:{receiver.name}{number}", kind, receiver.name, config))
    bare: tuple[tuple[str, Sequence[object]], ...] = (
        (CONSOLE, receiver.console_configs),
        ("file", receiver.file_configs),
        ("log", receiver.log_configs),
    )
    entries += [ChannelEntry(kind, kind, receiver.name, configs[0]) for kind, configs in bare if configs]
    return entries or [ChannelEntry(CONSOLE, CONSOLE, receiver.name)]


class _Node:
    """A route with its patterns compiled."""

    __slots__ = ("children", "patterns", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.patterns = {key: Pattern(text) for key, text in route.match_re.items()}
        self.children = [_Node(child) for child in route.routes if child is not None]

    def matches(self, attributes: Mapping[str, str]) -> bool:
        if any(attributes.get(key, "") != value for key, value in self.route.match.items()):
            return False
        return all(key in attributes and pattern.found_in(attributes[key]) for key, pattern in self.patterns.items())

    def below(self, attributes: Mapping[str, str]) -> tuple[list[str], bool]:
        """Return the receivers that the children contribute, and whether one of them ended the level."""
        found: list[str] = []
        for child in self.children:
            if not child.matches(attributes):
                continue
            nested, _ = child.below(attributes)
            if nested:
                found += nested
            elif child.route.receiver:
                found.append(child.route.receiver)
            if not child.route.continue_:
                return found, True
        return found, False


class Router:
    """One routing file, compiled; it never changes. `config` must have passed `load_routing`."""

    def __init__(self, config: RoutingConfig) -> None:
        self.config = config
        self._root = _Node(config.route)
        self._receivers = {receiver.name: receiver for receiver in config.receivers}

    def receivers_for(self, attributes: Mapping[str, str]) -> list[str]:
        """Return the names of the receivers for `attributes`, each once; empty if routing names none."""
        found, ended = self._root.below(attributes)
        if not found and not ended and self.config.route.receiver:
            found = [self.config.route.receiver]
        return list(dict.fromkeys(found))

    def resolve(self, nr: NotificationRequest) -> Resolution:
        """Return whom `nr` goes to; there is always at least one channel."""
        attributes = attributes_of(nr)
        names = self.receivers_for(attributes)
        if not names:
            return Resolution((FALLBACK_RECEIVER,), (CONSOLE,), attributes, fallback=True)
        keys = dict.fromkeys(entry.key for name in names for entry in channel_entries(self._receivers[name]))
        return Resolution(tuple(names), tuple(keys), attributes)

    def entries(self) -> Iterator[ChannelEntry]:
        """Yield every channel that any receiver asks for; of receivers with the same name the last counts."""
        for receiver in self._receivers.values():
            yield from channel_entries(receiver)

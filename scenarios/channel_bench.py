"""A workbench for channels: a routing file, a folder of credentials, and the registry that is built from them."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from kubernaut_api import NotificationRequest
from kubernaut_notification.config import NotificationConfig
from kubernaut_notification.delivery.channel import DeliveryError
from kubernaut_notification.delivery.credentials import CredentialStore
from kubernaut_notification.delivery.deliverer import Deliverer
from kubernaut_notification.delivery.message import Message, prepare
from kubernaut_notification.delivery.registry import build_registry
from kubernaut_notification.routing.table import RoutingTable
from kubernaut_runtime.clock import SystemClock

NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


class Bench:
    """Channels as the process builds them. Every receiver is named `ops`."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession, **delivery: Any) -> None:
        self.folder = folder
        self.credentials = CredentialStore(folder)
        section = NotificationConfig.model_validate({"delivery": delivery}).delivery
        self.registry = build_registry(section, self.credentials, session)
        self.table = RoutingTable(self.credentials)
        self.table.follow(lambda router: self.registry.replace_routed(router.entries()))

    def put(self, name: str, value: str) -> None:
        """Write a credential as the kubelet does: whole."""
        temporary = self.folder / f".{name}"
        temporary.write_text(value)
        temporary.replace(self.folder / name)

    def route(self, **configs: Any) -> None:
        """Put a routing file in force whose only receiver has these entries."""
        receiver = {"name": "ops", **configs}
        self.table.load(yaml.safe_dump({"route": {"receiver": "ops"}, "receivers": [receiver]}), "routing.yaml")

    def deliverer(self) -> Deliverer:
        """What the process calls channels through."""
        return Deliverer(self.registry, SystemClock())

    async def attempt(self, key: str, nr: NotificationRequest, number: int = 1) -> DeliveryError | None:
        """Deliver once; returns the error, if any."""
        try:
            await self.registry.channel(key).deliver(Message(prepare(nr), key, number, NOW))
        except DeliveryError as error:
            return error
        return None


def shown(error: DeliveryError) -> str:
    """Everything that a log or a status could show of an error."""
    return error.text + repr(error) + "".join(traceback.format_exception(error))

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from kubernaut_api import NotificationRequest
from kubernaut_notification.config import DeliverySection, NotificationConfig
from kubernaut_notification.delivery.announcement import Announced
from kubernaut_notification.delivery.channel import PermanentError
from kubernaut_notification.delivery.credentials import CredentialStore
from kubernaut_notification.delivery.deliverer import Deliverer
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.registry import ChannelRegistry, build_registry, http_session
from kubernaut_notification.routing.table import RoutingTable
from kubernaut_runtime.clock import SystemClock


class Silent:
    async def deliver(self, message: Message) -> None:
        return


async def registry_for(tmp_path: Path, delivery: dict[str, object]) -> ChannelRegistry:
    section: DeliverySection = NotificationConfig.model_validate({"delivery": delivery}).delivery
    async with http_session() as session:
        return build_registry(section, CredentialStore(tmp_path), session)


async def test_the_console_is_always_there(tmp_path: Path) -> None:
    assert (await registry_for(tmp_path, {"console": {"enabled": False}})).keys() == ["console"]


async def test_file_and_log_are_there_when_they_are_switched_on(tmp_path: Path) -> None:
    delivery = {"file": {"outputDir": str(tmp_path)}, "log": {"enabled": True}}
    assert (await registry_for(tmp_path, delivery)).keys() == ["console", "file", "log"]


@pytest.mark.parametrize(
    ("key", "hint"), [("sms", ""), ("file", r"set delivery\.file\.outputDir"), ("log", r"set delivery\.log\.enabled")]
)
@pytest.mark.behaviour(56)
def test_an_unknown_key_is_a_permanent_error_that_names_it(key: str, hint: str) -> None:
    with pytest.raises(PermanentError, match=f"channel not registered: {key}.*{hint}"):
        ChannelRegistry().channel(key)


@pytest.mark.behaviour(56)
def test_unregistering_an_unknown_key_is_harmless_and_registering_again_replaces() -> None:
    registry, first, second = ChannelRegistry(), Silent(), Silent()
    registry.unregister("console")
    registry.register("console", first)
    registry.register("console", second)
    assert registry.channel("console") is second
    registry.unregister("console")
    assert registry.keys() == []


@pytest.mark.behaviour(65)
async def test_a_new_routing_table_takes_the_old_channels_away(tmp_path: Path) -> None:
    registry = await registry_for(tmp_path, {})
    table = RoutingTable()
    table.follow(lambda router: registry.replace_routed(router.entries()))
    three = ", ".join(f"{{name: {name}, slackConfigs: [{{credentialRef: c}}]}}" for name in "abc")
    table.load(f"route: {{receiver: a}}\nreceivers: [{three}]", "f")
    assert registry.keys() == ["console", "slack:a", "slack:b", "slack:c"]
    table.load("route: {receiver: b}\nreceivers: [{name: b, slackConfigs: [{credentialRef: c}]}]", "f")
    assert registry.keys() == ["console", "slack:b"]


async def test_an_entry_that_lacks_its_address_is_a_channel_all_the_same(tmp_path: Path) -> None:
    registry = await registry_for(tmp_path, {})
    table = RoutingTable()
    table.follow(lambda router: registry.replace_routed(router.entries()))
    table.load("route: {receiver: a}\nreceivers: [{name: a, emailConfigs: [{to: x}], webhookConfigs: [{}]}]", "f")
    assert registry.keys() == ["console", "email:a", "webhook:a"]


async def test_a_slack_channel_without_its_credential_fails_for_good_and_says_which(
    tmp_path: Path, make_nr: Callable[..., NotificationRequest], now: datetime
) -> None:
    registry = await registry_for(tmp_path, {})
    table = RoutingTable()
    table.follow(lambda router: registry.replace_routed(router.entries()))
    table.load("route: {receiver: a}\nreceivers: [{name: a, slackConfigs: [{credentialRef: hook}]}]", "f")
    with pytest.raises(PermanentError, match=r"slack webhook URL is empty.*'hook'"):
        await registry.channel("slack:a").deliver(Message(make_nr(), "slack:a", 1, now))


@pytest.mark.behaviour(54)
async def test_console_file_and_log_together_make_three_attempts_and_one_file(
    tmp_path: Path, make_nr: Callable[..., NotificationRequest], now: datetime
) -> None:
    output = tmp_path / "delivered"
    registry = await registry_for(tmp_path, {"file": {"outputDir": str(output)}, "log": {"enabled": True}})
    announced = [Announced(key, 1, now) for key in ("console", "file", "log")]
    attempts = await Deliverer(registry, SystemClock()).deliver(make_nr(), announced)
    assert [(attempt.channel, attempt.status) for attempt in attempts] == [
        ("console", "success"),
        ("file", "success"),
        ("log", "success"),
    ]
    (file,) = output.iterdir()
    assert json.loads(file.read_text())["metadata"]["name"] == "nr-a"
    assert len(await Deliverer(registry, SystemClock()).deliver(make_nr(), announced[2:])) == 1


async def test_slow_receivers_cannot_take_the_connections_of_the_others() -> None:
    async with http_session() as session:
        assert session.connector is not None
        assert session.connector.limit == 0

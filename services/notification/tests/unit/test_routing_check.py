"""`--check-config` of the routing file and the credentials."""

import hashlib
from pathlib import Path

import pytest

from kubernaut_notification.app import OPERATOR
from kubernaut_notification.config import CredentialsSection, DeliverySection, NotificationConfig
from kubernaut_notification.routing.check import check_routing, find_routing_file, routing_facts

ROUTING = """
route: {receiver: team}
receivers:
  - name: team
    slackConfigs: [{credentialRef: slack-webhook}]
"""


@pytest.fixture
def routing(tmp_path: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text(ROUTING)
    return path


@pytest.fixture
def config(tmp_path: Path) -> NotificationConfig:
    folder = tmp_path / "credentials"
    folder.mkdir()
    return NotificationConfig(delivery=DeliverySection(credentials=CredentialsSection(dir=folder)))


def check(config: NotificationConfig, routing: Path) -> list[str]:
    return check_routing(config, {"ROUTING_CONFIG_PATH": str(routing)})


def test_the_operator_asks_for_it() -> None:
    assert OPERATOR.check is check_routing


def test_a_routing_file_whose_credentials_are_there_is_right(config: NotificationConfig, routing: Path) -> None:
    (config.delivery.credentials.dir / "slack-webhook").write_text("https://hooks.example.com/x")
    assert check(config, routing) == []


def test_a_missing_credential_is_named_with_its_folder(config: NotificationConfig, routing: Path) -> None:
    (finding,) = check(config, routing)
    assert finding.startswith(f"cannot load routing file {routing}: no credential in {config.delivery.credentials.dir}")
    assert "slack-webhook" in finding


def test_every_mistake_of_the_file_is_told(config: NotificationConfig, routing: Path) -> None:
    routing.write_text("route: {receiver: gone, routes: [{matchRe: {type: '('}}]}\nreceivers: [{name: team}]\n")
    assert ["gone" in line or "RE2" in line for line in check(config, routing)] == [True, True]


def test_a_misspelt_key_is_a_mistake_and_told_with_the_right_one(config: NotificationConfig, routing: Path) -> None:
    routing.write_text(ROUTING.replace("slackConfigs", "slackConfig"))
    assert check(config, routing) == [
        f"cannot load routing file {routing}: receivers[0].slackConfig: unknown key, "
        "did you mean receivers[0].slackConfigs?"
    ]


def test_a_named_file_that_is_not_there_is_a_mistake(config: NotificationConfig, tmp_path: Path) -> None:
    (finding,) = check(config, tmp_path / "none.yaml")
    assert finding.startswith("cannot read routing file")


def test_what_was_looked_at_is_told_without_what_the_credentials_hold(
    config: NotificationConfig, routing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = config.delivery.credentials.dir
    (folder / "slack-webhook").write_text("https://hooks.example.com/secret")
    monkeypatch.setenv("ROUTING_CONFIG_PATH", str(routing))
    assert OPERATOR.facts
    assert OPERATOR.facts(config) == [
        ("watches", "notificationrequests.kubernaut.ai of the namespace"),
        ("routing", f"{routing}, sha256 {hashlib.sha256(routing.read_bytes()).hexdigest()}"),
        ("channels", "slack 1"),
        ("credentials", f"{folder}: slack-webhook"),
    ]


def test_without_a_file_the_console_is_told(config: NotificationConfig) -> None:
    if find_routing_file({}) is not None:
        pytest.skip("this machine has a routing file at the default path")
    assert routing_facts(config, {})[1] == ("channels", "console 1")


def test_no_file_at_the_default_path_is_none(config: NotificationConfig) -> None:
    if find_routing_file({}) is not None:
        pytest.skip("this machine has a routing file at the default path")
    assert check_routing(config, {}) == []

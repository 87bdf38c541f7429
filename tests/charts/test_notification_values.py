"""What only the Notification chart has: routing, Slack, credentials, the folder of the file channel."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kubernaut_notification.routing.config import load_routing
from kubernaut_testing.helm import HelmError

from .rendered import config_of, egress, followed_text, mounts_of, only, volumes_of
from .services import NOTIFICATION, Charted, Objects


@pytest.fixture
def service() -> Charted:
    return NOTIFICATION


def routing_of(objects: Objects) -> str:
    return followed_text(NOTIFICATION, objects, "routing")


def credentials_of(objects: Objects) -> dict[str, Any]:
    return volumes_of(objects)["credentials"]


def test_names_that_yaml_takes_for_something_else_stay_names(render: Any) -> None:
    objects = render(slack={"secretName": "1e3", "secretKey": "on"}, routing={"existingConfigMap": "007"})
    secret = credentials_of(objects)["projected"]["sources"][0]["secret"]
    assert (secret["name"], secret["items"][0]["key"]) == ("1e3", "on")
    assert volumes_of(objects)["routing"]["configMap"]["name"] == "007"


def test_config_overrides_the_values_of_the_channels(service: Charted, render: Any) -> None:
    objects = render(config={"delivery": {"log": {"enabled": False}, "file": {"outputDir": ""}}})
    delivery = config_of(service, objects)["delivery"]
    assert delivery["log"] == {"enabled": False, "format": "json"}
    assert delivery["file"]["outputDir"] == ""


def test_the_file_channel_writes_to_a_volume_where_the_config_file_says(render: Any) -> None:
    assert mounts_of(render(config={"delivery": {"file": {"outputDir": "/data/out"}}}))["output"] == "/data/out"
    assert mounts_of(render())["output"] == "/tmp/notifications"


@pytest.mark.parametrize("values", [{"outputDir": ""}, None], ids=["switched off", "null"])
def test_without_the_file_channel_there_is_nothing_to_write_to(render: Any, values: Any) -> None:
    objects = render(delivery={"file": values})
    assert "output" not in volumes_of(objects)
    assert mounts_of(objects)["credentials"] == "/etc/notification/credentials"


@pytest.mark.parametrize("values", [{"delivery": None}, {"config": {"delivery": {"credentials": None}}}], ids=str)
def test_the_folder_of_credentials_is_there_whatever_is_null(render: Any, values: dict[str, Any]) -> None:
    assert mounts_of(render(values))["credentials"] == "/etc/notification/credentials"


def test_another_routing_does_not_roll_the_pods(render: Any) -> None:
    slack = {"secretName": "slack"}
    templates = [
        only(render(slack=slack, **more), "Deployment")["spec"]["template"]
        for more in ({}, {"routing": {"content": "route: {}"}})
    ]
    assert templates[0] == templates[1]


def test_the_default_routing_is_the_console(render: Any) -> None:
    routing = load_routing(routing_of(render()), "routing.yaml")
    assert routing.route.receiver == "default-console"
    assert [receiver.name for receiver in routing.receivers] == ["default-console"]


def test_the_slack_values_make_a_receiver_and_its_credential(render: Any) -> None:
    objects = render(slack={"secretName": "my-slack", "secretKey": "url", "channel": "#ops"})
    routing = load_routing(routing_of(objects), "routing.yaml")
    (receiver,) = routing.receivers
    assert (receiver.name, routing.route.receiver) == ("slack-and-console", "slack-and-console")
    (slack,) = receiver.slack_configs
    assert (slack.channel, slack.credential_ref) == ("", "slack-webhook")  # a channel would be warned of
    assert len(receiver.console_configs) == 1
    (source,) = credentials_of(objects)["projected"]["sources"]
    assert source["secret"] == {
        "name": "my-slack", "optional": False, "items": [{"key": "url", "path": "slack-webhook"}],
    }  # fmt: skip


def test_content_wins_over_slack_and_an_existing_config_map_over_both(render: Any) -> None:
    content = "route: {receiver: r}\nreceivers: [{name: r}]\n"
    both = render(slack={"secretName": "s"}, routing={"content": content})
    assert yaml.safe_load(routing_of(both)) == yaml.safe_load(content)
    assert "projected" in credentials_of(both)
    existing = render(slack={"secretName": "s"}, routing={"content": content, "existingConfigMap": "my-routing"})
    assert ("ConfigMap", "notification-routing-config") not in existing
    assert volumes_of(existing)["routing"]["configMap"]["name"] == "my-routing"


def test_credentials_become_files_called_as_the_routing_file_calls_them(render: Any) -> None:
    assert "emptyDir" in credentials_of(render())
    sources = credentials_of(render(credentials=[{"name": "a", "secretName": "x"}]))["projected"]["sources"]
    assert sources[0]["secret"]["items"] == [{"key": "webhook-url", "path": "a"}]


def test_a_credential_named_twice_is_refused(render: Any) -> None:
    with pytest.raises(HelmError, match='"slack-webhook" is named twice'):
        render(slack={"secretName": "s"}, credentials=[{"name": "slack-webhook", "secretName": "x"}])


@pytest.mark.parametrize("how", ["delivery", "config"])
def test_the_folder_of_credentials_is_mounted_where_the_program_looks(service: Charted, render: Any, how: str) -> None:
    moved = {"delivery": {"credentials": {"dir": "/creds"}}}
    objects = render(moved if how == "delivery" else {"config": moved})
    assert (
        mounts_of(objects)["credentials"] == config_of(service, objects)["delivery"]["credentials"]["dir"] == "/creds"
    )


def test_files_and_audit_in_one_folder_share_one_volume(render: Any) -> None:
    objects = render(
        delivery={"file": {"outputDir": "/data/"}}, audit={"file": "/data/audit.jsonl"}, fileVolume={"emptyDir": {}}
    )
    assert list(mounts_of(objects).values()).count("/data") == 1
    assert "audit" not in volumes_of(objects)


def test_ports_that_nobody_is_to_be_called_at_have_no_rule(render: Any) -> None:
    nobody = {"externalWebhooks": {"ports": []}, "smtp": {"ports": []}}
    assert egress(render(networkPolicy=nobody)) == [{53}, {443, 6443}]

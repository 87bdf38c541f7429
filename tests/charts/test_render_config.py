"""What the chart makes of the values for the program: its config file, routing, credentials and their mounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut_notification.config import NotificationConfig
from kubernaut_notification.routing.config import load_routing
from kubernaut_runtime.config import parse_config
from kubernaut_testing.helm import HelmError

from .rendered import EVERYTHING, NAME, config_of, credentials_of, egress, pod_spec, routing_of


def test_the_config_file_is_one_that_the_program_takes_without_a_warning(render: Any) -> None:
    loaded = parse_config(config_of(render(EVERYTHING)).encode(), Path("config.yaml"), NotificationConfig, strict=True)
    assert loaded.warnings == ()
    config = loaded.config
    assert config.controller.leader_election
    assert config.datastorage is not None
    assert config.datastorage.health_url == "https://data-storage-service:8443/readyz"
    assert str(config.audit.file) == "/var/log/kubernaut/audit.jsonl"


def test_without_an_address_the_config_file_has_no_data_storage(render: Any) -> None:
    assert "datastorage" not in yaml.safe_load(config_of(render()))


def test_config_overrides_every_other_value_and_keeps_false_zero_and_empty(render: Any) -> None:
    text = config_of(
        render(
            controller={"leaderElection": True},
            datastorage={"url": "http://ds:8080", "buffer": {"maxRetries": 5}},
            config={
                "controller": {"leaderElection": False, "metricsAddr": ":9999"},
                "delivery": {"log": {"enabled": False}, "file": {"outputDir": ""}},
                "datastorage": {"buffer": {"maxRetries": 0}},
                "tlsProfile": "Modern",
            },
        )
    )
    config = yaml.safe_load(text)
    assert config["controller"]["leaderElection"] is False
    assert config["delivery"]["log"] == {"enabled": False, "format": "json"}
    assert config["delivery"]["file"]["outputDir"] == ""
    assert config["datastorage"]["buffer"] == {
        "maxRetries": 0, "bufferSize": 10000, "batchSize": 100, "flushInterval": "1s",
    }  # fmt: skip
    assert config["tlsProfile"] == "Modern"


def test_ports_and_mounts_follow_the_config_file(render: Any) -> None:
    objects = render(
        config={
            "controller": {"metricsAddr": "0.0.0.0:9999", "healthProbeAddr": ":8888"},
            "delivery": {"file": {"outputDir": "/data/out"}, "credentials": {"dir": "/secrets"}},
        }
    )
    (container,) = pod_spec(objects)["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"metrics": 9999, "health": 8888}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert (mounts["output"], mounts["credentials"]) == ("/data/out", "/secrets")


def test_without_the_file_channel_there_is_nothing_to_write_to(render: Any) -> None:
    spec = pod_spec(render(delivery={"file": {"outputDir": ""}}))
    assert "output" not in {volume["name"] for volume in spec["volumes"]}


def test_a_change_of_the_config_file_rolls_the_pods_and_no_other_does(render: Any) -> None:
    def template(**values: Any) -> Any:
        return render(**values)["Deployment", NAME]["spec"]["template"]

    before = template(slack={"secretName": "slack"})
    assert template(slack={"secretName": "slack", "channel": "#other"}) == before
    assert template(slack={"secretName": "slack"}, routing={"content": "route: {}"}) == before
    changed = template(slack={"secretName": "slack"}, controller={"maxConcurrentReconciles": 3})
    assert changed["metadata"]["annotations"]["checksum/config"] != before["metadata"]["annotations"]["checksum/config"]


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
    (volume,) = [volume for volume in pod_spec(existing)["volumes"] if volume["name"] == "routing"]
    assert volume["configMap"]["name"] == "my-routing"


def test_credentials_become_files_called_as_the_routing_file_calls_them(render: Any) -> None:
    assert "emptyDir" in credentials_of(render())
    sources = credentials_of(render(credentials=[{"name": "a", "secretName": "x"}]))["projected"]["sources"]
    assert sources[0]["secret"]["items"] == [{"key": "webhook-url", "path": "a"}]


def test_a_credential_named_twice_is_refused(render: Any) -> None:
    with pytest.raises(HelmError, match='"slack-webhook" is named twice'):
        render(slack={"secretName": "s"}, credentials=[{"name": "slack-webhook", "secretName": "x"}])


@pytest.mark.parametrize("how", ["delivery", "config"])
def test_the_folder_of_credentials_is_mounted_where_the_program_looks(render: Any, how: str) -> None:
    moved = {"delivery": {"credentials": {"dir": "/creds"}}}
    objects = render(moved if how == "delivery" else {"config": moved})
    mounts = {mount["name"]: mount["mountPath"] for mount in pod_spec(objects)["containers"][0]["volumeMounts"]}
    assert mounts["credentials"] == yaml.safe_load(config_of(objects))["delivery"]["credentials"]["dir"] == "/creds"


@pytest.mark.parametrize(
    "values",
    [
        {"controller": None},
        {"delivery": None},
        {"delivery": {"file": None}},
        {"datastorage": None},
        {"audit": None},
        {"logging": None},
        {"config": {"controller": None, "delivery": {"credentials": None}}},
        {"affinity": None},
    ],
    ids=str,
)
def test_a_section_that_is_null_is_left_to_the_program(render: Any, values: dict[str, Any]) -> None:
    objects = render(values)
    parse_config(config_of(objects).encode(), Path("config.yaml"), NotificationConfig, strict=True)
    mounts = [mount["mountPath"] for mount in pod_spec(objects)["containers"][0]["volumeMounts"]]
    assert "/etc/notification/credentials" in mounts
    assert ("/tmp/notifications" in mounts) is not ("delivery" in values)


def test_files_and_audit_in_one_folder_share_one_volume(render: Any) -> None:
    objects = render(
        delivery={"file": {"outputDir": "/data/"}}, audit={"file": "/data/audit.jsonl"}, fileVolume={"emptyDir": {}}
    )
    mounts = [mount["mountPath"] for mount in pod_spec(objects)["containers"][0]["volumeMounts"]]
    assert mounts.count("/data") == 1
    assert "/data/" not in mounts


@pytest.mark.parametrize("file", ["audit.jsonl", "/audit.jsonl"])
def test_an_audit_file_that_no_volume_can_hold_is_refused(render: Any, file: str) -> None:
    with pytest.raises(HelmError, match=r"cannot mount a volume for audit\.file="):
        render(audit={"file": file})


def test_data_storage_in_config_alone_is_completed_from_the_values(render: Any) -> None:
    objects = render(config={"datastorage": {"url": "http://ds:8080/", "timeout": "3s"}})
    rendered = yaml.safe_load(config_of(objects))["datastorage"]
    assert (rendered["healthUrl"], rendered["timeout"]) == ("http://ds:8080/readyz", "3s")
    assert rendered["buffer"]["batchSize"] == 100
    assert egress(objects)[2] == {8080}

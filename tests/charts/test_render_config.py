"""What each chart makes of the values for the program: its config file, the files that it follows, their mounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut_runtime.config import LoadedConfig, parse_config
from kubernaut_testing.helm import HelmError

from .rendered import config_of, config_text, container_of, egress, followed_text, mounts_of, only, pod_spec, volumes_of
from .services import Charted, merged


def parsed(service: Charted, objects: Any) -> LoadedConfig[Any]:
    """The config file as the program takes it, unknown keys being errors."""
    content = config_text(service, objects).encode()
    return parse_config(content, Path("config.yaml"), service.generated.config, strict=True)


def test_the_config_file_is_one_that_the_program_takes_without_a_warning(service: Charted, render: Any) -> None:
    loaded = parsed(service, render(service.everything))
    assert loaded.warnings == ()
    config = loaded.config
    assert config.controller.leader_election
    assert config.datastorage is not None
    assert config.datastorage.health_url == "https://data-storage-service:8443/readyz"
    assert str(config.audit.file) == "/var/log/kubernaut/audit.jsonl"


def test_without_an_address_the_config_file_has_no_data_storage(service: Charted, render: Any) -> None:
    assert "datastorage" not in config_of(service, render())


def test_config_overrides_every_other_value_and_keeps_false_zero_and_empty(service: Charted, render: Any) -> None:
    objects = render(
        controller={"leaderElection": True},
        datastorage={"url": "http://ds:8080", "buffer": {"maxRetries": 5}},
        config={
            "controller": {"leaderElection": False, "metricsAddr": ":9999"},
            "datastorage": {"buffer": {"maxRetries": 0}},
            "tlsProfile": "Modern",
        },
    )
    config = config_of(service, objects)
    assert config["controller"]["leaderElection"] is False
    assert config["datastorage"]["buffer"] == {
        "maxRetries": 0, "bufferSize": 10000, "batchSize": 100, "flushInterval": "1s",
    }  # fmt: skip
    assert config["tlsProfile"] == "Modern"


def test_ports_follow_the_config_file(render: Any) -> None:
    objects = render(config={"controller": {"metricsAddr": "0.0.0.0:9999", "healthProbeAddr": ":8888"}})
    ports = {port["name"]: port["containerPort"] for port in container_of(objects)["ports"]}
    assert ports == {"metrics": 9999, "health": 8888}


def test_a_change_of_the_config_file_rolls_the_pods(render: Any) -> None:
    before, after = (
        only(objects, "Deployment")["spec"]["template"]
        for objects in (render(), render(controller={"maxConcurrentReconciles": 3}))
    )
    assert before["metadata"]["annotations"].pop("checksum/config") != after["metadata"]["annotations"].pop(
        "checksum/config"
    )
    assert before == after


@pytest.mark.behaviour("W17", service="signalprocessing")
def test_followed_files_are_mounted_as_folders_of_their_own_config_maps(service: Charted, render: Any) -> None:
    """A file that is mounted by `subPath` never changes."""
    objects = render(service.everything)
    assert not [mount for mount in container_of(objects)["volumeMounts"] if "subPath" in mount]
    for volume, (name, key, folder) in service.followed.items():
        assert mounts_of(objects)[volume] == folder
        assert volumes_of(objects)[volume]["configMap"] == {"name": name}
        assert set(objects["ConfigMap", name]["data"]) == {key}
        assert followed_text(service, objects, volume).strip()


@pytest.mark.parametrize(
    "values",
    [
        {"controller": None},
        {"datastorage": None},
        {"audit": None},
        {"logging": None},
        {"config": {"controller": None}},
        {"affinity": None},
    ],
    ids=str,
)
def test_a_section_that_is_null_is_left_to_the_program(service: Charted, render: Any, values: dict[str, Any]) -> None:
    objects = render(values)
    parsed(service, objects)
    assert len(mounts_of(objects)) == len(mounts_of(render()))


def test_an_audit_file_gets_a_volume_that_can_be_written_to(service: Charted, render: Any) -> None:
    objects = render(audit={"file": "/var/log/kubernaut/audit.jsonl"}, auditVolume={"hostPath": {"path": "/audit"}})
    assert mounts_of(objects)["audit"] == "/var/log/kubernaut"
    assert volumes_of(objects)["audit"]["hostPath"] == {"path": "/audit"}
    assert "audit" not in mounts_of(render())


@pytest.mark.parametrize("file", ["audit.jsonl", "/audit.jsonl"])
def test_an_audit_file_that_no_volume_can_hold_is_refused(render: Any, file: str) -> None:
    with pytest.raises(HelmError, match=r"cannot mount a volume for audit\.file="):
        render(audit={"file": file})


def test_data_storage_in_config_alone_is_completed_from_the_values(service: Charted, render: Any) -> None:
    objects = render(config={"datastorage": {"url": "http://ds:8080/", "timeout": "3s"}})
    rendered = config_of(service, objects)["datastorage"]
    assert (rendered["healthUrl"], rendered["timeout"]) == ("http://ds:8080/readyz", "3s")
    assert rendered["buffer"]["batchSize"] == 100
    assert egress(objects)[2] == {8080}


def test_the_live_charts_config_file_can_be_given_as_it_is(service: Charted, render: Any) -> None:
    file = service.generated.role.parents[1] / "tests" / "live-config.yaml"
    live = yaml.safe_load(file.read_text())
    rendered = config_of(service, render(config=live))
    assert merged(rendered, live) == rendered
    assert pod_spec(render(config=live))["containers"]

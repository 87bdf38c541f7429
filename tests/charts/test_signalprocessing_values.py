"""What only the SignalProcessing chart has: the policy, the proactive signals, room for the policy's processes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from kubernaut_signalprocessing.config import SignalProcessingConfig
from kubernaut_testing.helm import HelmError

from .rendered import config_of, container_of, egress, followed_text, mounts_of, only, volumes_of
from .services import FLEET, POLICY, SIGNALPROCESSING, Charted


@pytest.fixture
def service() -> Charted:
    return SIGNALPROCESSING


def test_without_a_policy_nothing_is_installed_and_it_is_told_how_to_give_one(render: Any) -> None:
    words = r"cannot install without a policy: give its text \(--set-file policies\.content=policy\.rego\), or the name"
    for nothing in ({"content": ""}, {"content": None}):
        with pytest.raises(HelmError, match=words):
            render(policies=nothing)
    assert render(policies={"content": "", "existingConfigMap": "ours"})


@pytest.mark.parametrize(
    "fleet",
    [
        {"endpoint": "https://fleet"},
        {"oauth2": {"enabled": True, "tokenURL": "https://fleet/token"}},
        FLEET | {"oauth2": FLEET["oauth2"] | {"credentialsSecretRef": ""}},
    ],
    ids=["no authentication", "no reference", "an empty reference"],
)
def test_a_fleet_that_the_program_refuses_is_refused_before_it_is_installed(render: Any, fleet: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SignalProcessingConfig.model_validate({"fleet": fleet})
    for values in ({"fleet": fleet}, {"config": {"fleet": fleet}}):
        with pytest.raises(HelmError, match=r"cannot use a fleet without all of its authentication: set fleet\.oauth2"):
            render(values)
    assert SignalProcessingConfig.model_validate({"fleet": FLEET})
    assert render(fleet=FLEET)


@pytest.mark.behaviour("W17", service="signalprocessing")
def test_the_policy_is_mounted_byte_for_byte(service: Charted, render: Any) -> None:
    """`policyHash` in the status is that of the file that the user has."""
    text = followed_text(service, render(), "policies")
    assert hashlib.sha256(text.encode()).hexdigest() == hashlib.sha256(POLICY.encode()).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "  indented := 1\npackage p\n",
        "package p\n\n\tx := 1\n",
        "# {{ not a template }}\npackage p\n",
        '"quoted": `x`\n',
    ],
    ids=["indented", "tabs", "braces", "quotes"],
)
def test_a_policy_may_hold_what_yaml_or_helm_would_read_otherwise(service: Charted, render: Any, text: str) -> None:
    assert followed_text(service, render(policies={"content": text}), "policies") == text


@pytest.mark.parametrize(("value", "volume"), [("policies", "policies"), ("proactiveSignalMappings", "mappings")])
def test_an_existing_config_map_wins_over_content(service: Charted, render: Any, value: str, volume: str) -> None:
    objects = render({value: {"content": "x", "existingConfigMap": "007"}})
    assert volumes_of(objects)[volume]["configMap"] == {"name": "007"}
    assert ("ConfigMap", service.followed[volume][0]) not in objects


def test_the_program_is_told_what_the_policys_config_map_is_called(service: Charted, render: Any) -> None:
    def told(**policies: Any) -> str:
        name: str = config_of(service, render(policies=policies))["classifier"]["regoConfigMapName"]
        return name

    assert told() == "signalprocessing-policy"
    assert told(existingConfigMap="ours") == "ours"


@pytest.mark.parametrize("how", ["classifier", "config"])
def test_the_policy_is_mounted_where_the_program_looks(service: Charted, render: Any, how: str) -> None:
    moved = {"classifier": {"policyDir": "/policies", "regoConfigMapKey": "our.rego"}}
    objects = render(moved if how == "classifier" else {"config": moved})
    assert mounts_of(objects)["policies"] == "/policies"
    assert list(objects["ConfigMap", "signalprocessing-policy"]["data"]) == ["our.rego"]
    assert config_of(service, objects)["classifier"].items() >= moved["classifier"].items()


@pytest.mark.parametrize("values", [{"classifier": None}, {"config": {"classifier": None}}], ids=str)
def test_a_classifier_that_is_null_is_the_programs_own(render: Any, values: dict[str, Any]) -> None:
    objects = render(values)
    assert mounts_of(objects)["policies"] == "/etc/signalprocessing/policies"
    assert list(objects["ConfigMap", "signalprocessing-policy"]["data"]) == ["policy.rego"]


def test_the_mappings_are_where_the_environment_says(service: Charted, render: Any) -> None:
    objects = render(service.everything)
    env = {item["name"]: item.get("value") for item in container_of(objects)["env"]}
    name, key, folder = service.followed["mappings"]
    assert env["SIGNAL_MODE_CONFIG_PATH"] == f"{folder}/{key}"
    assert "PredictedOOMKill: OOMKilled" in objects["ConfigMap", name]["data"][key]


@pytest.mark.parametrize("content", ["", None], ids=["empty", "null"])
def test_without_mappings_their_file_is_empty_and_still_followed(service: Charted, render: Any, content: Any) -> None:
    objects = render(proactiveSignalMappings={"content": content})
    assert followed_text(service, objects, "mappings").strip() == ""
    assert volumes_of(objects)["mappings"]["configMap"]["name"] == service.followed["mappings"][0]


def test_another_policy_does_not_roll_the_pods(render: Any) -> None:
    templates = [
        only(render(policies={"content": text}), "Deployment")["spec"]["template"] for text in (POLICY, "package p\n")
    ]
    assert templates[0] == templates[1]


def test_the_policys_processes_have_a_folder_to_write_to(render: Any) -> None:
    objects = render()
    assert mounts_of(objects)["tmp"] == "/tmp"
    assert "emptyDir" in volumes_of(objects)["tmp"]


def test_nobody_but_the_cluster_is_called(render: Any) -> None:
    assert egress(render(fleet=FLEET)) == [{53}, {443, 6443}]

"""What pods get as files and variables: in time, changed as a node changes it, readable for whom it should be."""

from __future__ import annotations

import base64
import itertools
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_testing import eventually, stays
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.kubelet import Image, Settings
from kubernaut_testing.kubelet.environment import expand
from kubernaut_testing.kubelet.fields import parse_quantity
from kubernaut_testing.kubelet.images import find_image
from kubernaut_testing.kubelet.node import free_address
from kubernaut_testing.kubelet.volumes import write_atomically

from .tiny_pods import Pods

RULES = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
def pods(cluster: Cluster, cluster_namespace: str) -> Pods:
    return Pods(cluster, cluster_namespace)


def test_a_mounted_config_changes_in_one_step_and_a_sub_path_never(pods: Pods) -> None:
    pods.source("ConfigMap", "settings", **{"config.yaml": "one", "old": "x"})
    pods.source("Secret", "hook", url="https://one")
    volumes = [
        {"name": "config", "configMap": {"name": "settings"}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"secret": {"name": "hook", "items": [{"key": "url", "path": "deep/webhook"}]}},
                    {"secret": {"name": "nowhere", "optional": True}},
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ]
            },
        },
    ]
    mounts = [
        {"name": "config", "mountPath": "/etc/app"},
        {"name": "config", "mountPath": "/opt/pinned.yaml", "subPath": "config.yaml"},
        {"name": "all", "mountPath": "/etc/all"},
    ]
    name = pods.ready(pods.create("mounted", volumeMounts=mounts, pod={"volumes": volumes}))

    def read(path: str) -> str:
        return str(pods.call(name, "read", path=path))

    assert [read(path) for path in ("/etc/app/config.yaml", "/opt/pinned.yaml", "/etc/all/deep/webhook")] == [
        "one",
        "one",
        "https://one",
    ]
    assert pods.call(name, "write", path="/etc/app/config.yaml") == "OSError"
    pods.source("ConfigMap", "settings", **{"config.yaml": "two", "new": "y"})
    pods.source("Secret", "hook", url="https://two")
    eventually(lambda: read("/etc/app/config.yaml") == "two")
    eventually(lambda: read("/etc/all/deep/webhook") == "https://two")
    assert read("/etc/app/new") == "y"
    assert read("/etc/app/old") == "FileNotFoundError"
    label = {"metadata": {"labels": {"team": "blue"}}}
    pods.cluster.api.patch("v1", "Pod", pods.namespace, name, label)
    eventually(lambda: read("/etc/all/labels") == 'team="blue"')
    stays(lambda: read("/opt/pinned.yaml"), seconds=0.5)
    assert read("/opt/pinned.yaml") == "one"
    # What vanishes from the cluster stays in the mount of a pod that has it.
    pods.cluster.api.delete("v1", "ConfigMap", pods.namespace, "settings")
    stays(lambda: read("/etc/app/config.yaml"), seconds=1.2)
    # A restart binds the sub path anew, if the rest is there.
    pods.source("ConfigMap", "settings", **{"config.yaml": "three"})
    eventually(lambda: read("/etc/app/config.yaml") == "three")
    pods.cluster.kubelet.kill(pods.namespace, name)
    eventually(lambda: pods.container(name)["restartCount"] == 1)
    pods.ready(name)
    assert read("/opt/pinned.yaml") == "three"


def test_a_pod_waits_for_what_it_mounts_and_says_so(pods: Pods) -> None:
    volumes = [{"name": "config", "configMap": {"name": "late", "items": [{"key": "a", "path": "a"}]}}]
    name = pods.create("waiting", volumeMounts=[{"name": "config", "mountPath": "/etc/app"}], pod={"volumes": volumes})
    missing = 'MountVolume.SetUp failed for volume "config": configmap "late" not found'
    eventually(lambda: pods.waits(name, "ContainerCreating") == missing)
    eventually(lambda: f"FailedMount: {missing}" in pods.events(name))
    assert pods.get(name)["status"]["phase"] == "Pending"
    pods.source("ConfigMap", "late", b="1")
    eventually(lambda: 'references non-existent configmap key: a in "late"' in pods.waits(name, "ContainerCreating"))
    pods.source("ConfigMap", "late", a="1")
    pods.ready(name)
    assert pods.call(name, "read", path="/etc/app/a") == "1"


def test_a_file_is_readable_for_whom_its_mode_and_group_let(pods: Pods) -> None:
    pods.source("Secret", "key", key="secret")
    tight = [{"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}}]
    mounts = [{"name": "key", "mountPath": "/key"}]
    for name, security in {"closed": {}, "group": {"fsGroup": 65532}, "owner": {"runAsUser": 0}}.items():
        pods.create(name, volumeMounts=mounts, pod={"volumes": tight, "securityContext": security})
    read = {name: pods.call(pods.ready(name), "read", path="/key/key") for name in ("closed", "group", "owner")}
    assert read == {"closed": "PermissionError", "group": "secret", "owner": "secret"}


def test_variables_come_from_where_the_spec_says(pods: Pods) -> None:
    pods.source("ConfigMap", "plain", A="1", B="2")
    word = f"word-{pods.namespace}"
    pods.source("Secret", "hidden", B="secret", C=word)
    name = pods.create(
        "env",
        envFrom=[
            {"configMapRef": {"name": "plain"}},
            {"prefix": "S_", "secretRef": {"name": "hidden"}},
            {"secretRef": {"name": "nowhere", "optional": True}},
        ],
        env=[
            {"name": "A", "value": "own"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "B"}}},
            {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "plain", "key": "no", "optional": True}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
    )
    env = pods.call(pods.ready(name), "look")["env"]
    assert (env["A"], env["B"], env["S_C"], env["S_B"]) == ("own", "secret", word, "secret")
    assert (env["POD"], env["ACCOUNT"], env["NODE"]) == ("env", "default", "local")
    assert "NONE" not in env
    shown = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
    assert not any(word.encode() in line for line in shown), "a secret is on a command line"


def test_the_token_is_that_of_the_account_and_is_renewed(
    cluster: Cluster, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.kubelet, "settings", Settings(token_refresh=1.0))
    cluster.control_plane.service_account(pods.namespace, "reader", rules=RULES)
    name = pods.ready(pods.create("speaking", pod={"serviceAccountName": "reader"}))
    place = f"/api/v1/namespaces/{pods.namespace}"
    assert pods.call(name, "ask_api", path=f"{place}/configmaps/kube-root-ca.crt") == 200
    assert pods.call(name, "ask_api", path=f"{place}/secrets/any") == 403
    assert pods.call(name, "read", path=f"{ACCOUNT}/namespace") == pods.namespace
    first = pods.call(name, "read", path=f"{ACCOUNT}/token")
    payload = first.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["kubernetes.io"]["pod"]["name"] == name
    eventually(lambda: pods.call(name, "read", path=f"{ACCOUNT}/token") != first)
    assert pods.call(name, "ask_api", path=f"{place}/configmaps/kube-root-ca.crt") == 200

    silent = pods.ready(pods.create("silent", pod={"automountServiceAccountToken": False}))
    assert not pods.call(silent, "exists", path=ACCOUNT)


Files = dict[str, tuple[bytes, int]]
NAMES = st.text("abcdefgh.-", min_size=1, max_size=5).filter(lambda name: not name.startswith("."))
FILES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=20), st.just(0o600)), max_size=4)


@given(st.lists(FILES, min_size=1, max_size=4))
def test_a_volume_holds_the_last_payload(tmp_path_factory: pytest.TempPathFactory, states: list[Files]) -> None:
    place = tmp_path_factory.mktemp("volume")
    for files in states:
        write_atomically(place, files)
        seen = {path.name: path.read_bytes() for path in place.iterdir() if not path.name.startswith("..")}
        assert seen == {name: content for name, (content, _) in files.items()}
        hidden = sorted(path.name for path in place.iterdir() if path.name.startswith(".."))
        assert len(hidden) == 2, "the link and the one folder that it points at"


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), ("500m", 0.5), ("1.5", 1.5), ("128Mi", 128 * 2**20), ("1G", 10**9)]
)
def test_quantities_are_numbers(text: str, number: float) -> None:
    assert parse_quantity(text) == number


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot read the quantity 'much'"):
        parse_quantity("much")


def test_references_are_expanded_once() -> None:
    env = {"A": "$(B)", "B": "b"}
    assert expand("$(A) $(B) $$(B) $(C) $ $(", env) == "$(B) b $(B) $(C) $ $("


@pytest.mark.parametrize(
    "name",
    [
        "app",
        "app:1.0",
        "example.com/team/app",
        "example.com:5000/team/app:v1.2.3-rc.1",
        "example.com/team/app@sha256:0123abcd",
        "example.com/app:1@sha256:0123abcd",
    ],
)
def test_an_image_is_known_by_the_last_part_of_its_name(name: str) -> None:
    assert find_image({"app": ["run", "it"]}, name) == Image(("run", "it"))
    assert find_image({"team": ["run"], "ap": ["run"], "5000": ["run"]}, name) is None


def test_a_whole_image_name_goes_before_its_last_part() -> None:
    images = {"app": ["one"], "example.com/app": ["two"]}
    assert find_image(images, "example.com/app:1") == Image(("two",))


def test_a_mount_inside_a_config_mount_survives_the_config_s_change(pods: Pods) -> None:
    pods.source("ConfigMap", "outer", a="one")
    pods.source("Secret", "inner", b="two")
    volumes = [
        {"name": "inner", "secret": {"secretName": "inner"}},
        {"name": "outer", "configMap": {"name": "outer"}},
        {"name": "space", "emptyDir": {}},
    ]
    mounts = [
        {"name": "inner", "mountPath": "/etc/app/inner", "readOnly": True},
        {"name": "outer", "mountPath": "/etc/app"},
        {"name": "space", "mountPath": "/etc/app/deep/space"},
    ]
    name = pods.ready(pods.create("nested", volumeMounts=mounts, pod={"volumes": volumes}))
    assert pods.call(name, "read", path="/etc/app/inner/b") == "two"
    assert pods.call(name, "write", path="/etc/app/deep/space/file") == "ok"
    pods.source("ConfigMap", "outer", a="three")
    eventually(lambda: pods.call(name, "read", path="/etc/app/a") == "three")
    assert pods.call(name, "read", path="/etc/app/inner/b") == "two"
    pods.source("Secret", "inner", b="four")
    eventually(lambda: pods.call(name, "read", path="/etc/app/inner/b") == "four")


def test_a_host_path_is_this_machine_s_folder(pods: Pods, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    volumes = [{"name": "here", "hostPath": {"path": str(tmp_path)}}]
    name = pods.ready(
        pods.create("host", volumeMounts=[{"name": "here", "mountPath": "/out"}], pod={"volumes": volumes})
    )
    assert pods.call(name, "write", path="/out/file") == "ok"
    assert (tmp_path / "file").exists()


def test_the_address_of_a_pod_that_lives_on_is_given_to_no_other() -> None:
    numbers = itertools.count(1)
    old = free_address(40001, numbers, set())
    others = [free_address(40001, numbers, {old}) for _ in range(600)]
    assert old not in others
    assert len(set(others)) == 253
    with pytest.raises(RuntimeError, match="254 pods live"):
        free_address(40001, numbers, {old, *others})


def test_the_environment_stays_visible_beneath_a_mount(pods: Pods) -> None:
    above = str(Path(sys.prefix).parent)
    volumes = [{"name": "over", "emptyDir": {}}]
    mounts = [{"name": "over", "mountPath": above}]
    name = pods.ready(pods.create("covered", volumeMounts=mounts, pod={"volumes": volumes}))
    assert pods.call(name, "write", path=f"{above}/file") == "ok"

"""The control plane starts, checks TLS and permissions, survives restarts, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from kubernaut_testing import ControlPlane
from kubernaut_testing.controlplane import ControlPlaneError
from kubernaut_testing.process import runs
from kubernaut_testing.rest import AdminClient, ApiError
from kubernaut_testing.waiting import eventually


def test_the_server_is_the_pinned_kubernetes_and_its_certificate_is_checked(control_plane: ControlPlane) -> None:
    version = control_plane.api.request("GET", "/version")
    assert version["major"] == "1"
    assert int(version["minor"].rstrip("+")) >= 28
    with pytest.raises(urllib.error.URLError) as refused:
        urllib.request.urlopen(f"{control_plane.url}/version", timeout=5)
    assert isinstance(refused.value.reason, ssl.SSLCertVerificationError)


def test_the_kubernetes_package_can_use_the_admin_kubeconfig(control_plane: ControlPlane, namespace: str) -> None:
    from kubernetes import client, config

    with config.new_client_from_config(str(control_plane.kubeconfig)) as api:
        names = [item.metadata.name for item in client.CoreV1Api(api).list_namespace().items]
    assert namespace in names


def test_a_service_account_may_do_what_its_rules_say_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    user = control_plane.service_account(
        namespace, "reader", rules=[{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    )
    client = AdminClient(control_plane.url, control_plane.token(namespace, "reader"), control_plane.ca_file)
    assert client.list("v1", "ConfigMap", namespace) == []
    with pytest.raises(ApiError, match=user) as refused:
        client.list("v1", "Secret", namespace)
    assert refused.value.status == 403


def test_a_service_accounts_kubeconfig_can_refer_to_a_token_file(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    control_plane.service_account(namespace, "operator")
    path = control_plane.kubeconfig_for(namespace, "operator", token_file=tmp_path / "token")
    config = yaml.safe_load(path.read_text())
    assert config["users"][0]["user"] == {"tokenFile": str(tmp_path / "token")}
    assert config["contexts"][0]["context"]["namespace"] == namespace
    client = AdminClient(control_plane.url, (tmp_path / "token").read_text(), control_plane.ca_file)
    review = client.request(
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
    )
    assert review["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:operator"


def test_applying_a_file_waits_until_its_custom_resource_can_be_made(
    control_plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    names = {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.testing.example.org"},
        "spec": {
            "group": "testing.example.org",
            "scope": "Namespaced",
            "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    gadget = {
        "apiVersion": "testing.example.org/v1",
        "kind": "Gadget",
        "metadata": {"namespace": namespace, "name": "one"},
    }
    manifest = tmp_path / "all.yaml"
    manifest.write_text(yaml.safe_dump_all([crd, gadget]))
    stored = control_plane.apply(manifest)
    assert [item["kind"] for item in stored] == ["CustomResourceDefinition", "Gadget"]
    assert control_plane.api.find("testing.example.org/v1", "Gadget", namespace, "two") is None


def test_a_kind_that_is_not_served_is_named_in_the_error(control_plane: ControlPlane) -> None:
    with pytest.raises(LookupError, match=r"cannot find Nothing in example\.net/v1"):
        control_plane.api.list("example.net/v1", "Nothing")


def test_metrics_of_both_servers_can_be_read(control_plane: ControlPlane) -> None:
    assert "apiserver_request_total" in control_plane.metrics()
    assert "etcd_disk_wal_fsync_duration_seconds" in control_plane.etcd_metrics()


def test_objects_and_ledger_survive_a_killed_and_restarted_api_server() -> None:
    with ControlPlane() as plane:
        ledger = plane.ledger()
        plane.create_namespace("kept")
        before = plane.pids
        plane.kill_apiserver()
        with pytest.raises(OSError, match="efused"):
            plane.api.get("v1", "Namespace", None, "kept")
        plane.restart_apiserver()
        assert plane.pids["kube-apiserver"] != before["kube-apiserver"]
        assert plane.pids["etcd"] == before["etcd"]
        assert plane.api.get("v1", "Namespace", None, "kept")["metadata"]["name"] == "kept"
        ledger.settle()
        assert ledger.count("namespaces/kept") == {"create": 1, "get": 1}
        with pytest.raises(ControlPlaneError, match="is running"):
            plane.start()
        folder = plane.folder
    assert not folder.exists()
    with pytest.raises(ControlPlaneError, match="not running"):
        _ = plane.api


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log() -> None:
    plane = ControlPlane(api_server_args=["--no-such-flag"])
    with pytest.raises(ControlPlaneError, match=r"cannot start kube-apiserver(.|\n)*no-such-flag"):
        plane.start()
    assert not plane.running


def test_the_controller_manager_collects_garbage_when_asked_for() -> None:
    with ControlPlane(controller_manager=True) as plane:
        owner = plane.api.create(_config_map("owner"))
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        plane.api.create(_config_map("owned", ownerReferences=[reference]))
        plane.api.delete("v1", "ConfigMap", "default", "owner")
        eventually(lambda: plane.api.find("v1", "ConfigMap", "default", "owned") is None, timeout=30)


def _config_map(name: str, **meta: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name, **meta}}


def test_a_killed_owner_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, threading, time
            from kubernaut_testing import ControlPlane

            def start():
                plane = ControlPlane().start()
                print(plane.folder, *plane.pids.values(), flush=True)

            # In a thread that ends: the servers must outlive it, and end with the process.
            thread = threading.Thread(target=start)
            thread.start()
            thread.join()
            time.sleep(600)
            """
        )
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    folder, *pids = owner.stdout.readline().split()
    assert all(runs(int(pid)) for pid in pids)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    eventually(lambda: not any(runs(int(pid)) for pid in pids))
    eventually(lambda: not Path(folder).exists())


def test_the_command_prints_a_kubeconfig_waits_and_cleans_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kubernaut_testing.cli", "up", "--dir", str(tmp_path / "plane")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        assert up.stdout.readline() == f"export KUBECONFIG={tmp_path}/plane/admin.kubeconfig\n"
        server = yaml.safe_load((tmp_path / "plane/admin.kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
        up.send_signal(signal.SIGTERM)
        assert up.wait(timeout=60) == 0
    with pytest.raises(urllib.error.URLError, match="efused"):
        urllib.request.urlopen(f"{server}/version", timeout=5)
    assert (tmp_path / "plane/audit.log").stat().st_size > 0

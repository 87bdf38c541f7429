"""Reaching the API server: from a pod's files, and from what kubeconfigs may hold."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from kubernaut_runtime.connection import ConnectError, Connection, TokenFile

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("pki")
    cert, key = folder / "ca.crt", folder / "ca.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "1"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def kubeconfig(tmp_path: Path, user: str, cluster: str = "") -> Path:
    path = tmp_path / "config"
    text = """\
apiVersion: v1
kind: Config
current-context: first
contexts:
- name: first
  context: {cluster: c, user: u, namespace: team}
- name: second
  context: {cluster: d, user: u}
clusters:
- name: c
  cluster:
    server: https://one.example:6443
%s
- name: d
  cluster: {server: "http://two.example:8080"}
users:
- name: u
  user:
%s
"""
    path.write_text(text % (textwrap.indent(cluster, "    "), textwrap.indent(user, "    ")))
    return path


def pod(tmp_path: Path, authority: tuple[Path, Path]) -> Path:
    (tmp_path / "token").write_text("one\n")
    (tmp_path / "namespace").write_text("kubernaut-system")
    (tmp_path / "ca.crt").write_bytes(authority[0].read_bytes())
    return tmp_path


def test_a_pod_connects_with_its_service_account(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    connection = Connection.in_cluster(pod(tmp_path, authority), POD)
    assert connection.server == "https://10.0.0.1:443"
    assert connection.token() == "one"
    assert connection.namespace == "kubernaut-system"
    assert isinstance(connection.ssl, ssl.SSLContext)
    assert connection.ssl.verify_mode is ssl.CERT_REQUIRED
    assert "one" not in repr(connection)


def test_an_ipv6_service_address_is_bracketed(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    env = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert Connection.in_cluster(pod(tmp_path, authority), env).server == "https://[fd00::1]:443"


def test_outside_a_pod_the_error_says_what_to_do(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    with pytest.raises(ConnectError, match=r"cannot use .*--kubeconfig FILE"):
        Connection.in_cluster(tmp_path, {})
    with pytest.raises(ConnectError, match="automountServiceAccountToken"):
        Connection.in_cluster(tmp_path, POD)
    root = pod(tmp_path, authority)
    (root / "ca.crt").write_text("nonsense")
    with pytest.raises(ConnectError, match=r"cannot use the CA file .*ca\.crt"):
        Connection.in_cluster(root, POD)


def test_a_rotated_token_is_used_by_the_next_request(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    assert token() == "one"
    (tmp_path / "next").write_text("two")
    (tmp_path / "next").rename(path)
    assert token() == "two"


def test_a_token_that_was_refused_is_read_again_whatever_the_file_s_stamps_say(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    stamp = path.stat()
    token = TokenFile(path)
    assert token() == "one"
    path.write_text("two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert token() == "one", "nothing shows that it changed"
    token.forget()
    assert token() == "two"


def test_a_token_is_read_again_after_a_minute_even_if_its_times_lie(tmp_path: Path) -> None:
    path, now = tmp_path / "token", [0.0]
    path.write_text("one")
    token = TokenFile(path, monotonic=lambda: now[0])
    stamp = path.stat()
    assert token() == "one"
    path.write_text("two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert token() == "one"
    now[0] = 60.0
    assert token() == "two"


def test_a_token_file_that_vanishes_keeps_the_last_good_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    assert token() == "one"
    path.write_text("")
    assert token() == "one"
    path.unlink()
    assert token() == "one"


def test_contexts_are_chosen_by_name(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "token: abc")
    first, second = Connection.from_kubeconfig(path), Connection.from_kubeconfig(path, "second")
    assert (first.server, first.namespace, first.token()) == ("https://one.example:6443", "team", "abc")
    assert (second.server, second.namespace) == ("http://two.example:8080", None)
    assert first.origin == f"kubeconfig {path}, context first"
    with pytest.raises(ConnectError, match="third"):
        Connection.from_kubeconfig(path, "third")


def test_client_certificates_and_ca_are_loaded(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    cert, key = authority
    path = kubeconfig(tmp_path, f"client-certificate: {cert}\nclient-key: {key}", f"certificate-authority: {cert}")
    connection = Connection.from_kubeconfig(path)
    assert isinstance(connection.ssl, ssl.SSLContext)
    assert len(connection.ssl.get_ca_certs()) == 1
    assert connection.token() is None


def test_a_token_file_in_a_kubeconfig_is_relative_to_it_and_read_again(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "tokenFile: tok")
    (tmp_path / "tok").write_text("one")
    connection = Connection.from_kubeconfig(path)
    assert connection.token() == "one"
    (tmp_path / "tok").write_text("two-longer")
    assert connection.token() == "two-longer"


def test_an_exec_plugin_is_run_and_run_again_before_its_token_expires(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import json, pathlib, datetime\n"
        f"seen = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = int(seen.read_text()) + 1 if seen.exists() else 1\n"
        "seen.write_text(str(n))\n"
        "at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=-1 if n == 1 else 3600)\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': f'tok{n}', 'expirationTimestamp': at.strftime('%Y-%m-%dT%H:%M:%SZ')}}))\n"
    )
    user = (
        "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  interactiveMode: Never\n"
        f"  command: {sys.executable}\n  args: [{plugin}]"
    )
    connection = Connection.from_kubeconfig(kubeconfig(tmp_path, user))
    assert connection.token() == "tok2", "an expired token is replaced before it is used"
    assert connection.token() == "tok2", "a fresh one is kept"


def test_a_failing_exec_plugin_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    user = (
        "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  interactiveMode: Never\n"
        "  command: sh\n  args: ['-c', 'echo please log in >&2; exit 3']"
    )
    with pytest.raises(ConnectError, match=r"exec plugin gave no credentials: .*please log in"):
        Connection.from_kubeconfig(kubeconfig(tmp_path, user))


@pytest.mark.parametrize(
    ("user", "cluster", "reason"),
    [
        ("token: abc", "proxy-url: http://proxy:1", "proxy-url is not supported"),
        ("username: me\npassword: hunter2", "", "user and password are not supported"),
        ("token: abc", "certificate-authority: /no/such/file", "cannot use kubeconfig"),
    ],
)
def test_what_cannot_work_is_said_without_showing_secrets(tmp_path: Path, user: str, cluster: str, reason: str) -> None:
    with pytest.raises(ConnectError, match=reason) as caught:
        Connection.from_kubeconfig(kubeconfig(tmp_path, user, cluster))
    assert "hunter2" not in str(caught.value)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"cannot use kubeconfig .*absent: there is no such file"):
        Connection.from_kubeconfig(tmp_path / "absent")
    (tmp_path / "broken").write_text("a: [")
    with pytest.raises(ConnectError, match=r"cannot use kubeconfig .*broken"):
        Connection.from_kubeconfig(tmp_path / "broken")
    (tmp_path / "empty").write_text("{}")
    with pytest.raises(ConnectError, match=r"cannot use kubeconfig .*empty"):
        Connection.from_kubeconfig(tmp_path / "empty")


def test_the_in_cluster_path_does_not_import_the_big_package(tmp_path: Path, authority: tuple[Path, Path]) -> None:
    root = pod(tmp_path, authority)
    code = (
        "import sys; from pathlib import Path; from kubernaut_runtime.connection import Connection\n"
        f"Connection.in_cluster(Path({str(root)!r}), {POD!r})\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'kubernetes'], 'kubernetes was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

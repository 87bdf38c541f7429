"""The process, by its example operator on a real API server: start, work, stand by, reload, end."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut_runtime import ControllerConfig, load_config
from kubernaut_runtime.checked import audit_place
from kubernaut_status import ObjectKey, Resource
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.files import replace_file
from kubernaut_testing.ledger import RequestLedger

EXAMPLES = Path(__file__).parents[1] / "examples"
GREETINGS = Resource(group="hello.example.com", version="v1", plural="greetings", kind="Greeting")

pytestmark = pytest.mark.e2e


class Greeter:
    """The example operator as a process of its own."""

    def __init__(self, folder: Path, control_plane: ControlPlane, namespace: str, config: str = "", **env: str) -> None:
        self.config = folder / "config.yaml"
        self.config.write_text(config)
        self.log = folder / "log"
        command = [sys.executable, str(EXAMPLES / "greeter.py"), "-config", str(self.config)]
        command += ["--kubeconfig", str(control_plane.kubeconfig)]
        bound = {"KUBERNAUT_BIND_HOST": "127.0.0.1", "KUBERNAUT_CONTROLLER_NAMESPACE": namespace}
        self.process = subprocess.Popen(command, env={**os.environ, **bound, **env}, stderr=self.log.open("w"))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def said(self, message: str) -> bool:
        return any(line["msg"] == message for line in self.lines())

    def until(self, done: Callable[[], Any], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"not reached within {seconds} s; log:\n{self.log.read_text()}"
            assert self.process.poll() is None, f"the operator ended; log:\n{self.log.read_text()}"
            time.sleep(0.05)

    def ready(self) -> bool:
        return self.said("watches are in sync")

    def end(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def port(self, name: str) -> int:
        line = next(line for line in self.lines() if line["msg"] == "serving")
        return int(line[name])


@pytest.fixture
def start(tmp_path: Path, control_plane: ControlPlane, namespace: str) -> Iterator[Callable[..., Greeter]]:
    control_plane.apply(EXAMPLES / "greetings.yaml")
    started: list[Greeter] = []

    def run(config: str = "", **env: str) -> Greeter:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        base = "controller: {metricsAddr: ':0', healthProbeAddr: ':0'}\n"
        started.append(Greeter(folder, control_plane, namespace, config or base, **env))
        return started[-1]

    yield run
    for greeter in started:
        greeter.process.kill()
        greeter.process.wait()


def greet(control_plane: ControlPlane, namespace: str, name: str) -> None:
    body = {
        "apiVersion": "hello.example.com/v1",
        "kind": "Greeting",
        "metadata": {"name": name},
        "spec": {"name": name},
    }
    control_plane.api.request("POST", GREETINGS.collection_path(namespace), body)


def text_of(control_plane: ControlPlane, namespace: str, name: str) -> str:
    found = control_plane.api.request("GET", GREETINGS.object_path(ObjectKey(namespace, name)))
    return str((found.get("status") or {}).get("text", ""))


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_example_greets_with_one_write_and_ends_in_order(
    start: Callable[..., Greeter], control_plane: ControlPlane, namespace: str, ledger: RequestLedger
) -> None:
    greet(control_plane, namespace, "before")
    greeter = start()
    greeter.until(greeter.ready)
    greet(control_plane, namespace, "after")
    greeter.until(lambda: text_of(control_plane, namespace, "after") and text_of(control_plane, namespace, "before"))
    assert text_of(control_plane, namespace, "after") == "Hello, after!"

    code, ready = get(greeter.port("health"), "/readyz")
    assert (code, ready) == (200, "[+]started ok\nreadyz check passed\n")
    assert get(greeter.port("health"), "/healthz")[0] == 200
    metrics = get(greeter.port("metrics"), "/metrics")[1]
    assert 'k8s_api_calls_total{code="200",resource="greetings",service="greeter",subresource="status"' in metrics
    for family in ("event_loop_lag_seconds", "workqueue_depth", "controller_runtime_reconcile_total", "process_cpu"):
        assert family in metrics

    assert greeter.end() == 0
    assert greeter.said("ended")
    ledger.settle()
    for name in ("before", "after"):
        ledger.assert_requests(
            f"greetings/{namespace}/{name}", {"patch/status": 1}, user_agent="kubernaut-greeter", only=True
        )
    events = control_plane.api.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    assert {event["message"] for event in events} == {"Greeted before", "Greeted after"}
    agents = {agent for agent in ledger.by_user_agent() if "greeter" in agent or "kopf" in agent}
    assert agents == {"kubernaut-greeter/1.0.0"}, "kopf's requests carry our name too"


LEASED = """\
controller:
  metricsAddr: ":0"
  healthProbeAddr: ":0"
  leaderElection: true
  leaseDuration: 3s
  renewDeadline: 2s
  retryPeriod: 300ms
"""


def test_of_two_processes_one_works_and_a_kill_hands_over(
    start: Callable[..., Greeter], control_plane: ControlPlane, namespace: str, ledger: RequestLedger
) -> None:
    first = start(LEASED, POD_NAME="first")
    first.until(lambda: first.said("became leader"))
    second = start(LEASED, POD_NAME="second")
    second.until(second.ready)
    assert get(second.port("health"), "/readyz")[0] == 200, "a standby is ready"
    greet(control_plane, namespace, "one")
    first.until(lambda: text_of(control_plane, namespace, "one"))

    first.process.kill()
    greet(control_plane, namespace, "two")
    second.until(lambda: text_of(control_plane, namespace, "two"))
    assert second.end() == 0
    lease = control_plane.api.request(
        "GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/greeter.kubernaut.ai"
    )
    assert lease["spec"]["holderIdentity"] == "", "released on the way out"
    for name in ("one", "two"):
        ledger.assert_requests(f"greetings/{namespace}/{name}", {"patch/status": 1}, user_agent="kubernaut-greeter")


def test_a_leader_that_was_stopped_while_another_took_over_does_not_act(
    start: Callable[..., Greeter], control_plane: ControlPlane, namespace: str, ledger: RequestLedger
) -> None:
    first = start(LEASED, POD_NAME="first")
    first.until(lambda: first.said("became leader"))
    second = start(LEASED, POD_NAME="second")
    second.until(second.ready)
    first.process.send_signal(signal.SIGSTOP)
    greet(control_plane, namespace, "one")
    second.until(lambda: text_of(control_plane, namespace, "one"))
    mark = ledger.mark()
    first.process.send_signal(signal.SIGCONT)
    first.until(lambda: first.said("lost the lease, work stops"))
    greet(control_plane, namespace, "two")
    second.until(lambda: text_of(control_plane, namespace, "two"))
    writes = ledger.entries(resource="greetings", verb="patch", since=mark)
    assert [(entry.name, entry.code) for entry in writes] == [("two", 200)]


def test_the_log_level_reloads_and_a_bad_file_keeps_the_last_good(
    start: Callable[..., Greeter], control_plane: ControlPlane, namespace: str
) -> None:
    base = "controller: {metricsAddr: ':0', healthProbeAddr: ':0'}\n"
    greeter = start(base, POD_NAME="greeter-0")
    greeter.until(greeter.ready)
    replace_file(greeter.config, base + "logging: {level: LOUD}\n")
    greeter.until(lambda: greeter.said("cannot reload, the last good content stays"))
    failed = f'config_reload_total{{file="{greeter.config}",result="failed"}} 1.0'
    assert failed in get(greeter.port("metrics"), "/metrics")[1]
    path = f"/api/v1/namespaces/{namespace}/events"
    greeter.until(lambda: control_plane.api.request("GET", path)["items"])
    (event,) = control_plane.api.request("GET", path)["items"]
    assert (event["reason"], event["involvedObject"]["name"]) == ("ConfigReloadFailed", "greeter-0")
    assert "logging.level" in event["message"]

    replace_file(greeter.config, base + "logging: {level: DEBUG}\n")
    greeter.until(lambda: greeter.said("reloaded"))
    greet(control_plane, namespace, "one")
    greeter.until(lambda: any(line["level"] == "debug" for line in greeter.lines()))
    assert greeter.end(signal.SIGINT) == 0


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "greeter.py"), *arguments]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KUBE")}
    return subprocess.run(command, env={**clean, **env}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("flag", [["-config"], ["--config"]])
def test_check_config_prints_the_values_in_force(tmp_path: Path, flag: list[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("greeter: {salute: Hi, patience: 90s}\n")
    done = run(*flag, str(path), "--check-config")
    assert done.returncode == 0
    first, values = done.stdout.split("\n", 1)
    assert first == f"OK: {path}"
    assert yaml.safe_load(values)["greeter"] == {"salute": "Hi", "patience": "1m30s"}
    assert run(f"{flag[0]}={path}", "-check-config").returncode == 0


def test_check_config_tells_what_it_is_about(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("datastorage: {url: 'https://ds:8443', healthUrl: 'https://ds:8443/readyz'}\n")
    there = {"KUBERNAUT_CONTROLLER_NAMESPACE": "incidents"}
    told = run("--config", str(path), "--check-config", **there).stdout.splitlines()[1:5]
    assert told == [
        f"# config      sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}",
        "# namespace   incidents",
        "# watches     greetings.hello.example.com of the namespace",
        "# audit       https://ds:8443",
    ]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{}", "standard output, one JSON object a line"),
        ("audit: {file: /a.jsonl}", "/a.jsonl, one JSON object a line"),
        (
            "{audit: {file: /a.jsonl}, datastorage: {url: 'http://d', healthUrl: 'http://d/r'}}",
            "http://d; what it does not get: /a.jsonl, one JSON object a line",
        ),
    ],
)
def test_check_config_tells_where_audit_events_go(tmp_path: Path, config: str, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(config)
    assert audit_place(load_config(path, ControllerConfig).config) == words


def test_check_config_lists_every_mistake_unknown_keys_too(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("greeter: {salut: Hi, patience: soon}\n")
    done = run("--config", str(path), "--check-config")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"cannot use {path}: greeter.patience: must be a duration such as 500ms, 10s, 5m or 1h30m, not 'soon'",
        f"cannot use {path}: greeter.salut: unknown key, did you mean greeter.salute?",
    ]


def test_what_keeps_it_from_starting_is_one_clear_line(tmp_path: Path, control_plane: ControlPlane) -> None:
    missing = run("--config", str(tmp_path / "no.yaml"))
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert re.match(r"cannot read config file .*no\.yaml: there is no such file", missing.stderr)

    unknown = run("--frobnicate")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert unknown.stderr.startswith("cannot start kubernaut-greeter: unrecognized arguments: --frobnicate")

    cluster = run("--kubeconfig", str(tmp_path / "nothing"))
    (line,) = cluster.stderr.splitlines()
    assert cluster.returncode == 1
    assert json.loads(line)["msg"].startswith("cannot use kubeconfig")

    empty = run("--kubeconfig", str(control_plane.kubeconfig), KUBERNAUT_CONTROLLER_NAMESPACE="")
    assert empty.returncode == 1
    assert "KUBERNAUT_CONTROLLER_NAMESPACE is set but empty" in json.loads(empty.stderr.splitlines()[-1])["msg"]


def test_help_and_version_answer_without_a_cluster() -> None:
    assert run("--version").stdout == "kubernaut-greeter 1.0.0\n"
    text = run("--help").stdout
    for word in ("--config", "--kubeconfig", "--context", "--check-config", "KUBERNAUT_CONTROLLER_NAMESPACE"):
        assert word in text

"""The demo as a user runs it: on a control plane of its own, on an existing cluster, at a terminal, in failure."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo.clusters import crd_differences

from kubernaut_api import load_crd
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.kubelet import isolation_available
from kubernaut_testing.rest import AdminClient
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[1]
DEMO = [sys.executable, "-m", "demo"]
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "notificationrequests.kubernaut.ai")


def environment(**more: str) -> dict[str, str]:
    return {**{key: value for key, value in os.environ.items() if key != "KUBECONFIG"}, **more}


def run(folder: Path, *arguments: str, command: list[str] = DEMO, **env: str) -> subprocess.CompletedProcess[str]:
    whole = [*command, "--dir", str(folder), *arguments]
    return subprocess.run(
        whole,
        cwd=ROOT,
        env=environment(**{"COLUMNS": "120", **env}),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def squeezed(text: str) -> str:
    """The text with runs of spaces made one, so that a table's widths do not matter."""
    return re.sub(" +", " ", text)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """Somebody's cluster, without our CRD."""
    with ControlPlane() as running:
        yield running


@pytest.fixture
def kubeconfig(cluster: ControlPlane, tmp_path: Path) -> Path:
    """A kubeconfig with the context `lab`, which is not its current one."""
    loaded: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    loaded["contexts"][0]["name"] = "lab"
    loaded["current-context"] = "elsewhere"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(loaded))
    return path


def demo_namespaces(api: AdminClient) -> list[Mapping[str, Any]]:
    namespaces = api.list("v1", "Namespace")
    return [each for each in namespaces if each["metadata"]["name"].startswith("kubernaut-demo-")]


def assert_nothing_left(api: AdminClient) -> None:
    # Nobody finishes a namespace's deletion here, since no controller manager runs.
    assert all("deletionTimestamp" in each["metadata"] for each in demo_namespaces(api))
    assert api.find(*CRD) is None


def test_the_demo_installs_the_chart_delivers_and_proves_it(tmp_path: Path) -> None:
    """An exported KUBECONFIG, here of a server that does not exist, changes nothing."""
    done = run(tmp_path / "demo", KUBECONFIG="/nowhere/kubeconfig")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\033" not in done.stdout
    told = squeezed(done.stdout)
    isolated, _ = isolation_available()
    for line in (
        "charts/notification, twice: atomic and sequential" if isolated else "no chart, but bare processes",
        "atomic all-channels Pending -> Sending",
        "atomic slack-recovers Sending -> Retrying",
        "sequential slack-archived Sending -> PartiallySent",
        "\n all-channels Sent 1 message 1 record 1 file",
        "\n slack-recovers Sent refused 503, 503, then 1 message 1 record 1 file",
        "\n slack-archived PartiallySent refused 410 1 record 1 file",
        '\n spec.priority: Unsupported value: "Urgent": supported values: "Critical", "High", "Medium", "Low"',
        "\n all-channels 3 0 0 6 0 0 50 %",
        "\n slack-recovers 5 0 0 10 0 0 50 %",
        "\n slack-archived 3 0 0 6 0 0 50 %",
        "\n all 11 0 0 22 0 0 50 %",
        "took 1 write instead of 4: 75 % fewer",
        "all as it must be",
        f"--kubeconfig {tmp_path}/demo/control-plane/admin.kubeconfig get notif -n demo-atomic",
    ):
        assert line in told
    messages = (tmp_path / "demo" / "atomic" / "slack.jsonl").read_text().splitlines()
    assert len(messages) == 5
    assert len(list((tmp_path / "demo" / "atomic" / "delivered").iterdir())) == 3


def test_the_demo_fails_when_something_differs_and_says_what(tmp_path: Path) -> None:
    """Of a sample it now expects one write less than there are."""
    script = (
        "import dataclasses, sys, demo.cases as cases;"
        "first = dataclasses.replace(cases.CASES[0], writes={'atomic': 2, 'sequential': 6});"
        "cases.CASES = (first, *cases.CASES[1:]);"
        "from demo.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = run(tmp_path / "demo", "--bare", command=[sys.executable, "-c", script])
    assert done.returncode == 1
    assert "all-channels, atomic: 3 PATCH, 0 GET, 0 conflicts, instead of 2 PATCH, 0 GET, 0 conflicts" in done.stdout
    assert "all as it must be" not in done.stdout


def test_an_existing_cluster_is_named_first_and_left_as_it_was(
    cluster: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    done = run(tmp_path / "demo", "--context", "lab", KUBECONFIG=str(kubeconfig))
    assert done.returncode == 0, done.stdout + done.stderr
    told = squeezed(done.stdout)
    assert told.index(f"context lab (from {kubeconfig})") < told.index("Kubernetes v")
    assert told.index(f"server {cluster.url}") < told.index("Kubernetes v")
    assert "was missing and is added" in told
    assert "\n atomic 11 0 0\n sequential 22 0 0\n" in told
    assert "(k8s_api_calls_total)" in told
    assert "all as it must be" in told
    assert len(demo_namespaces(cluster.api)) >= 2
    assert_nothing_left(cluster.api)
    assert not list((tmp_path / "demo").rglob("*.kubeconfig"))


def test_an_existing_cluster_is_cleaned_up_when_the_demo_is_ended(
    cluster: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*DEMO, "--dir", str(tmp_path / "demo"), "--context", "lab"],
        cwd=ROOT,
        env=environment(KUBECONFIG=str(kubeconfig)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "namespaces" in line:
            process.send_signal(signal.SIGTERM)
            break
    rest = process.stdout.read()
    assert process.wait(60) == 130, rest
    assert "clean-up" in rest
    assert_nothing_left(cluster.api)


def test_a_crd_that_differs_is_told_and_not_changed(cluster: ControlPlane) -> None:
    assert crd_differences(cluster.api) is None
    theirs = load_crd("notificationrequests")
    theirs["spec"]["names"]["shortNames"] = ["nr"]
    try:
        cluster.apply(theirs)
        before = cluster.api.get(*CRD)
        assert crd_differences(cluster.api) == ["spec.names.shortNames"]
        assert cluster.api.get(*CRD) == before
    finally:
        cluster.api.delete(*CRD)
        eventually(lambda: cluster.api.find(*CRD) is None)


def test_an_unknown_context_is_told_with_those_that_are_known(kubeconfig: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "demo", "--context", "prod", KUBECONFIG=str(kubeconfig))
    assert done.returncode == 1
    assert done.stderr.strip() == (f"cannot use context prod: {kubeconfig} does not have it (contexts there: lab)")


def test_a_cluster_that_does_not_answer_is_told_by_name(kubeconfig: Path, tmp_path: Path) -> None:
    loaded = yaml.safe_load(kubeconfig.read_text())
    loaded["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    kubeconfig.write_text(yaml.safe_dump(loaded))
    done = run(tmp_path / "demo", "--context", "lab", KUBECONFIG=str(kubeconfig))
    assert done.returncode == 1
    assert "cannot reach https://127.0.0.1:1 of context lab" in done.stderr


def test_a_folder_with_somebody_s_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"cannot use {tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_at_a_terminal_the_table_is_redrawn_and_keep_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*DEMO, "--dir", str(tmp_path / "demo"), "--keep", "--bare"],
        cwd=ROOT,
        env=environment(TERM="xterm", COLUMNS="120"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown: list[str] = []
    reader = threading.Thread(target=_read, args=(ours, shown), daemon=True)
    reader.start()
    try:
        eventually(
            lambda: "Ctrl-C ends it" in "".join(shown) or process.poll() is not None,
            timeout=120,
            message=lambda: "".join(shown),
        )
        assert process.poll() is None, "".join(shown)
        settings = yaml.safe_load((tmp_path / "demo/control-plane/admin.kubeconfig").read_text())
        assert settings["clusters"][0]["cluster"]["server"] in "".join(shown)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, "".join(shown)
    finally:
        process.kill()
        process.wait()
    reader.join(10)
    text = "".join(shown)
    assert "\033[5A" in text  # up over five lines, to draw them again
    assert text.count("\033[?25l") == text.count("\033[?25h") == 1
    assert "Traceback" not in text
    assert "get notif -n demo-atomic" in text


def _read(terminal: int, shown: list[str]) -> None:
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            return
        if not data:
            return
        shown.append(data.decode(errors="replace"))

"""The demo as a user runs it: on a control plane of its own, on an existing cluster, at a terminal, in failure."""

import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo.chapters import CHAPTERS
from demo.clusters import ExistingCluster, crd_differences, find_context
from scenarios.signalprocessing import API_VERSION, KIND, signal_processing

from kubernaut_api import load_crd
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.kubelet import isolation_available
from kubernaut_testing.rest import RestClient
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[1]
DEMO = [sys.executable, "-m", "demo"]
CRDS = [
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, f"{plural}.kubernaut.ai")
    for plural in ("signalprocessings", "notificationrequests")
]


POLICY = files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_text()
LEARNT = POLICY.replace("severities := {\n", 'severities := {\n\t"page": "critical",\n')


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


def _sha256(text: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}..."


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


def demo_namespaces(api: RestClient) -> list[Mapping[str, Any]]:
    namespaces = api.list("v1", "Namespace")
    return [each for each in namespaces if each["metadata"]["name"].startswith("kubernaut-demo-")]


def assert_nothing_left(api: RestClient) -> None:
    # Nobody finishes a namespace's deletion here, since no controller manager runs.
    assert all("deletionTimestamp" in each["metadata"] for each in demo_namespaces(api))
    assert [crd for crd in CRDS if api.find(*crd)] == []
    roles = [
        role["metadata"]["name"]
        for kind in ("ClusterRole", "ClusterRoleBinding")
        for role in api.list("rbac.authorization.k8s.io/v1", kind)
    ]
    assert [name for name in roles if name.startswith("kubernaut-demo-")] == []


def test_the_demo_installs_the_charts_classifies_delivers_and_proves_it(tmp_path: Path) -> None:
    """An exported KUBECONFIG, here of a server that does not exist, changes nothing."""
    done = run(tmp_path / "demo", KUBECONFIG="/nowhere/kubeconfig")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\033" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "/demo/" not in line) <= 115
    told = squeezed(done.stdout)
    isolated, _ = isolation_available()
    for line in (
        "charts signalprocessing, notification: atomic and sequential" if isolated else "no charts, but bare processes",
        "$ kubectl get sp -n demo-atomic --watch\n after NAME PHASE SEVERITY ENVIRONMENT PRIORITY\n",
        " s payment-oom Pending\n",
        " s payment-oom Enriching\n",
        " s payment-oom Classifying\n",
        " s payment-oom Categorizing critical Production P0\n",
        " s payment-oom Completed critical Production P0\n",
        " s cart-oom-ahead Completed warning Staging P2\n",
        " s checkout-paged Completed unknown Production P3\n",
        " s payment-in-east Failed\n",
        "\n target Pod payment-",
        "\n owned by ReplicaSet payment-",
        ", Deployment payment\n",
        "\n namespace demo-shop: environment=production team=payments tier=gold\n",
        "\n custom labels team=payments tier=gold\n",
        "\n environment Production, by namespace-labels\n",
        "\n severity critical, from Sev1\n",
        "\n priority P0, by production-critical\n",
        "\n business payments, Gold\n",
        "\n mode reactive: OOMKilled\n",
        "\n cart-oom-ahead is proactive: PredictedOOMKill is mapped to OOMKilled\n",
        "\n payment-in-east failed, and says why:\n cannot enrich a target in cluster east: ",
        '\n + "page": "critical",\n',
        " s checkout-again Completed critical Production P0\n",
        f"policyHash: {_sha256(POLICY)} before, {_sha256(LEARNT)} after",
        "\n payment-oom 5 5 14 64 % 0 0 3 6\n",
        "\n cart-oom-ahead 5 5 14 64 % 0 0 1 6\n",
        "\n payment-in-east 3 3 6 50 % 0 0 0 2\n",
        "\n all 23 23 62 63 % 0 0 6 26\n",
        "$ kubectl get notif -n demo-atomic --watch\n after NAME TYPE PRIORITY PHASE ATTEMPTS\n",
        " s slack-recovers Escalation Critical Retrying 4\n",
        "\n all-channels 1 message 1 record 1 file\n",
        "\n slack-recovers refused 503, 503, then 1 message 1 record 1 file\n",
        "\n slack-archived refused 410 1 record 1 file\n",
        '\n spec.priority: Unsupported value: "Urgent": supported values: "Critical", "High", "Medium", "Low"\n',
        "\n all-channels 3 3 6 50 % 0 0 5\n",
        "\n slack-recovers 5 5 10 50 % 0 0 6\n",
        "\n slack-archived 3 3 6 50 % 0 0 5\n",
        "\n all 11 11 22 50 % 0 0 16\n",
        "took 1 write instead of 4: 75 % fewer",
        "every signal enriched and classified",
        "every message delivered as often as it must be",
        "exactly the requests of the budget",
        f"--kubeconfig {tmp_path}/demo/control-plane/admin.kubeconfig'",
        "\n k get sp -n demo-atomic\n",
        "\n k get notif -n demo-atomic\n",
    ):
        assert line in told, line
    for line in told.partition("Look around")[2].splitlines():
        if f" {tmp_path}/demo/" in line and "alias" not in line:
            assert Path(line.split()[-1]).exists(), line
    delivered = tmp_path / "demo" / "atomic" / "notification"
    assert len((delivered / "slack.jsonl").read_text().splitlines()) == 5
    assert len(list((delivered / "delivered").iterdir())) == 3


def test_an_existing_cluster_is_named_first_and_left_as_it_was(
    cluster: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    done = run(tmp_path / "demo", "--context", "lab", KUBECONFIG=str(kubeconfig))
    assert done.returncode == 0, done.stdout + done.stderr
    told = squeezed(done.stdout)
    assert told.index(f"context lab (from {kubeconfig})") < told.index("Kubernetes v")
    assert told.index(f"server {cluster.url}") < told.index("Kubernetes v")
    for crd in CRDS:
        assert f"{crd[-1]} was missing and is added" in told
    assert "\n atomic 23 0 0\n sequential 62 0 0\n" in told
    assert "\n atomic 11 0 0\n sequential 22 0 0\n" in told
    assert "exactly the status writes of the budget" in told
    assert "deleted 4 namespaces, 2 ClusterRoles, 2 CRDs" in told
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
    assert process.wait(120) == 130, rest
    assert "clean-up" in rest
    assert_nothing_left(cluster.api)


def test_a_crd_that_differs_is_told_and_not_changed(cluster: ControlPlane) -> None:
    plural, crd = "notificationrequests", CRDS[1]
    assert crd_differences(cluster.api, plural) is None
    theirs = load_crd(plural)
    theirs["spec"]["names"]["shortNames"] = ["nr"]
    try:
        cluster.apply(theirs)
        before = cluster.api.get(*crd)
        assert crd_differences(cluster.api, plural) == ["spec.names.shortNames"]
        assert cluster.api.get(*crd) == before
    finally:
        cluster.api.delete(*crd)
        eventually(lambda: cluster.api.find(*crd) is None)


def test_a_crd_that_others_have_come_to_use_is_left(
    cluster: ControlPlane, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    plural, crd = "signalprocessings", CRDS[0]
    demo = ExistingCluster(find_context("lab"), tmp_path, [plural])
    demo.start()
    try:
        assert demo.add_crd(plural) == f"{crd[-1]} was missing and is added"
        assert demo.add_crd(plural) == f"{crd[-1]} is there already, the same as this version's"
        own = demo.create_namespace(f"kubernaut-demo-{uuid.uuid4().hex[:6]}-own")
        theirs = cluster.create_namespace(f"theirs-{uuid.uuid4().hex[:6]}")
        for namespace in (own, theirs):
            cluster.api.create(signal_processing(namespace, "used"))
        assert demo.remove() == (
            f"deleted 1 namespace, 0 ClusterRoles, 0 CRDs; left CRD {crd[-1]}, "
            "since objects of other namespaces (1) need it by now"
        )
        assert cluster.api.find(API_VERSION, KIND, own, "used") is None
        assert cluster.api.find(API_VERSION, KIND, theirs, "used") is not None
    finally:
        demo.stop()
        cluster.api.delete(*crd)
        eventually(lambda: cluster.api.find(*crd) is None)


def test_every_chart_has_its_chapter() -> None:
    charts = {path.parent.name for path in (ROOT / "charts").glob("*/Chart.yaml")} - {"kubernaut-common"}
    assert {chapter.service for chapter in CHAPTERS} == charts


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


WRONG = """
import sys
from dataclasses import replace
from demo.__main__ import main
from demo.chapters import Notifications, Signals

def change(chapter, **fields):
    chapter.cases = (replace(chapter.cases[0], **fields), *chapter.cases[1:])

change(Notifications, writes={"atomic": 2, "sequential": 6})
change(Signals, shown={"Environment": "Staging"})
sys.exit(main(sys.argv[1:]))
"""
"""The demo, expecting one write less of a notification, and of a signal another environment."""


@dataclass(frozen=True)
class Shown:
    """What a terminal has seen of a demo that was kept up: until it was up, whether it stayed, and all in all."""

    until_up: str
    stayed: bool
    text: str
    code: int


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A demo at a terminal, with bare processes and `--keep`, ended by Ctrl-C; two of its expectations are wrong."""
    folder = tmp_path_factory.mktemp("terminal") / "demo"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", WRONG, "--dir", str(folder), "--keep", "--bare"],
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
            timeout=200,
            message=lambda: "".join(shown),
        )
        until_up, stayed = "".join(shown), process.poll() is None
        process.send_signal(signal.SIGINT)
        code = process.wait(120)
    finally:
        process.kill()
        process.wait()
    reader.join(10)
    return Shown(until_up, stayed, "".join(shown), code)


def test_at_a_terminal_tables_are_redrawn_and_keep_stays_up_until_ctrl_c(terminal: Shown) -> None:
    assert terminal.stayed, terminal.text
    assert "\033[5A" in terminal.text  # up over five lines, to draw them again
    # Two tables of signals, one of notifications.
    assert terminal.text.count("\033[?25l") == terminal.text.count("\033[?25h") == 3
    assert "Traceback" not in terminal.text
    told = squeezed(re.sub(r"\033\[[\d;]*m", "", terminal.until_up))
    assert "no charts, but bare processes: as asked" in told
    assert " payment-oom Completed critical Production P0\r\n" in told
    assert " slack-archived ManualReview Medium PartiallySent 3\r\n" in told
    assert " unknown-priority rejected " in told
    assert "k get notif -n demo-atomic" in told


def test_the_demo_fails_when_something_differs_and_says_what(terminal: Shown) -> None:
    assert terminal.code == 1, terminal.text
    plain = re.sub(r"\033\[[\d;]*m", "", terminal.text)
    verdict = plain.partition("Verdict")[2].partition("Look around")[0]
    told = [line.strip() for line in verdict.splitlines() if line.strip()]
    assert told == [
        "✗ payment-oom, atomic: its environment is Production instead of Staging",
        "✗ payment-oom, sequential: its environment is Production instead of Staging",
        "✗ all-channels, atomic: 3 PATCH, 0 GET, 0 conflicts, 5 Events, "
        "instead of 2 PATCH, 0 GET, 0 conflicts, 5 Events",
        "✗ all notifications, atomic: 11 PATCH, 0 GET, 0 conflicts, 16 Events, "
        "instead of 10 PATCH, 0 GET, 0 conflicts, 16 Events",
    ]


def _read(terminal: int, shown: list[str]) -> None:
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            return
        if not data:
            return
        shown.append(data.decode(errors="replace"))

"""`python -m demo [--keep] [--bare] [--context NAME] [--dir FOLDER]`; `make demo` runs it.

Exit code 0: everything was as it must be. 1: something differed, or the demo could not run; it says what. 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scenarios.notification import install_crds

from demo import report
from demo.cases import CASES, MODES, SAMPLES
from demo.clusters import DemoError, ExistingCluster, connection_to, crd_differences, find_context
from demo.evidence import Evidence
from demo.screen import Screen
from demo.stage import IMAGES, SiteMaker, Stage, bare_site, installed_site, staged
from kubernaut_runtime import ConnectError
from kubernaut_status import TransportError
from kubernaut_testing import ControlPlane, binaries
from kubernaut_testing.controlplane import ControlPlaneError
from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.kubelet import LocalKubelet, isolation_available
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.rest import ApiError

SERVERS = ("kube-apiserver", "etcd", "kube-controller-manager", "helm")
PATIENCE = 45.0
"""Seconds until which every sample must have ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    # A supervisor's SIGTERM must clean up as Ctrl-C does, most of all in somebody's cluster.
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started it in the background
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    screen = Screen()
    try:
        with _folder(options.dir) as folder:
            if options.context is None:
                return _on_own_control_plane(screen, folder, keep=options.keep, bare=options.bare)
            return _on_existing_cluster(screen, folder, options.context, keep=options.keep)
    except KeyboardInterrupt:
        print("\nended before it was done", file=sys.stderr)
        return 130
    except (
        *(DemoError, ApiError, ConnectError, TransportError, ControlPlaneError, binaries.ToolUnavailableError),
        *(LookupError, OSError, TimeoutError),
    ) as error:
        text = str(error.args[0] if isinstance(error, LookupError) and error.args else error)
        print(f"\n{text if text.startswith('cannot') else f'cannot run the demo: {text}'}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Delivers notifications on a real API server and proves what that cost.",
    )
    parser.add_argument("--bare", action="store_true", help="operators as bare processes, not installed by helm")
    parser.add_argument("--keep", action="store_true", help="stay up for a look around, until Ctrl-C")
    parser.add_argument(
        "--context",
        metavar="NAME",
        help="use the existing cluster of this context (looked up in $KUBECONFIG, else ~/.kube/config) instead of a "
        "control plane of its own",
    )
    parser.add_argument(
        "--dir", type=Path, default=Path(".demo"), metavar="FOLDER", help="for logs and deliveries (default: .demo)"
    )
    return parser


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """The demo's folder, emptied of the last run's files and locked against another run."""
    path = path.resolve()
    mark = path / ".lock"
    if path.exists() and not mark.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DemoError(f"cannot use {path}: it is not a folder of the demo's and not empty; give another with --dir")
    path.mkdir(parents=True, exist_ok=True)
    with mark.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"cannot use {path}: another demo runs in it; end that, or give --dir") from None
        for entry in path.iterdir():
            if entry != mark:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield path


# On a control plane of its own ---------------------------------------------------------------------------


def _on_own_control_plane(screen: Screen, folder: Path, *, keep: bool, bare: bool) -> int:
    screen.heading("Kubernaut demo", "notifications on a real API server, and what that cost")
    screen.say()
    isolated, reason = (False, "as asked") if bare else isolation_available()
    for server in SERVERS if isolated else SERVERS[:2]:  # apart, because building one takes minutes and tells of itself
        binaries.find(server)
    plane = ControlPlane(directory=folder / "control-plane", controller_manager=isolated)
    try:
        with screen.step("control plane") as done:
            plane.start()
            version = plane.api.request("GET", "/version")["gitVersion"]
            also = ", etcd and controller manager" if isolated else " and etcd"
            done(f"kube-apiserver {version}{also} at {plane.url}")
        namespaces = {mode: plane.create_namespace(f"demo-{mode}") for mode in MODES}
        ledger = plane.ledger()
        with ExitStack() as stack:
            site: SiteMaker = bare_site
            if isolated:
                with screen.step("node") as done:
                    site = installed_site(stack.enter_context(LocalKubelet(plane, IMAGES, folder=folder / "pods")))
                    done("a local kubelet, whose containers are isolated processes")
            else:
                with screen.step("CRD") as done:
                    install_crds(plane)
                    done(f"notificationrequests.kubernaut.ai; no chart, but bare processes: {reason}")
            stage = stack.enter_context(_operators(screen, plane, namespaces, folder, site))
            evidence = _show(screen, stage, ledger)
            _look_around(screen, stage, folder, f"--kubeconfig {plane.kubeconfig}", keep=keep)
            if keep:
                _wait_for_ctrl_c(plane)
        return 1 if evidence.differences else 0
    finally:
        plane.stop()


# On an existing cluster ----------------------------------------------------------------------------------


def _on_existing_cluster(screen: Screen, folder: Path, name: str, *, keep: bool) -> int:
    context = find_context(name)
    screen.heading("Kubernaut demo", "on an existing cluster")
    screen.say()
    screen.say(f"  context   {context.name}  (from {context.files})")
    screen.say(f"  server    {context.server}")
    screen.say()
    cluster = ExistingCluster(context, folder)
    run = uuid.uuid4().hex[:6]
    namespaces = {mode: f"kubernaut-demo-{run}-{mode}" for mode in MODES}
    made: list[str] = []
    added_crd = False
    try:
        with screen.step("cluster") as done:
            cluster.start()
            done(f"Kubernetes {cluster.version}")
        with screen.step("CRD") as done:
            differences = crd_differences(cluster.api)
            if differences is None:
                added_crd = True
                try:
                    install_crds(cluster)
                except ApiError:
                    added_crd = False  # refused; an interruption or a timeout may have left it there
                    raise
                done("notificationrequests.kubernaut.ai was missing and is added")
            elif differences:
                shown = ", ".join(differences[:3]) + (" ..." if len(differences) > 3 else "")
                done(f"there already and left as it is, though it differs from this version's in {shown}")
            else:
                done("there already, and the same as this version's")
        with screen.step("namespaces") as done:
            for namespace in namespaces.values():
                made.append(namespace)
                try:
                    cluster.create_namespace(namespace)
                except ApiError:
                    made.remove(namespace)
                    raise
            done(" and ".join(made))
        with _operators(screen, cluster, namespaces, folder, bare_site) as stage:
            evidence = _show(screen, stage, None)
            _look_around(screen, stage, folder, f"--context {name}", keep=keep)
            if keep:
                _wait_for_ctrl_c(cluster)
        return 1 if evidence.differences else 0
    finally:
        if keep and (made or added_crd):
            _say_how_to_remove(screen, name, made, crd=added_crd)
        elif cluster.running and (made or added_crd):
            _clean_up(screen, cluster, made, crd=added_crd)
        cluster.stop()


def _clean_up(screen: Screen, cluster: ExistingCluster, namespaces: list[str], *, crd: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave things behind
    screen.say()
    try:
        with screen.step("clean-up") as done:
            done(cluster.remove(namespaces, crd=crd))
    except BaseException:
        _say_how_to_remove(screen, cluster.context.name, namespaces, crd=crd)
        raise


def _say_how_to_remove(screen: Screen, context: str, namespaces: Sequence[str], *, crd: bool) -> None:
    screen.say("\n  left in the cluster; to remove it:")
    if namespaces:
        screen.say(f"    kubectl --context {context} delete namespace {' '.join(namespaces)}")
    if crd:
        screen.say(f"    kubectl --context {context} delete crd notificationrequests.kubernaut.ai")


# What both have in common --------------------------------------------------------------------------------


@contextmanager
def _operators(
    screen: Screen, cluster: ControlPlane, namespaces: dict[str, str], folder: Path, site: SiteMaker
) -> Iterator[Stage]:
    connection = cluster.connection if isinstance(cluster, ExistingCluster) else connection_to(cluster)
    with ExitStack() as stack:
        with screen.step("operators" if site is bare_site else "helm install") as done:
            stage = stack.enter_context(staged(cluster, connection, namespaces, folder, site))
            if site is bare_site:
                done("atomic and sequential: own processes, least RBAC")
            else:
                done("charts/notification, twice: atomic and sequential, under the chart's own RBAC")
        with screen.step("Slack") as done:
            done("a local webhook receiver stands in its place")
        yield stage


def _show(screen: Screen, stage: Stage, ledger: RequestLedger | None) -> Evidence:
    """Apply the samples, show what happens, then the proof."""
    screen.heading(f"{len(CASES)} notifications", f"applied to both operators, from {_short(SAMPLES)}/")
    live = report.Live(screen, stage, ledger)
    with screen.drawing():
        stage.apply_samples()
        stage.follow(live, timeout=PATIENCE)
    evidence = Evidence(stage, ledger)
    report.print_deliveries(screen, evidence)
    report.print_requests(screen, evidence)
    report.print_verdict(screen, evidence)
    return evidence


def _look_around(screen: Screen, stage: Stage, folder: Path, access: str, *, keep: bool) -> None:
    site = stage.sites[MODES[0]]
    own = not isinstance(stage.cluster, ExistingCluster)
    if keep or own:
        note = "" if keep else "commands: while `make demo KEEP=1` runs; files: until the next run"
        screen.heading("Look around", note)
        kubectl = f"{_kubectl(fetch=keep)} {access}"
        screen.say(f"  {kubectl} get notif -n {site.namespace}")
        screen.say(f"  {kubectl} describe notif -n {site.namespace} slack-recovers")
        if not isinstance(site.deployment, OperatorDeployment):
            screen.say(f"  {kubectl} get pods,deployments,leases -n {site.namespace}")
        screen.say()
    else:
        screen.heading("Look around", "these files stay until the next run; with KEEP=1 the objects stay, too")
    rows = [
        ["Slack messages", _short(folder / MODES[0] / "slack.jsonl")],
        ["files", f"{_short(site.output)}/"],
        ["operator's log", _short(site.deployment.process.log)],
    ]
    if own:
        rows.append(["audit log", _short(folder / "control-plane" / "audit.log")])
    for what, where in rows:
        screen.say(f"  {what:<16} {where}")


def _kubectl(*, fetch: bool) -> str:
    try:
        found = binaries.find("kubectl", build=fetch)
    except binaries.ToolUnavailableError:
        return "kubectl"
    return "kubectl" if shutil.which("kubectl") == str(found) else str(found)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _wait_for_ctrl_c(cluster: ControlPlane) -> None:
    print("\n  Everything stays up; Ctrl-C ends it.", flush=True)
    try:
        while cluster.running:
            time.sleep(0.5)
    except KeyboardInterrupt:
        print()
        return
    raise DemoError(f"cannot go on: a server has ended; see the logs in {cluster.folder}")


if __name__ == "__main__":
    sys.exit(main())

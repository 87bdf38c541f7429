"""Where the demo runs: a control plane of its own, or an existing cluster that was named by its context.

On its own control plane, where the system has Linux namespaces, the operators are installed by helm; everywhere else
they are bare processes with the same permissions.
"""

from __future__ import annotations

import shutil
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from demo.cases import MODES
from demo.chapter import SAMPLES, Chapter
from demo.chapters import CHAPTERS
from demo.clusters import ExistingCluster, connection_to, find_context
from demo.evidence import Evidence
from demo.following import Follower
from demo.ground import DemoError, Ground
from demo.report import Live, print_requests, print_verdict
from demo.screen import Screen
from kubernaut_api import load_crd
from kubernaut_testing import ControlPlane, binaries
from kubernaut_testing.kubelet import Image, LocalKubelet, isolation_available

__all__ = ["on_existing_cluster", "on_own_control_plane"]

SERVERS = ("kube-apiserver", "etcd", "kube-controller-manager", "helm")

Chapters = Sequence[Chapter[Any]]


def on_own_control_plane(screen: Screen, folder: Path, *, keep: bool, bare: bool) -> int:
    """Run it on a control plane that is started here; returns the exit code."""
    screen.heading("Kubernaut demo", "on a real API server: what each service does, and what that costs")
    _say_of_modes(screen)
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
        with ExitStack() as stack:
            kubelet = None
            if isolated:
                with screen.step("node") as done:
                    images: dict[str, Image | Sequence[str]] = {}
                    for chapter in CHAPTERS:
                        images.update({f"kubernaut-{chapter.service}": [chapter.operator.program], **chapter.images})
                    kubelet = stack.enter_context(LocalKubelet(plane, images, folder=folder / "pods"))
                    done("a local kubelet, whose containers are isolated processes")
            else:
                with screen.step("CRDs") as done:
                    for chapter in CHAPTERS:
                        plane.apply(load_crd(chapter.operator.plural))
                    done(f"of {_services()}; no charts, but bare processes: {reason}")
            ground = Ground(plane, connection_to(plane), folder, "demo-", ledger=plane.ledger(), kubelet=kubelet)
            chapters = stack.enter_context(_running(screen, ground))
            evidence = _tell(screen, chapters)
            _look_around(screen, chapters, f"--kubeconfig {plane.kubeconfig}", keep=keep)
            if keep:
                _wait_for_ctrl_c(plane)
        return 1 if any(each.differences for each in evidence) else 0
    finally:
        plane.stop()


def on_existing_cluster(screen: Screen, folder: Path, name: str, *, keep: bool) -> int:
    """Run it on the cluster of this context, and take away what was made there; returns the exit code."""
    context = find_context(name)
    screen.heading("Kubernaut demo", "on an existing cluster: what each service does, and what that costs")
    _say_of_modes(screen)
    screen.say(f"  context   {context.name}  (from {context.files})")
    screen.say(f"  server    {context.server}")
    screen.say()
    cluster = ExistingCluster(context, folder, [chapter.operator.plural for chapter in CHAPTERS])
    try:
        with screen.step("cluster") as done:
            cluster.start()
            done(f"Kubernetes {cluster.version}")
        for chapter in CHAPTERS:
            with screen.step("CRD") as done:
                done(cluster.add_crd(chapter.operator.plural))
        ground = Ground(cluster, cluster.connection, folder, f"kubernaut-demo-{uuid.uuid4().hex[:6]}-")
        with screen.step("namespaces") as done:
            done(" and ".join(ground.namespace(mode) for mode in MODES))
        with _running(screen, ground) as chapters:
            evidence = _tell(screen, chapters)
            _look_around(screen, chapters, f"--context {name}", keep=keep)
            if keep:
                _wait_for_ctrl_c(cluster)
        return 1 if any(each.differences for each in evidence) else 0
    finally:
        if keep:
            _say_how_to_remove(screen, cluster)
        elif cluster.running and cluster.commands_to_remove():
            _clean_up(screen, cluster)
        cluster.stop()


def _clean_up(screen: Screen, cluster: ExistingCluster) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave things behind
    screen.say()
    try:
        with screen.step("clean-up") as done:
            done(cluster.remove())
    except BaseException:
        _say_how_to_remove(screen, cluster)
        raise


def _say_how_to_remove(screen: Screen, cluster: ExistingCluster) -> None:
    commands = cluster.commands_to_remove()
    if commands:
        screen.say("\n  left in the cluster; to remove it:")
        for command in commands:
            screen.say(f"    {command}")


@contextmanager
def _running(screen: Screen, ground: Ground) -> Iterator[Chapters]:
    """All chapters with their operators; those are started at the same time, and ended afterwards."""
    chapters = [chapter(ground) for chapter in CHAPTERS]
    with ExitStack() as stack:
        for chapter in chapters:
            chapter.prepare(screen, stack)
        with screen.step("helm install" if ground.kubelet else "operators") as done:
            for chapter in chapters:
                chapter.make_sites(stack)
            _check_accounts(chapters)
            watched = [chapter.watched(mode) for chapter in chapters for mode in MODES]
            follower = stack.enter_context(Follower(ground.connection, watched))
            for chapter in chapters:
                chapter.wait_ready()
                chapter.follower = follower
            if ground.kubelet:
                done(f"charts {_services()}: atomic and sequential, under the charts' RBAC")
            else:
                done(f"{_services()}: atomic and sequential, processes with least RBAC")
        yield chapters


def _check_accounts(chapters: Chapters) -> None:
    """Two bare operators of one namespace with one ServiceAccount would have the permissions of the later one."""
    accounts = [site.account for chapter in chapters for site in [chapter.sites[MODES[0]]]]
    if len(set(accounts)) < len(accounts):
        raise DemoError(f"cannot tell the operators apart: two of them use one ServiceAccount ({', '.join(accounts)})")


def _say_of_modes(screen: Screen) -> None:
    screen.say("  Each service runs twice, over the same samples: atomic writes a status once per pass,")
    screen.say("  sequential once per change, as it was before.")
    screen.say()


def _services() -> str:
    return ", ".join(chapter.service for chapter in CHAPTERS)


def _tell(screen: Screen, chapters: Chapters) -> list[Evidence]:
    """The chapters one after the other, then the verdict over all."""
    found = []
    for chapter in chapters:
        samples = _short(SAMPLES / chapter.service)
        screen.heading(chapter.title, f"{chapter.note}; from {samples}/")

        def show(cases: Sequence[Any], chapter: Chapter[Any] = chapter) -> None:
            live = Live(screen, chapter, cases)
            with screen.drawing():
                chapter.apply(cases)
                chapter.follow(cases, live)

        chapter.play(screen, show)
        evidence = Evidence(chapter)
        print_requests(screen, evidence)
        found.append(evidence)
    print_verdict(screen, found)
    return found


def _look_around(screen: Screen, chapters: Chapters, access: str, *, keep: bool) -> None:
    ground = chapters[0].ground
    own = ground.ledger is not None
    looks = [chapter.look_around() for chapter in chapters]
    if keep or own:
        note = "" if keep else "commands: while `make demo KEEP=1` runs; files: until the next run"
        screen.heading("Look around", note)
        commands = [command for found, _ in looks for command in found]
        if ground.kubelet:
            commands.append(f"get pods,deployments,configmaps -n {ground.namespace(MODES[0])}")
        screen.say(f"  alias k='{_kubectl(fetch=keep)} {access}'")
        for command in commands:
            screen.say(f"  k {command}")
        screen.say()
    else:
        screen.heading("Look around", "these files stay until the next run; with KEEP=1 the objects stay, too")
    rows = [row for _, found in looks for row in found]
    rows += [(f"{chapter.service} log", chapter.sites[MODES[0]].deployment.process.log) for chapter in chapters]
    if own:
        rows.append(("audit log", ground.cluster.audit_log))
    widest = max(len(what) for what, _ in rows)
    for what, where in rows:
        screen.say(f"  {what:<{widest}}   {_short(where)}")


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

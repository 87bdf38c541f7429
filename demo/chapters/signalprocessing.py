"""Signals: enriched with what the cluster knows of their targets, classified by policy; one that cannot be.

Between the first signals and the last one the policy learns a word, where it is mounted; the operators go on running.

What each may cost is read from the table in the service's README. In sequential mode, each fact that a pass finds is a
status write of its own: 2, 1, 3, 5 and 3 of them from creation to Completed, where atomic mode writes once each.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios.budgets import read_budgets
from scenarios.installed import InstalledSignalProcessingSite
from scenarios.signalprocessing import SignalProcessingSite

from demo.cases import MODES, Case
from demo.chapter import SAMPLES, Chapter, Show
from demo.chapters.targets import Targets
from demo.ground import DemoError, Ground
from demo.screen import Cell, Screen, paragraph
from kubernaut_testing.waiting import eventually

__all__ = ["Signal", "Signals"]

_PROMISED = read_budgets("signalprocessing")
_LEARNT = '\t"page": "critical",'
"""The line that the policy learns, in its table of severities."""

_RELOADED_WITHIN = 90.0
"""Seconds until which a changed policy must be in force; kubelets look at ConfigMaps once a minute."""


@dataclass(frozen=True)
class Signal(Case):
    """A signal.

    Attributes:
        shown: what kubectl must show in the end, by column.
        owners: kinds of the owner chain.
        labels: its custom labels.
        mode: reactive or proactive.
        reason: what `failureInfo.error` must hold of one that fails.
        changed: whether the policy has changed before.
    """

    shown: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    mode: str = "reactive"
    reason: str = ""
    changed: bool = False


def _signal(name: str, phase: str, path: str, classes: str = "", **more: Any) -> Signal:
    """A case that may cost what the service's README promises for `path`; `classes` are what kubectl must show."""
    promise = _PROMISED[path]
    shown = dict(zip(("Severity", "Environment", "Priority"), classes.split(), strict=bool(classes)))
    writes = {mode: promise[f"PATCH, {mode}"] for mode in MODES}
    return Signal(name, phase, writes, reads=promise["reads"], events=promise["Events"], shown=shown, **more)


_PAYMENTS = {"team": ["payments"], "tier": ["gold"]}


class Signals(Chapter[SignalProcessingSite]):
    """The chapter of the SignalProcessing service."""

    service, operator, noun, short = "signalprocessing", SignalProcessingSite, "signal", "sp"
    title, note = "Signals", "enriched and classified by SignalProcessing"
    proved = "every signal enriched and classified as its labels and the policy say, under the hash of that policy"
    images = {"pause": ["sleep", "infinity"]}  # noqa: RUF012 - never changed
    cases = (
        _signal(
            "payment-oom",
            "Completed",
            "Pod of a Deployment",
            "critical Production P0",
            owners=("ReplicaSet", "Deployment"),
            labels=_PAYMENTS,
        ),
        _signal(
            "cart-oom-ahead",
            "Completed",
            "Deployment",
            "warning Staging P2",
            labels={"team": ["storefront"]},
            mode="proactive",
        ),
        _signal("checkout-paged", "Completed", "Deployment", "unknown Production P3", labels=_PAYMENTS),
        _signal("payment-in-east", "Failed", "a remote cluster (Failed)", reason="cluster east"),
        _signal("checkout-again", "Completed", "Deployment", "critical Production P0", labels=_PAYMENTS, changed=True),
    )

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._placed: dict[str, dict[str, Any]] = {}
        self._changed_at: int | None = None

    def prepare(self, screen: Screen, stack: ExitStack) -> None:
        """Make the targets."""
        with screen.step("targets") as done:
            self._targets = Targets(self.ground, SAMPLES / self.service / "targets.yaml")
            self._targets.create()
            done("3 Deployments with a Pod each, in two labelled namespaces")

    def site(self, mode: str, namespace: str, folder: Path) -> SignalProcessingSite:
        """The release of the first mode brings the CRD."""
        config: dict[str, Any] = {"controller": {"statusUpdateMode": mode}}
        if self.ground.kubelet is None:
            return SignalProcessingSite(self.ground.cluster, namespace, folder, config=config)
        return InstalledSignalProcessingSite(
            self.ground.kubelet, namespace, folder, config=config, crds=mode == MODES[0]
        )

    def manifest(self, case: Case) -> dict[str, Any]:
        """The sample with the target's namespace as it is called here, and the Pod's own name."""
        if case.name not in self._placed:
            manifest = super().manifest(case)
            target = manifest["spec"]["signal"]["targetResource"]
            if target["kind"] == "Pod":
                target["name"] = self._targets.pod(target["namespace"], target["name"])
            target["namespace"] = self._targets.namespace(target["namespace"])
            self._placed[case.name] = manifest
        return self._placed[case.name]

    def play(self, screen: Screen, show: Show) -> None:
        """Show the first ones and what came of them; change the policy; show the last one."""
        show([case for case in self.cases if not case.changed])
        self._print_card(screen)
        self._print_failures(screen)
        self._change_policy(screen)
        show([case for case in self.cases if case.changed])
        before, after = (self._signal(name).get("policyHash", "none") for name in ("checkout-paged", "checkout-again"))
        screen.say(f"  policyHash: {before[:12]}... before, {after[:12]}... after: the sha256sum of the text")

    def _print_card(self, screen: Screen) -> None:
        """What the cluster knew of a target, and what the policy made of it."""
        status, severity = self._status("payment-oom"), self.manifest(self.cases[0])["spec"]["signal"]["severity"]
        screen.say("\n  payment-oom, as its status tells it:")
        for line in screen.table([["", ""], *_card(status, severity)], indent=4)[1:]:
            screen.say(line)
        ahead = self._signal("cart-oom-ahead")
        screen.say()
        screen.say(
            f"  cart-oom-ahead is {ahead.get('signalMode', '-')}: {ahead.get('sourceSignalName', '-')} is mapped to "
            f"{ahead.get('signalName', '-')}"
        )

    def _print_failures(self, screen: Screen) -> None:
        for case in (case for case in self.cases if case.phase == "Failed"):
            error = (self._status(case.name).get("failureInfo") or {}).get("error", "nothing")
            screen.say()
            screen.say(f"  {case.name} failed, and says why:")
            for line in paragraph(error, "    "):
                screen.say(screen.paint(line, "yellow"))

    def _status(self, name: str) -> dict[str, Any]:
        return self.sites[MODES[0]].status(name)

    def _signal(self, name: str) -> dict[str, Any]:
        return self._status(name).get("signalClassification") or {}

    def _change_policy(self, screen: Screen) -> None:
        """Teach the policies a word, and wait until it is in force."""
        if self.ground.ledger is not None:
            self._changed_at = self.ground.ledger.mark()
        self._pids = self._processes()
        before = {mode: self._reloads(mode) for mode in MODES}
        self._old = (self.sites[MODES[0]].policies / "policy.rego").read_text()
        self._new = self._old.replace("severities := {\n", f"severities := {{\n{_LEARNT}\n")
        begun = time.monotonic()
        for site in self.sites.values():
            site.write_policy(self._new)
        try:
            eventually(
                lambda: all(self._reloads(mode) > before[mode] for mode in MODES),
                timeout=_RELOADED_WITHIN,
                interval=0.1,
            )
        except AssertionError:
            log = self.sites[MODES[0]].deployment.process.log
            raise DemoError(
                f"cannot go on: a changed policy is not in force after {_RELOADED_WITHIN:g} s; see {log}"
            ) from None
        where = "ConfigMap" if self.ground.kubelet else "folder"
        took = time.monotonic() - begun
        screen.say()
        screen.say('  checkout-paged came with severity "page", a word that the policy does not know.')
        screen.say(f"  One line more in its {where}, in force {took:.1f} s later without a restart:")
        screen.say(screen.paint(f"    + {_LEARNT.strip()}", "green"))

    def _processes(self) -> dict[str, int]:
        return {mode: site.deployment.process.pid for mode, site in self.sites.items()}

    def _reloads(self, mode: str) -> float:
        samples = self.sites[mode].deployment.samples("config_reload_total", result="ok")
        return sum(value for labels, value in samples if labels["file"].endswith(".rego"))

    def reads(self, case: Case, mode: str) -> int:
        """GETs of the operator in the target's namespace, for target and owners."""
        assert isinstance(case, Signal)
        ledger, target = self.ground.ledger, self.manifest(case)["spec"]["signal"]["targetResource"]
        assert ledger is not None
        if case.phase != "Completed":
            return 0

        def counted(since: int) -> int:
            found = ledger.entries(
                user_agent=self.operator.program,
                verb="get",
                namespace=target["namespace"],
                since=since,
                where=lambda entry: (
                    entry.user.startswith(f"system:serviceaccount:{self.sites[mode].namespace}:")
                    and (entry.name == target["name"] or target["name"].startswith(f"{entry.name}-"))
                ),
            )
            return len(found)

        after = counted(self._changed_at) if self._changed_at is not None else 0
        return after if case.changed else counted(0) - after

    def unlike(self, case: Case, mode: str) -> Iterator[str]:
        """Classes, owners, labels, the policy's hash; why it failed."""
        assert isinstance(case, Signal)
        status = self.sites[mode].status(case.name)
        error = (status.get("failureInfo") or {}).get("error", "")
        if case.reason not in error or bool(error) != bool(case.reason):
            yield f"its status tells error {error!r} instead of one about {case.reason or 'nothing'}"
        if case.phase == "Failed":
            return
        if case.changed and self._processes()[mode] != self._pids[mode]:
            yield "it was classified by another process than the signals before"
        row = self.row(case, mode)
        for column, wanted in case.shown.items():
            if row.get(column) != wanted:
                yield f"its {column.lower()} is {row.get(column) or 'not set'} instead of {wanted}"
        signal, context = status.get("signalClassification") or {}, status.get("kubernetesContext") or {}
        text = self._new if case.changed else self._old
        pairs = {
            "signal mode": (signal.get("signalMode"), case.mode),
            "policy hash": (signal.get("policyHash"), hashlib.sha256(text.encode()).hexdigest()),
            "owner chain": (tuple(owner["kind"] for owner in context.get("ownerChain") or []), case.owners),
            "custom labels": (context.get("customLabels") or {}, dict(case.labels)),
        }
        for what, (have, want) in pairs.items():
            if have != want:
                yield f"its {what} is {have} instead of {want}"

    def look_around(self) -> tuple[list[str], list[tuple[str, Path]]]:
        """One of them whole."""
        commands, _ = super().look_around()
        commands.append(f"get {self.short} -n {self.sites[MODES[0]].namespace} payment-oom -o yaml")
        return commands, []


def _card(status: Mapping[str, Any], given: str) -> list[list[Cell]]:
    """The facts of a status, one a row; `given` is the severity that the signal came with."""
    context, signal = status.get("kubernetesContext") or {}, status.get("signalClassification") or {}
    environment, priority = status.get("environmentClassification") or {}, status.get("priorityAssignment") or {}
    business, workload = status.get("businessClassification") or {}, context.get("workload") or {}
    namespace = context.get("namespace") or {}
    labels = {key: value for key, value in (namespace.get("labels") or {}).items() if key.startswith("kubernaut.ai/")}
    custom = {key: ",".join(values) for key, values in (context.get("customLabels") or {}).items()}
    owners = [f"{owner['kind']} {owner['name']}" for owner in context.get("ownerChain") or []]
    return [
        ["target", f"{workload.get('kind', '-')} {workload.get('name', '')}"],
        ["owned by", ", ".join(owners) or "-"],
        ["namespace", f"{namespace.get('name', '-')}: {_joined(labels)}"],
        ["custom labels", _joined(custom)],
        ["environment", f"{environment.get('environment', '-')}, by {environment.get('source', '-')}"],
        ["severity", f"{signal.get('severity', '-')}, from {given}"],
        ["priority", f"{priority.get('priority', '-')}, by {priority.get('policyName', '-')}"],
        ["business", f"{business.get('businessUnit', '-')}, {business.get('slaRequirement', '-')}"],
        ["mode", f"{signal.get('signalMode', '-')}: {signal.get('signalName', '-')}"],
    ]


def _joined(labels: Mapping[str, str]) -> str:
    """Without the prefix that all of them have."""
    return " ".join(f"{key.removeprefix('kubernaut.ai/')}={value}" for key, value in sorted(labels.items())) or "-"

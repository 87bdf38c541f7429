"""What was delivered and what was requested, and where that differs from what must be.

Deliveries are counted where they arrive: at the receiver, in the output folder, in the operator's log. Requests are
counted in the API server's audit log; of a cluster whose audit log is out of reach, in the operators' own metrics,
which know no objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

from scenarios.notification import CONTRACT, PLURAL, PROGRAM

from demo.cases import CASES, MODES, Case
from demo.stage import Stage, subject_of
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger

__all__ = ["Deliveries", "Evidence", "Requests"]


@dataclass(frozen=True)
class Deliveries:
    """What arrived of one notification: Slack's answers in order, records on the console, files."""

    slack: tuple[int, ...]
    console: int
    file: int


@dataclass(frozen=True)
class Requests:
    """Requests on an object, or on all of them: status writes, reads, refused as conflicts, anything else."""

    writes: int = 0
    reads: int = 0
    conflicts: int = 0
    others: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(
            self.writes + other.writes,
            self.reads + other.reads,
            self.conflicts + other.conflicts,
            self.others + other.others,
        )


class Evidence:
    """Collected once everything has ended. `ledger` is None where there is no audit log to read."""

    def __init__(self, stage: Stage, ledger: RequestLedger | None) -> None:
        self.stage = stage
        self.ledger = ledger
        if ledger is not None:
            ledger.settle()

    # Deliveries ------------------------------------------------------------------------------------------

    def deliveries(self, case: Case, mode: str) -> Deliveries:
        """What arrived of a case."""
        site = self.stage.sites[mode]
        arrived = [each for each in site.receiver.requests if subject_of(each).endswith(case.subject)]
        shown = [text for text in self._console[mode] if case.subject in text.partition("\n")[0]]
        return Deliveries(tuple(each.answer.status for each in arrived), len(shown), len(site.files(case.name)))

    @cached_property
    def _console(self) -> dict[str, list[str]]:
        return {
            mode: [
                str(record["msg"])
                for record in site.deployment.process.records()
                if record.get("logger") == "kubernaut_notification.console"
            ]
            for mode, site in self.stage.sites.items()
        }

    # Requests --------------------------------------------------------------------------------------------

    def requests(self, case: Case, mode: str) -> Requests:
        """What the operator asked of one object, by the audit log."""
        assert self.ledger is not None
        counted = Counter[str]()
        for entry in self.ledger.requests(self.stage.sites[mode].ref(case.name), user_agent=PROGRAM):
            kind = {"patch/status": "writes", "get": "reads"}.get(entry.action, "others")
            counted["conflicts" if entry.code == 409 else kind] += 1
        return Requests(**counted)

    def total(self, mode: str) -> Requests:
        """What the operator asked of all objects: by the audit log, else by its own metrics."""
        if self.ledger is not None:
            return sum((self.requests(case, mode) for case in CASES if case.accepted), Requests())
        counted = Counter[str]()
        for labels, value in self.stage.sites[mode].deployment.samples("k8s_api_calls_total", resource=PLURAL):
            action = labels["verb"] + (f"/{labels['subresource']}" if labels["subresource"] else "")
            if action not in ("list", "watch"):
                kind = {"patch/status": "writes", "get": "reads"}.get(action, "others")
                counted["conflicts" if labels["code"] == "409" else kind] += int(value)
        return Requests(**counted)

    def delivery_writes(self, case: Case, mode: str) -> int:
        """Status writes from Sending to the next phase: what recording the first deliveries has cost."""
        assert self.ledger is not None
        transitions = self.ledger.per_transition(self.stage.sites[mode].ref(case.name))
        first = next((each for each in transitions if each.from_phase == "Sending"), None)
        return sum(1 for entry in first.entries if entry.action == "patch/status") if first else 0

    def beside(self, mode: str) -> dict[str, int]:
        """The operator's requests that are on no notification: by what they are for."""
        assert self.ledger is not None
        kinds = {"events": "Events", "leases": "lease", PLURAL: "list and watch"}
        namespace = self.stage.sites[mode].namespace
        entries = self.ledger.entries(
            user_agent=PROGRAM,
            where=lambda entry: entry.namespace == namespace and not (entry.resource == PLURAL and entry.name),
        )
        counted = Counter(kinds.get(entry.resource, entry.resource) for entry in entries)
        return {kind: counted[kind] for kind in sorted(counted)}

    # Verdict ---------------------------------------------------------------------------------------------

    @cached_property
    def differences(self) -> list[str]:
        """One sentence for each thing that is not as it must be; empty means success."""
        found: list[str] = []
        for case in CASES:
            for mode in MODES:
                told = self._of_accepted(case, mode) if case.accepted else self._of_rejected(case, mode)
                found += [f"{case.name}, {mode}: {text}" for text in told]
        for mode in MODES:
            total, writes = self.total(mode), sum((case.writes or {}).get(mode, 0) for case in CASES)
            if total != Requests(writes):
                found.append(f"all notifications, {mode}: {_asked(total)}, instead of {_asked(Requests(writes))}")
        return found

    def _of_accepted(self, case: Case, mode: str) -> Iterator[str]:
        if (case.name, mode) in self.stage.rejections:
            yield f"the API server rejected it: {self.stage.rejections[case.name, mode]}"
            return
        site = self.stage.sites[mode]
        status = site.status(case.name)
        if status.get("phase") != case.phase:
            log = site.deployment.process.log
            yield f"its phase is {status.get('phase') or 'not set'} instead of {case.phase}; the operator's log: {log}"
        if status.get("totalAttempts") != case.attempts:
            yield f"its status shows {status.get('totalAttempts')} attempts instead of {case.attempts}"
        want, have = Deliveries(case.slack, 1, 1), self.deliveries(case, mode)
        for field in fields(Deliveries):
            wanted, found = getattr(want, field.name), getattr(have, field.name)
            if wanted != found:
                yield f"{field.name} saw {_shown(found)} instead of {_shown(wanted)}"
        if self.ledger is None:
            return
        asked, budget = self.requests(case, mode), Requests((case.writes or {})[mode])
        if asked != budget:
            yield f"{_asked(asked)}, instead of {_asked(budget)}"
        if mode == "atomic":
            try:
                assert_invariants(self.ledger, site.ref(case.name), CONTRACT)
            except AssertionError as error:
                yield f"an invariant is broken: {error}"

    def _of_rejected(self, case: Case, mode: str) -> Iterator[str]:
        rejection = self.stage.rejections.get((case.name, mode))
        if rejection is None:
            yield "the API server accepted it"
        elif case.complaint not in rejection:
            yield f"the API server's message does not name {case.complaint}: {rejection}"
        if self.deliveries(case, mode) != Deliveries((), 0, 0):
            yield "it was delivered"


def _asked(requests: Requests) -> str:
    told = [f"{requests.writes} PATCH", f"{requests.reads} GET", f"{requests.conflicts} conflicts"]
    return ", ".join([*told, *([f"{requests.others} others"] if requests.others else [])])


def _shown(seen: int | tuple[int, ...]) -> str:
    return (", ".join(str(code) for code in seen) or "nothing") if isinstance(seen, tuple) else str(seen)

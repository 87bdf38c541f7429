"""The demo's tables: the phases while they change, then what was delivered where and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.notification import PROGRAM

from demo.cases import CASES, CHANNELS, MODES, Case
from demo.evidence import Deliveries, Evidence, Requests
from demo.following import Step
from demo.screen import Cell, Screen, paragraph
from demo.stage import Stage
from kubernaut_testing.ledger import RequestLedger

__all__ = ["Live", "print_deliveries", "print_requests", "print_verdict"]

_STYLES = {
    **dict.fromkeys(("rejected", "created", "Pending"), ("dim",)),
    "Sent": ("green",),
    "PartiallySent": ("yellow",),
    "Retrying": ("cyan",),
    "Failed": ("red",),
}


class Live:
    """The phases as they change: a table that is redrawn, or a line per transition. Call it as a tick."""

    def __init__(self, screen: Screen, stage: Stage, ledger: RequestLedger | None) -> None:
        self._screen, self._stage, self._ledger = screen, stage, ledger
        self._told = 0

    def __call__(self) -> None:
        """Show what is new."""
        if self._screen.live:
            self._screen.draw(self._table())
            return
        for step in self._stage.follower.steps(self._told):
            self._told += 1
            if step.phase:
                self._screen.say(self._line(step))

    def _line(self, step: Step) -> str:
        after = max(0.0, step.at - self._stage.begun)
        change = f"{step.before} -> {step.phase}" if step.before else step.phase
        return f"  {after:5.2f} s   {self._stage.mode_of(step.namespace):<10}   {step.name:<16}   {change}"

    def _table(self) -> list[str]:
        counted = self._ledger is not None
        header: list[Cell] = ["notification"]
        for mode in MODES:
            header += [mode, "writes"] if counted else [mode]
        rows: list[list[Cell]] = [header]
        for case in CASES:
            row: list[Cell] = [case.name]
            for mode in MODES:
                row.append(self._state(case, mode).ljust(len("PartiallySent")))
                if counted:
                    row.append(self._writes(case, mode))
            rows.append(row)

        def style(row: int, column: int) -> Sequence[str]:
            return _STYLES.get(str(rows[row][column]).strip(), ())

        return self._screen.table(rows, style=style)

    def _state(self, case: Case, mode: str) -> str:
        if (case.name, mode) in self._stage.rejections:
            return "rejected"
        return self._stage.phase(case.name, mode) or "created"

    def _writes(self, case: Case, mode: str) -> int:
        assert self._ledger is not None
        ref = self._stage.sites[mode].ref(case.name)
        return len(self._ledger.entries(ref, user_agent=PROGRAM, subresource="status"))


def print_deliveries(screen: Screen, evidence: Evidence) -> None:
    """What arrived where, and what the API server said of the sample that it rejected."""
    stage = evidence.stage
    screen.heading("Delivered", "counted where it arrives; the same from both operators unless told otherwise")
    rows: list[list[Cell]] = [["notification", "phase", "Slack", "console", "file"]]
    for case in (case for case in CASES if case.accepted):
        seen = {mode: (stage.phase(case.name, mode), evidence.deliveries(case, mode)) for mode in MODES}
        differ = len(set(seen.values())) > 1
        for mode in MODES if differ else MODES[:1]:
            name = f"{case.name} ({mode})" if differ else case.name
            rows.append([name, seen[mode][0] or "created", *_arrived(seen[mode][1])])

    def style(row: int, column: int) -> Sequence[str]:
        return _STYLES.get(str(rows[row][column]), ()) if column == 1 else ()

    for line in screen.table(rows, style=style):
        screen.say(line)
    for case in (case for case in CASES if not case.accepted):
        rejection = stage.rejections.get((case.name, MODES[0]))
        if rejection is not None:
            screen.say()
            screen.say(f"  {case.name} was rejected by the API server, and no operator saw it:")
            for line in paragraph(rejection, "    "):
                screen.say(screen.paint(line, "yellow"))


def _arrived(deliveries: Deliveries) -> list[Cell]:
    refused = [str(code) for code in deliveries.slack if code >= 300]
    messages = len(deliveries.slack) - len(refused)
    slack = [f"refused {', '.join(refused)}"] if refused else []
    slack += [_counted(messages, "message")] if messages else []
    return [
        ", then ".join(slack) or "nothing",
        _counted(deliveries.console, "record"),
        _counted(deliveries.file, "file"),
    ]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_requests(screen: Screen, evidence: Evidence) -> None:
    """Requests per object beside the sequential mode's, conflicts, and what that saves."""
    columns: list[Cell] = ["PATCH", "GET", "409"]
    totals = {mode: evidence.total(mode) for mode in MODES}
    if evidence.ledger is None:
        screen.heading("Requests", "on all notifications, by the operators' own metrics")
        rows: list[list[Cell]] = [["operator", *columns]]
        rows += [[mode, *_numbers(totals[mode])] for mode in MODES]
        lines = screen.table(rows)
    else:
        screen.heading("Requests on each notification", "from the API server's own audit log")
        rows = [["notification", *columns, "", *columns, "fewer writes"]]
        for case in (case for case in CASES if case.accepted):
            rows.append(_compared(case.name, {mode: evidence.requests(case, mode) for mode in MODES}))
        rows.append(_compared("all", totals))
        lines = screen.table(rows, style=lambda row, column: ("bold",) if row == len(rows) - 1 else ())
        widest = max(len(case.name) for case in CASES if case.accepted)
        screen.say(screen.paint(f"  {'':{widest}}   {MODES[0]:<20}   {MODES[1]}", "dim"))
    for line in lines:
        screen.say(line)
    screen.say()
    for line in _notes(evidence, totals):
        for part in paragraph(line):
            screen.say(part)


def _numbers(requests: Requests) -> list[Cell]:
    return [requests.writes, requests.reads, requests.conflicts]


def _compared(name: str, requests: dict[str, Requests]) -> list[Cell]:
    one, other = (requests[mode] for mode in MODES)
    return [name, *_numbers(one), "", *_numbers(other), _saved(one.writes, other.writes)]


def _saved(one: int, other: int) -> str:
    return f"{100 * (other - one) / other:.0f} %" if other else "-"


def _notes(evidence: Evidence, totals: dict[str, Requests]) -> list[str]:
    one, other = (totals[mode] for mode in MODES)
    if evidence.ledger is None:
        return [
            f"Writing once per pass saved {_saved(one.writes, other.writes)} of the status writes.",
            "The audit log of this cluster is not read here, so these counts are what the operators say of themselves "
            "(k8s_api_calls_total), and there are none for single objects. `make demo` without CONTEXT has both.",
        ]
    case = CASES[0]
    commits = [evidence.delivery_writes(case, mode) for mode in MODES]
    beside = ", ".join(f"{number} {kind}" for kind, number in evidence.beside(MODES[0]).items())
    return [
        f"Recording a delivery to {len(CHANNELS)} channels ({case.name}, Sending to {case.phase}) took "
        f"{commits[0]} write instead of {commits[1]}: {_saved(*commits)} fewer. Over whole lifecycles it is "
        f"{_saved(one.writes, other.writes)}.",
        f"The operator's requests beside these: {beside}.",
    ]


def print_verdict(screen: Screen, evidence: Evidence) -> None:
    """Whether all is as it must be; else what differs."""
    screen.heading("Verdict")
    if not evidence.differences:
        screen.say(f"  {screen.paint('✓', 'green')} all as it must be: phases, deliveries and numbers of writes;")
        durable = "" if evidence.ledger is None else "each atomic write a durable change, "
        screen.say(f"    {durable}no read, no conflict, nothing sent twice")
        return
    for text in evidence.differences:
        first, *rest = text.splitlines()
        screen.say(f"  {screen.paint('✗', 'red')} {first}")
        for line in rest:
            screen.say(f"    {line}")

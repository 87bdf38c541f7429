"""The demo's tables: the objects while they change, then what they have cost, then the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demo.cases import MODES, Case
from demo.chapter import Chapter
from demo.evidence import Evidence
from demo.requests import Requests
from demo.screen import Cell, Screen, paragraph

__all__ = ["Live", "print_requests", "print_verdict"]

_STYLES = {
    **dict.fromkeys(("rejected", "created", "Pending", "unknown", "Unknown"), ("dim",)),
    **dict.fromkeys(("Sent", "Completed"), ("green",)),
    **dict.fromkeys(("PartiallySent", "warning"), ("yellow",)),
    **dict.fromkeys(("Retrying", "Enriching", "Classifying", "Categorizing"), ("cyan",)),
    **dict.fromkeys(("Failed", "critical"), ("red",)),
}
_WIDEST_PHASE = len("PartiallySent")


class Live:
    """What kubectl shows of the atomic operator's objects, as it changes. Call it as a tick.

    A terminal gets a table that is redrawn, everything else the rows of `kubectl get --watch`.
    """

    def __init__(self, screen: Screen, chapter: Chapter[Any], cases: Sequence[Case]) -> None:
        self._screen, self._chapter, self._cases = screen, chapter, cases
        self._watched = chapter.watched(MODES[0])
        self._told = len(chapter.follower.steps(self._watched))
        self._columns: list[str] = []
        screen.say()
        watch = f"  $ kubectl get {chapter.short} -n {self._watched.namespace} --watch"
        screen.say(screen.paint(watch, "dim"))

    def __call__(self) -> None:
        """Show what is new."""
        columns = self._chapter.follower.columns(self._watched)
        if not columns:
            return
        if self._screen.live:
            self._screen.draw(self._table(columns))
            return
        if not self._columns:
            self._columns = columns
            self._screen.say(self._line("after", "NAME", [column.upper() for column in columns]))
        for step in self._chapter.follower.steps(self._watched, self._told):
            self._told += 1
            if step.cells.get("Phase"):
                after = max(0.0, step.at - self._chapter.begun)
                self._screen.say(self._line(f"{after:.2f} s", step.name, list(step.cells.values())))

    def _line(self, after: str, name: str, cells: Sequence[str]) -> str:
        widest = max(len(case.name) for case in self._chapter.cases)
        shown = [cell.ljust(max(len(title), _WIDEST_PHASE)) for title, cell in zip(self._columns, cells, strict=True)]
        return f"  {after:>6}   {name:<{widest}}   {'  '.join(shown)}".rstrip()

    def _table(self, columns: Sequence[str]) -> list[str]:
        rows: list[list[Cell]] = [["NAME", *(column.upper() for column in columns)]]
        for case in self._cases:
            row = self._chapter.row(case, MODES[0])
            shown: list[Cell] = [row.get(column, "") for column in columns]
            at = columns.index("Phase")
            shown[at] = str(shown[at] or self._born(case)).ljust(_WIDEST_PHASE)
            rows.append([case.name, *shown])

        def style(row: int, column: int) -> Sequence[str]:
            return _STYLES.get(str(rows[row][column]).strip(), ())

        return self._screen.table(rows, style=style)

    def _born(self, case: Case) -> str:
        return "rejected" if (case.name, MODES[0]) in self._chapter.rejections else "created"


def print_requests(screen: Screen, evidence: Evidence) -> None:
    """What the objects have cost, against the budget and beside the sequential mode."""
    chapter = evidence.chapter
    totals = {mode: evidence.total(mode) for mode in MODES}
    screen.say()
    if evidence.ledger is None:
        rows: list[list[Cell]] = [["requests, by the operators' metrics", "PATCH", "GET", "409"]]
        rows += [[mode, *_own(totals[mode])] for mode in MODES]
        for line in screen.table(rows):
            screen.say(line)
        screen.say(f"  Writing once per pass saved {_saved(totals)} of the status writes.")
        return
    read = any(case.reads for case in chapter.cases)
    header: list[Cell] = ["requests", "PATCH", "budget", "sequential", "fewer", "GET", "409"]
    rows = [[*header, *(["reads"] if read else []), "Events"]]
    for case in evidence.accepted:
        costs = {mode: evidence.requests(case, mode) for mode in MODES}
        rows.append(_compared(case.name, costs, case.budget(MODES[0]), read=read))
    rows.append(_compared("all", totals, evidence.budget(MODES[0]), read=read))
    for line in screen.table(rows, style=lambda row, _: ("bold",) if row == len(rows) - 1 else (), gap=2):
        screen.say(line)
    screen.say()
    of_others = "; reads: of its target and that one's owners" if read else ""
    beside = ", ".join(f"{number} {kind}" for kind, number in evidence.beside(MODES[0]).items())
    notes = [
        f"Counted in the API server's audit log: PATCH, GET and 409 on the {chapter.noun} itself{of_others}; "
        f"sequential: PATCH in that mode. Beside these, the atomic operator has asked for: {beside}.",
        *chapter.notes(),
    ]
    for text in notes:
        for part in paragraph(text):
            screen.say(part)


def _own(requests: Requests) -> list[Cell]:
    return [requests.writes, requests.gets, requests.conflicts]


def _compared(name: str, costs: dict[str, Requests], budget: Requests, *, read: bool) -> list[Cell]:
    one, other = (costs[mode] for mode in MODES)
    reads: list[Cell] = [one.reads] if read else []
    return [name, one.writes, budget.writes, other.writes, _saved(costs), one.gets, one.conflicts, *reads, one.events]


def _saved(costs: dict[str, Requests]) -> str:
    one, other = (costs[mode].writes for mode in MODES)
    return f"{100 * (other - one) / other:.0f} %" if other else "-"


def print_verdict(screen: Screen, chapters: Sequence[Evidence]) -> None:
    """Whether all is as it must be; else what differs."""
    screen.heading("Verdict")
    differences = [text for evidence in chapters for text in evidence.differences]
    if differences:
        for text in differences:
            first, *rest = text.splitlines()
            screen.say(f"  {screen.paint('✗', 'red')} {first}")
            for line in rest:
                screen.say(f"    {line}")
        return
    told = [evidence.chapter.proved for evidence in chapters]
    if chapters[0].ledger is None:
        told.append("exactly the status writes of the budget, no object read back, no conflict, as the operators count")
    else:
        told.append("exactly the requests of the budget: no object read back, no conflict, in either mode")
        told.append("every atomic write one durable change, in the order that the phases allow")
    for text in told:
        screen.say(f"  {screen.paint('✓', 'green')} {text}")

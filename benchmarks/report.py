"""The results as a Markdown document: a chapter per service, a section per load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.examples import Counted
from benchmarks.figures import FIGURES, Figure
from benchmarks.loads import Load
from benchmarks.modes import ATOMIC, MODES
from benchmarks.run import QUIET
from benchmarks.service import Service
from benchmarks.services import SERVICES
from benchmarks.suite import Results
from benchmarks.summary import Run, Spread, ratio, spread

HEADLINES = (
    "patches",
    "object_requests",
    "reads",
    "watch_events",
    "wall",
    "backlog_wall",
    "ended_p50",
    "ended_p99",
    "operator_cpu",
    "apiserver_cpu",
    "etcd_cpu",
)
"""The figures that the summary names."""

BUSY = 0.1
"""From so many cores kept busy by other programs on, the report compares counts only."""

NOT_SHOWN = """\
* **Times of a real cluster.** etcd runs without fsync (`--unsafe-no-fsync`, as in the tests), as one member, on the
  machine of everything else. A write on a cluster waits for a disk and a quorum; none of these did.
* **The latency of a single object in the loads at once and at start.** There the time from creation to the end is
  mostly the time in the operator's queue: it tells of throughput. The loads with a rate tell of latency.
* **Programs with cores of their own.** The load's creators, the operator, the API server, etcd and stand-ins share
  the cores named above; what one of them saves, another one gets. The last row tells what other programs took.
* **The system that this project replaces.** `sequential` is this operator with one conditional write per change. It has
  no read before each write and no pass started by its own events.
* **Conflicts.** Nobody else writes these objects, so there are none. One costs a GET and a PATCH, as the tests show.
* **Fine percentiles from `/metrics`.** They are interpolated within wide buckets, of which the lowest ends at 5 ms.
  Means and sums are exact, and so are the percentiles from the audit log, from a request's arrival to the end of its
  answer.
* **A request total for equal work in Events.** Events are sent from a bounded buffer, and a load can fill it: the
  oldest are dropped, more of them when the operator is faster. Rows about the objects are not touched by that;
  "requests, all" is.\
"""


def render(archive: Sequence[Results], raw: str | None = None) -> str:
    """The whole document, of the results of one or more calls; `raw` is the name of the file with the raw figures."""
    services = [service for service in SERVICES if any(_of(service, results) for results in archive)]
    parts = [
        "# Benchmarks: one write per pass, against one per change",
        *_introduction(archive),
        *(part for service in services for part in _chapter(service, archive)),
        "## What the figures do not show",
        "\n".join([NOT_SHOWN, *(service.notes for service in services if service.notes)]),
    ]
    if raw is not None:
        parts.append(f"The figures of every single run are in [{raw}]({raw}).")
    return "\n\n".join(parts) + "\n"


def _of(service: Service, results: Results) -> list[Load]:
    """The loads of a service that were measured, in the order of the report."""
    names = [load.name for load in service.loads]
    return sorted((load for load in results.loads if load.name in names), key=lambda load: names.index(load.name))


def _introduction(archive: Sequence[Results]) -> Iterator[str]:
    if len(archive) > 1:
        yield "Measured at different times; figures of different calls are not to be compared:"
        yield "\n".join(f"* {', '.join(_titles(results))}: {_measured(results)}" for results in archive)
    else:
        yield f"Measured {_measured(archive[0])}"
    yield "\n".join(
        f"* `{mode.name}` (`statusUpdateMode: {mode.update}`, `statusRefetch: {mode.refetch}`): {mode.meaning}."
        for mode in MODES
    )
    creators, reconciles = archive[-1].creators, archive[-1].reconciles
    yield (
        f"Objects are created by {creators} threads; the operator works on {reconciles} at a time. Each run has a "
        f"namespace and an operator process of its own on one control plane. Counted from before the first creation "
        f"(with a backlog: from before the operator's start) until the operator has been quiet for {QUIET:g} s."
    )
    yield "Tables: median of all rounds [least, greatest]; × is the median of the ratios to `atomic` within each round."


def _titles(results: Results) -> Iterator[str]:
    for service in SERVICES:
        if loads := _of(service, results):
            yield f"{service.title} ({'; '.join(load.title for load in loads)})"


def _measured(results: Results) -> str:
    on = results.machine
    return (
        f"by `{results.command}` in one run of {results.seconds / 60:.1f} minutes, on {on['cores']:.0f} cores "
        f"({on['architecture']}, {on['system']}), {on['memory_gib']} GiB of memory, Kubernetes "
        f"{results.versions['kubernetes']}, etcd {results.versions['etcd']}, Python {on['python']}. "
        f"One-minute load of the machine before the start: {on['load_before']}."
    )


def _chapter(service: Service, archive: Sequence[Results]) -> Iterator[str]:
    yield f"## {service.title}"
    yield service.about
    measured = {load.name: (load, results) for results in archive for load in _of(service, results)}
    for each in service.loads:
        if each.name in measured:
            load, results = measured[each.name]
            yield from _section(service, load, results.runs)
    for results in archive:
        if any(each.service == service.name for each in results.examples):
            yield f"### Single commits of {service.title}"
            yield _examples(service, results)


def _section(service: Service, load: Load, runs: Sequence[Run]) -> Iterator[str]:
    of_load = [run for run in runs if run.load == load.name]
    others = [mode for mode in load.modes if mode is not ATOMIC]
    yield f"### {load.title}"
    yield _told(service, load)
    quiet = _others(of_load) < BUSY
    yield _table(service, of_load, [mode.name for mode in others], times=quiet)
    if not quiet:
        yield (
            f"Other programs kept up to {_others(of_load):.1f} cores busy during a run, and not equally in all: the "
            "counts above are exact all the same; the times cannot be compared, so no ratios of them are given."
        )
    yield "\n".join(_in_words(service, of_load, mode.name, times=quiet) for mode in others)


def _told(service: Service, load: Load) -> str:
    rounds = f"Rounds: {load.rounds}" + (", the order of the modes rotated." if load.rounds > 1 else ".")
    if load.backlog:
        return (
            f"{load.objects} {service.objects} exist when the operator starts; {load.fresh} more are created while "
            f"it works through them, one after the other. {rounds}"
        )
    how = "as fast as the API server takes them" if load.per_minute is None else f"at {load.per_minute:g} a minute"
    return f"{load.objects} {service.objects}, created {how}. {rounds}"


def _table(service: Service, runs: Sequence[Run], others: Sequence[str], *, times: bool) -> str:
    heads = ["", "from", f"`{ATOMIC.name}`", *(cell for name in others for cell in (f"`{name}`", "×"))]
    seen = [figure for figure in FIGURES if any(run.values.get(figure.key) is not None for run in runs)]
    return "\n".join(_rows(heads, (_cells(service, runs, figure, others, times=times) for figure in seen)))


def _others(runs: Sequence[Run]) -> float:
    return max((run.values.get("others") or 0.0 for run in runs), default=0.0)


def _in_words(service: Service, runs: Sequence[Run], mode: str, *, times: bool) -> str:
    told = [
        f"{_title(service, figure).replace('*', '')} × {found:.2f}"
        for figure in FIGURES
        if figure.key in HEADLINES
        and (times or figure.counted)
        and (found := ratio(runs, mode, figure.key, ATOMIC.name)) is not None
    ]
    return f"* `{mode}` against `{ATOMIC.name}`: {'; '.join(told)}."


def _title(service: Service, figure: Figure) -> str:
    return figure.title.format(end=service.end)


def _cells(service: Service, runs: Sequence[Run], figure: Figure, others: Sequence[str], *, times: bool) -> list[str]:
    title = _title(service, figure) + (f", {figure.unit}" if figure.unit else "")
    cells = [title, figure.source, _spread(spread(runs, ATOMIC.name, figure.key), figure)]
    for name in others:
        compared = figure.source != "machine" and (times or figure.counted)
        found = ratio(runs, name, figure.key, ATOMIC.name) if compared else None
        cells += [_spread(spread(runs, name, figure.key), figure), "" if found is None else f"{found:.2f}"]
    return cells


def _spread(found: Spread | None, figure: Figure) -> str:
    if found is None:
        return "none"
    median, least, greatest = (f"{value:.{figure.decimals}f}" for value in (found.median, found.least, found.greatest))
    return median if least == greatest else f"{median} [{least}, {greatest}]"


def _examples(service: Service, results: Results) -> str:
    text = (
        f"{service.examples_about} By the service's own status writer on the same API server; requests from the audit "
        f"log, the same in all {results.example_rounds} repetitions; milliseconds as the caller sees them, median. "
        "Saved: requests of `atomic` against `sequential`."
    )
    heads = ["example", "changes", *(f"`{mode.name}`" for mode in MODES), "saved"]
    found = {(each.example, each.mode): each for each in results.examples if each.service == service.name}
    rows = []
    for example in service.examples:
        costs = [found[example.name, mode.name] for mode in MODES]
        atomic, sequential = (costs[number].patches + costs[number].gets for number in (0, 1))
        saved = f"{sequential} → {atomic} ({100 * (1 - atomic / sequential):.0f} %)"
        rows.append([example.title, str(example.changes), *(_cost(cost) for cost in costs), saved])
    return text + "\n\n" + "\n".join(_rows(heads, rows))


def _cost(cost: Counted) -> str:
    gets = f" + {cost.gets} GET" if cost.gets else ""
    return f"{cost.patches} PATCH{gets}, {cost.milliseconds:.1f} ms"


def _rows(heads: Sequence[str], rows: Iterator[list[str]] | Sequence[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"

"""The results as a Markdown document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.examples import EXAMPLES, Counted
from benchmarks.figures import FIGURES, Figure
from benchmarks.loads import Load
from benchmarks.modes import ATOMIC, MODES
from benchmarks.run import QUIET
from benchmarks.suite import Results
from benchmarks.summary import Run, Spread, ratio, spread

HEADLINES = (
    "patches",
    "object_requests",
    "watch_events",
    "wall",
    "backlog_wall",
    "sent_p50",
    "sent_p99",
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
* **The latency of a single notification in the loads at once and at start.** There the time from creation to Sent is
  mostly the time in the operator's queue: it tells of throughput. The two loads with a rate tell of latency.
* **Programs with cores of their own.** The load's creators, the operator, the API server, etcd and the receiver share
  the cores named above; what one of them saves, another one gets. The last row tells what other programs took.
* **The system that this project replaces.** `sequential` is this operator with one conditional write per change. It has
  no read before each write and no pass started by its own events.
* **Conflicts.** Nobody else writes these objects, so there are none. One costs a GET and a PATCH, as the tests show.
* **Retries.** Every delivery succeeds at once. The examples count commits with failures; a notification that is retried
  over minutes has a commit for each pass.
* **Fine percentiles from `/metrics`.** They are interpolated within wide buckets, of which the lowest ends at 5 ms.
  Means and sums are exact, and so are the percentiles from the audit log, from a request's arrival to the end of its
  answer.
* **A request total for equal work in Events.** Events are sent one after another from a bounded buffer, and such a load
  can fill it: the oldest are dropped, more of them when the operator is faster. Rows about the objects are not touched
  by that; "requests, all" is.\
"""


def render(results: Results, command: str, raw: str | None = None) -> str:
    """The whole document; `command` is what produced it, `raw` the name of the file with the raw figures."""
    parts = [
        "# Benchmarks: one write per pass, against one per change",
        _introduction(results, command),
        _method(results),
        *(part for load in results.loads for part in _section(load, results.runs)),
        "## The standard's examples, per commit",
        _examples(results),
        "## What the figures do not show",
        NOT_SHOWN,
    ]
    if raw is not None:
        parts.append(f"The figures of every single run are in [{raw}]({raw}).")
    return "\n\n".join(parts) + "\n"


def _introduction(results: Results, command: str) -> str:
    on = results.machine
    facts = [
        f"Measured by `{command}` in one run of {results.seconds / 60:.1f} minutes, on {on['cores']:.0f} cores "
        f"({on['architecture']}, {on['system']}), {on['memory_gib']} GiB of memory, Kubernetes "
        f"{results.versions['kubernetes']}, etcd {results.versions['etcd']}, Python {on['python']}. "
        f"One-minute load of the machine before the start: {on['load_before']}.",
        "",
        *(f"* `{mode.name}` (`statusUpdateMode: {mode.update}`, `statusRefetch: {mode.refetch}`): {mode.meaning}."
          for mode in MODES),
    ]  # fmt: skip
    return "\n".join(facts)


def _method(results: Results) -> str:
    return (
        f"Each NotificationRequest has 3 channels (console, file, Slack with a receiver on loopback) and is created by "
        f"one of {results.creators} threads; the operator works on {results.reconciles} at a time. Each run has a "
        f"namespace and an operator process of its own on one control plane. Counted from before the first creation "
        f"(with a backlog: from before the operator's start) until the operator has been quiet for {QUIET:g} s.\n\n"
        "Tables: median of all rounds [least, greatest]; × is the median of the ratios to `atomic` within each round."
    )


def _section(load: Load, runs: Sequence[Run]) -> Iterator[str]:
    of_load = [run for run in runs if run.load == load.name]
    others = [mode for mode in load.modes if mode is not ATOMIC]
    yield f"## {load.title}"
    yield _told(load)
    quiet = _others(of_load) < BUSY
    yield _table(of_load, [mode.name for mode in others], times=quiet)
    if not quiet:
        yield (
            f"Other programs kept up to {_others(of_load):.1f} cores busy during a run, and not equally in all: the "
            "counts above are exact all the same; the times cannot be compared, so no ratios of them are given."
        )
    yield "\n".join(_in_words(of_load, mode.name, times=quiet) for mode in others)


def _told(load: Load) -> str:
    rounds = f"Rounds: {load.rounds}" + (", the order of the modes rotated." if load.rounds > 1 else ".")
    if load.backlog:
        return (
            f"{load.notifications} notifications exist when the operator starts; {load.fresh} more are created while "
            f"it works through them, one after the other. {rounds}"
        )
    how = "as fast as the API server takes them" if load.per_minute is None else f"at {load.per_minute:g} a minute"
    return f"{load.notifications} notifications, created {how}. {rounds}"


def _table(runs: Sequence[Run], others: Sequence[str], *, times: bool) -> str:
    heads = ["", "from", f"`{ATOMIC.name}`", *(cell for name in others for cell in (f"`{name}`", "×"))]
    seen = [figure for figure in FIGURES if any(run.values.get(figure.key) is not None for run in runs)]
    return "\n".join(_rows(heads, (_cells(runs, figure, others, times=times) for figure in seen)))


def _others(runs: Sequence[Run]) -> float:
    return max((run.values.get("others") or 0.0 for run in runs), default=0.0)


def _in_words(runs: Sequence[Run], mode: str, *, times: bool) -> str:
    told = [
        f"{figure.title.replace('*', '')} × {found:.2f}"
        for figure in FIGURES
        if figure.key in HEADLINES
        and (times or figure.counted)
        and (found := ratio(runs, mode, figure.key, ATOMIC.name)) is not None
    ]
    return f"* `{mode}` against `{ATOMIC.name}`: {'; '.join(told)}."


def _cells(runs: Sequence[Run], figure: Figure, others: Sequence[str], *, times: bool) -> list[str]:
    title = figure.title + (f", {figure.unit}" if figure.unit else "")
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


def _examples(results: Results) -> str:
    text = (
        "The last commit of a notification's delivery, by the service's own status writer on the same API server; "
        f"requests from the audit log, the same in all {results.example_rounds} repetitions; milliseconds as the "
        "caller sees them, median. Saved: requests of `atomic` against `sequential`."
    )
    heads = ["example", "attempts", *(f"`{mode.name}`" for mode in MODES), "saved"]
    found = {(each.example, each.mode): each for each in results.examples}
    rows = []
    for example in EXAMPLES:
        costs = [found[example.name, mode.name] for mode in MODES]
        atomic, sequential = (costs[number].patches + costs[number].gets for number in (0, 1))
        saved = f"{sequential} → {atomic} ({100 * (1 - atomic / sequential):.0f} %)"
        rows.append([example.title, str(len(example.attempts)), *(_cost(cost) for cost in costs), saved])
    return text + "\n\n" + "\n".join(_rows(heads, rows))


def _cost(cost: Counted) -> str:
    gets = f" + {cost.gets} GET" if cost.gets else ""
    return f"{cost.patches} PATCH{gets}, {cost.milliseconds:.1f} ms"


def _rows(heads: Sequence[str], rows: Iterator[list[str]] | Sequence[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"

"""The results as a Markdown document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.examples import EXAMPLES, Counted
from benchmarks.figures import FIGURES, Figure
from benchmarks.modes import ATOMIC, MODES
from benchmarks.run import QUIET
from benchmarks.suite import Results
from benchmarks.summary import Run, Spread, ratio, spread

HEADLINES = (
    "patches",
    "object_requests",
    "watch_events",
    "wall",
    "sent_p50",
    "operator_cpu",
    "apiserver_cpu",
    "etcd_cpu",
)
"""The figures that the summary names."""

BUSY = 0.1
"""From so many cores kept busy by other programs on, the report warns that its times are rough."""

NOT_SHOWN = """\
* **Times of a real cluster.** etcd runs without fsync (`--unsafe-no-fsync`, as in the tests), as one member, on the
  machine of everything else. A write on a cluster waits for a disk and a quorum; none of these did.
* **The latency of a single notification.** All are created at once, so the time from creation to Sent is mostly the
  time in the operator's queue: it tells of throughput.
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
        "## The same load in three modes",
        _load(results),
        _table(results.runs),
        *_warning(results.runs),
        "\n".join(_in_words(results.runs, mode.name) for mode in MODES if mode is not ATOMIC),
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


def _load(results: Results) -> str:
    return (
        f"{results.notifications} NotificationRequests with 3 channels each (console, file, Slack with a receiver on "
        f"loopback), created by {results.creators} threads as fast as the API server takes them; the operator works on "
        f"{results.reconciles} at a time. Each run has a namespace and an operator process of its own on one control "
        f"plane. Rounds of all modes: {results.rounds}, the order rotated from round to round, after a warm-up of "
        f"{results.warm_up} notifications. Counted from before the first creation until the operator has been quiet "
        f"for {QUIET:g} s.\n\n"
        "Median of all rounds [least, greatest]; × is the median of the ratios to `atomic` within each round."
    )


def _table(runs: Sequence[Run]) -> str:
    others = [mode.name for mode in MODES if mode is not ATOMIC]
    heads = ["", "from", f"`{ATOMIC.name}`", *(cell for name in others for cell in (f"`{name}`", "×"))]
    return "\n".join(_rows(heads, (_cells(runs, figure, others) for figure in FIGURES)))


def _warning(runs: Sequence[Run]) -> Iterator[str]:
    others = max((run.values.get("others") or 0.0 for run in runs), default=0.0)
    if others >= BUSY:
        yield (
            f"Other programs kept up to {others:.1f} cores busy during a run: the counts above are exact all the same, "
            "the times and their ratios are rough."
        )


def _in_words(runs: Sequence[Run], mode: str) -> str:
    told = [
        f"{figure.title.replace('*', '')} × {times:.2f}"
        for figure in FIGURES
        if figure.key in HEADLINES and (times := ratio(runs, mode, figure.key, ATOMIC.name)) is not None
    ]
    return f"* `{mode}` against `{ATOMIC.name}`: {'; '.join(told)}."


def _cells(runs: Sequence[Run], figure: Figure, others: Sequence[str]) -> list[str]:
    title = figure.title + (f", {figure.unit}" if figure.unit else "")
    cells = [title, figure.source, _spread(spread(runs, ATOMIC.name, figure.key), figure)]
    for name in others:
        times = ratio(runs, name, figure.key, ATOMIC.name) if figure.source != "machine" else None
        cells += [_spread(spread(runs, name, figure.key), figure), "" if times is None else f"{times:.2f}"]
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

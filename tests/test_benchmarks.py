"""The benchmarks, in the smallest run that proves them: what they count is right, and the report says it."""

import json
import math
import re
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
from benchmarks import archive
from benchmarks.__main__ import main
from benchmarks.examples import Counted
from benchmarks.figures import FIGURES
from benchmarks.loads import Load, paced
from benchmarks.modes import MODES
from benchmarks.prometheus import Histogram, Metrics
from benchmarks.report import render
from benchmarks.services import LOADS, SERVICES, service_of
from benchmarks.suite import Results
from benchmarks.summary import Run, quantile, ratio, spread
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(900)  # the runs of the report count for the first test that reads it

OBJECTS = 24
"""More than there are targets, so that signals share some."""

MACHINE: dict[str, str | float] = {
    "cores": 2, "architecture": "x", "system": "y", "memory_gib": 1, "python": "3", "load_before": 0
}  # fmt: skip

ONLY_OF_A_STREAM = {"wall", "ended_p50", "ended_p95", "ended_p99"}
ONLY_OF_A_BACKLOG = {"backlog_wall", "fresh_p50"}
ONLY_WITH_WORKERS = {"workers_cpu", "workers_rss", "workers_peak"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with few objects and one round of three loads, two services."""
    path = tmp_path_factory.mktemp("bench") / "report.md"
    loads = ["--load", "burst", "--load", "backlog", "--load", "signals"]
    assert main([*loads, "--objects", str(OBJECTS), "--repetitions", "1", "--report", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def raw(report: Path) -> dict:
    (results,) = json.loads(report.with_suffix(".json").read_text())["results"]
    return results


def values_of(raw: dict, load: str, mode: str) -> dict:
    (values,) = (run["values"] for run in raw["runs"] if (run["load"], run["mode"]) == (load, mode))
    return values


def test_each_mode_is_measured_once_per_round(raw: dict) -> None:
    expected = {(load, 0, mode.name): 1 for load in ("burst", "signals") for mode in MODES}
    expected |= {("backlog", 0, mode): 1 for mode in ("atomic", "sequential")}
    assert Counter((run["load"], run["round"], run["mode"]) for run in raw["runs"]) == expected


@pytest.mark.parametrize(
    ("load", "mode", "patches", "gets"),
    [
        ("burst", "atomic", 3, 0),
        ("burst", "sequential", 6, 0),
        ("burst", "refetch=always", 3, 3),
        ("signals", "atomic", 5, 0),
        ("signals", "sequential", 14, 0),
        ("signals", "refetch=always", 5, 5),
    ],
)
def test_requests_and_watch_events_per_object_are_those_of_the_mode(
    raw: dict, load: str, mode: str, patches: int, gets: int
) -> None:
    """3 channels: Pending, Sending, Sent; the last one is 3 attempts and the phase when written one by one.

    A signal: 5 phases; with 2, 1, 3, 5 and 3 changes when written one by one. Three reads of its Pod and that one's
    owners, as often as there are signals.
    """
    values = values_of(raw, load, mode)
    keys = ("patches", "gets", "reads", "events", "watch_events", "etcd_writes")
    assert {key: values[key] / OBJECTS for key in keys} == {
        "patches": patches,
        "gets": gets,
        "reads": 0 if load == "burst" else 3,
        "events": 5 if load == "burst" else 6,
        "watch_events": patches + 1,
        "etcd_writes": patches,
    }
    assert values["conflicts"] == 0
    assert values["events_dropped"] == 0
    assert values["object_requests"] == values["patches"] + values["gets"]
    assert values["requests"] == sum(values[key] for key in ("object_requests", "reads", "events", "other"))


def test_the_report_compares_the_modes_of_a_load_by_ratio(report: Path) -> None:
    chapter = report.read_text().partition("## SignalProcessing")[2]
    row = next(line for line in chapter.splitlines() if line.startswith("| **requests on the objects**"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:] == [str(5 * OBJECTS), str(14 * OBJECTS), "2.80", str(10 * OBJECTS), "2.00"]
    assert "| creation to Completed, p99, s |" in chapter
    assert "requests on the objects × 2.80" in chapter


def test_policy_workers_are_told_apart_from_the_operator(raw: dict) -> None:
    for run in raw["runs"]:
        known = {key for key in ONLY_WITH_WORKERS if run["values"][key] is not None}
        assert known == (ONLY_WITH_WORKERS if run["load"] == "signals" else set())
    values = values_of(raw, "signals", "atomic")
    assert 2 * 10 < values["workers_rss"] <= values["workers_peak"]
    assert 0 < values["workers_cpu"] < values["operator_cpu"]


def test_a_backlog_costs_per_notification_what_a_stream_costs(raw: dict) -> None:
    """Those created meanwhile cost the same."""
    values = values_of(raw, "backlog", "atomic")
    objects = OBJECTS + min(OBJECTS, 20)
    assert (values["patches"], values["gets"]) == (3 * objects, 0)
    assert values["fresh_p50"] > 0
    assert values["backlog_wall"] > 0


def test_every_figure_of_every_run_was_observed_and_is_plausible(raw: dict) -> None:
    for run in raw["runs"]:
        values = run["values"]
        assert values.keys() == {figure.key for figure in FIGURES}
        missing = {key for key, value in values.items() if value is None} - ONLY_WITH_WORKERS
        assert missing == (ONLY_OF_A_STREAM if run["load"] == "backlog" else ONLY_OF_A_BACKLOG)
        assert all(math.isfinite(value) and value >= 0 for value in values.values() if value is not None)
        if run["load"] != "backlog":
            assert 0 < values["ended_p50"] <= values["ended_p95"] <= values["ended_p99"] <= values["wall"]
        assert 0 < values["patch_audit_p50"] <= values["patch_audit_p95"] <= values["patch_audit_p99"]
        assert values["operator_cpu"] > 0
        assert values["apiserver_cpu"] > 0
        assert 10 < values["operator_rss"] <= values["operator_peak"]


def test_a_rate_is_kept_whatever_the_server_does() -> None:
    began = time.monotonic()
    assert list(paced("abc", per_minute=600)) == ["a", "b", "c"]
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("example", "changes"),
    [("three-channels", 4), ("partial", 7), ("all-failed", 10), ("enriched", 3), ("classified", 5), ("completed", 3)],
)
def test_a_commit_is_one_write_and_as_many_as_it_has_changes_one_by_one(raw: dict, example: str, changes: int) -> None:
    """The first three are the standard's own examples."""
    counted = {each["mode"]: (each["patches"], each["gets"]) for each in raw["examples"] if each["example"] == example}
    assert counted == {"atomic": (1, 0), "sequential": (changes, 0), "refetch=always": (1, 1)}
    (told,) = (each.changes for service in SERVICES for each in service.examples if each.name == example)
    assert told == changes


def test_the_report_has_a_row_for_every_figure_and_names_no_machine(report: Path, raw: dict) -> None:
    text = report.read_text()
    for figure in FIGURES:
        for service in SERVICES:
            if figure.key not in ONLY_OF_A_BACKLOG | ONLY_WITH_WORKERS:
                assert f"| {figure.title.format(end=service.end)}" in text
    for saved in ("4 → 1 (75 %)", "7 → 1 (86 %)", "10 → 1 (90 %)", "5 → 1 (80 %)"):
        assert saved in text
    assert (
        "python -m benchmarks --load burst --load backlog --load signals --objects 24 --repetitions 1 "
        "--report report.md" in text
    )
    assert f"Kubernetes {raw['versions']['kubernetes']}, etcd {raw['versions']['etcd']}" in text
    for private in (socket.gethostname(), str(report.parent), str(Path.home())):
        assert private not in text + json.dumps(raw)


def test_tables_of_the_report_are_whole(report: Path) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", report.read_text(), re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def results(command: str, *loads: Load, others: float = 0.0) -> Results:
    """What a call of `command` could have measured."""
    made = Results(command, loads, 1, MACHINE, {"kubernetes": "1", "etcd": "3"})
    for load in loads:
        made.runs += [Run(load.name, 0, mode.name, {"patches": 1.0, "others": others}) for mode in load.modes]
    for service in SERVICES:
        if any(service_of(load.name) is service for load in loads):
            made.examples += [
                Counted(service.name, each.name, mode.name, 1, 0, 1.0) for each in service.examples for mode in MODES
            ]
    return made


def test_loads_of_all_services_have_different_names() -> None:
    assert len({load.name for load in LOADS}) == len(LOADS)


def test_a_load_that_is_measured_alone_leaves_the_figures_of_the_others(tmp_path: Path) -> None:
    burst, steady, _, _, signals = LOADS
    file = tmp_path / "figures.json"
    assert archive.read(file) == []
    archive.write(file, archive.merged(archive.read(file), results("first", burst, steady, signals)))
    archive.write(file, archive.merged(archive.read(file), results("second", signals)))
    first, second = archive.read(file)
    assert [(each.command, each.loads) for each in (first, second)] == [
        ("first", (burst, steady)),
        ("second", (signals,)),
    ]
    assert {run.load for run in first.runs} == {"burst", "steady"}
    assert {each.service for each in first.examples} == {"notification"}
    assert second == results("second", signals)
    page = render([first, second])
    assert "Notification (1,000 at once; 100 a minute for 5 minutes): by `first`" in page
    assert "SignalProcessing (500 at once, 20 targets): by `second`" in page
    whole = archive.merged([first, second], results("third", *LOADS))
    assert [each.command for each in whole] == ["third"]


def test_figures_that_cannot_be_understood_are_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text('{"runs": []}')
    assert main(["--load", "signals", "--report", str(tmp_path / "report.md")]) == 1
    assert "cannot read the figures of report.json" in capsys.readouterr().err
    assert (tmp_path / "report.json").read_text() == '{"runs": []}'


@pytest.mark.parametrize("option", ["--objects", "--repetitions"])
def test_a_run_without_objects_or_rounds_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([option, "0"])
    assert "must be 1 or more" in capsys.readouterr().err


METRICS = Metrics(
    """# HELP seconds A histogram.
seconds_bucket{verb="PATCH",le="1"} 2
seconds_bucket{verb="PATCH",le="3"} 6
seconds_bucket{verb="PATCH",le="+Inf"} 8
seconds_sum{verb="PATCH"} 20
seconds_count{verb="PATCH"} 8
seconds_count{verb="GET",path="a\\"b{}"} 5
seconds_created 1.7e+09
"""
)


def test_metrics_are_summed_over_the_series_that_match() -> None:
    assert METRICS.value("seconds_count") == 13
    assert METRICS.value("seconds_count", verb="GET") == 5
    assert METRICS.value("seconds") == 0
    assert list(METRICS.samples("seconds_count", verb="GET")) == [({"verb": "GET", "path": 'a\\"b{}'}, 5)]


def test_a_histogram_s_quantile_is_interpolated_within_its_bucket() -> None:
    histogram = METRICS.histogram("seconds", verb="PATCH")
    assert histogram.mean == 2.5
    assert [histogram.quantile(share) for share in (0.25, 0.5, 0.75, 0.95)] == [1, 2, 3, 3]
    assert Histogram().quantile(0.5) is None
    assert Histogram().mean is None


def test_a_histogram_since_an_earlier_look_holds_only_what_came_after() -> None:
    earlier = Histogram({1: 2, 3: 2, math.inf: 2}, total=1, count=2)
    later = METRICS.histogram("seconds", verb="PATCH").since(earlier)
    assert later == Histogram({1: 0, 3: 4, math.inf: 6}, total=19, count=6)
    assert later.quantile(0.5) == 2.5


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_lies_between_the_extremes_and_0_and_1_are_they(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found is not None
    assert min(values) <= found * (1 + 1e-12)
    assert found <= max(values) * (1 + 1e-12)
    assert (quantile(values, 0), quantile(values, 1)) == (min(values), max(values))


def test_the_report_warns_when_others_used_the_cores() -> None:
    def report(others: float) -> str:
        return render([results("bench", LOADS[0], others=others)])

    assert "kept up to 0.7 cores busy" in report(0.7)
    assert "cores busy during" not in report(0.01)


def test_ratios_are_taken_within_a_round_so_that_a_slow_round_does_not_show() -> None:
    seconds = {(0, "a"): 1, (0, "b"): 2, (1, "a"): 10, (1, "b"): 20, (2, "a"): 1, (2, "b"): 4}
    runs = [Run("burst", number, mode, {"wall": value}) for (number, mode), value in seconds.items()]
    assert ratio(runs, "b", "wall", "a") == 2
    found = spread(runs, "b", "wall")
    assert found is not None
    assert (found.median, found.least, found.greatest) == (4, 2, 20)


def test_there_is_no_ratio_to_nothing() -> None:
    runs = [Run("burst", 0, "a", {"conflicts": 0.0}), Run("burst", 0, "b", {"conflicts": 3.0})]
    assert ratio(runs, "b", "conflicts", "a") is None
    assert spread(runs, "b", "unknown") is None

"""The benchmarks, in the smallest run that proves them: what they count is right, and the report says it."""

import json
import math
import re
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.examples import EXAMPLES, Counted
from benchmarks.figures import FIGURES
from benchmarks.loads import BURST, paced
from benchmarks.modes import MODES
from benchmarks.prometheus import Histogram, Metrics
from benchmarks.report import render
from benchmarks.suite import Results
from benchmarks.summary import Run, quantile, ratio, spread
from hypothesis import given
from hypothesis import strategies as st

NOTIFICATIONS = 5
MACHINE: dict[str, str | float] = {
    "cores": 2, "architecture": "x", "system": "y", "memory_gib": 1, "python": "3", "load_before": 0
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with 5 notifications and one round of two loads."""
    path = tmp_path_factory.mktemp("bench") / "report.md"
    loads = ["--load", "burst", "--load", "backlog"]
    assert main([*loads, "--notifications", str(NOTIFICATIONS), "--repetitions", "1", "--report", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def raw(report: Path) -> dict:
    return json.loads(report.with_suffix(".json").read_text())


def test_each_mode_is_measured_once_per_round(raw: dict) -> None:
    expected = {("burst", 0, mode.name): 1 for mode in MODES}
    expected |= {("backlog", 0, mode): 1 for mode in ("atomic", "sequential")}
    assert Counter((run["load"], run["round"], run["mode"]) for run in raw["runs"]) == expected


@pytest.mark.parametrize(
    ("mode", "patches", "gets", "watch_events"),
    [("atomic", 3, 0, 4), ("sequential", 6, 0, 7), ("refetch=always", 3, 3, 4)],
)
def test_requests_and_watch_events_per_notification_are_those_of_the_mode(
    raw: dict, mode: str, patches: int, gets: int, watch_events: int
) -> None:
    """3 channels: Pending, Sending, Sent; the last one is 3 attempts and the phase when written one by one."""
    (values,) = (run["values"] for run in raw["runs"] if (run["load"], run["mode"]) == ("burst", mode))
    counted = {key: values[key] / NOTIFICATIONS for key in ("patches", "gets", "watch_events", "etcd_writes", "events")}
    assert counted == {
        "patches": patches, "gets": gets, "watch_events": watch_events, "etcd_writes": patches, "events": 5
    }  # fmt: skip
    assert values["conflicts"] == 0
    assert values["events_dropped"] == 0
    assert values["object_requests"] == values["patches"] + values["gets"]
    assert values["requests"] == sum(values[key] for key in ("object_requests", "events", "other"))


def test_a_backlog_costs_per_notification_what_a_stream_costs(raw: dict) -> None:
    """Those created meanwhile cost the same."""
    (values,) = (run["values"] for run in raw["runs"] if (run["load"], run["mode"]) == ("backlog", "atomic"))
    assert (values["patches"], values["gets"]) == (3 * 2 * NOTIFICATIONS, 0)
    assert values["fresh_p50"] > 0
    assert values["backlog_wall"] > 0


ONLY_OF_A_STREAM = {"wall", "sent_p50", "sent_p95", "sent_p99"}
ONLY_OF_A_BACKLOG = {"backlog_wall", "fresh_p50"}


def test_every_figure_of_every_run_was_observed_and_is_plausible(raw: dict) -> None:
    for run in raw["runs"]:
        values = run["values"]
        assert values.keys() == {figure.key for figure in FIGURES}
        missing = {key for key, value in values.items() if value is None}
        assert missing == (ONLY_OF_A_STREAM if run["load"] == "backlog" else ONLY_OF_A_BACKLOG)
        assert all(math.isfinite(value) and value >= 0 for value in values.values() if value is not None)
        if run["load"] != "backlog":
            assert 0 < values["sent_p50"] <= values["sent_p95"] <= values["sent_p99"] <= values["wall"]
        assert 0 < values["patch_audit_p50"] <= values["patch_audit_p95"] <= values["patch_audit_p99"]
        assert values["operator_cpu"] > 0
        assert values["apiserver_cpu"] > 0
        assert 10 < values["operator_rss"] <= values["operator_peak"]


def test_a_rate_is_kept_whatever_the_server_does() -> None:
    began = time.monotonic()
    assert list(paced("abc", per_minute=600)) == ["a", "b", "c"]
    assert time.monotonic() - began >= 0.2


def test_the_standard_s_examples_cost_what_the_standard_says(raw: dict) -> None:
    counted = {(each["example"], each["mode"]): (each["patches"], each["gets"]) for each in raw["examples"]}
    for example, sequential in (("three-channels", 4), ("partial", 7), ("all-failed", 10)):
        assert counted[example, "atomic"] == (1, 0)
        assert counted[example, "sequential"] == (sequential, 0)
        assert counted[example, "refetch=always"] == (1, 1)


def test_the_report_has_a_row_for_every_figure_and_names_no_machine(report: Path, raw: dict) -> None:
    text = report.read_text()
    for figure in FIGURES:
        assert f"| {figure.title}" in text
    for saved in ("4 → 1 (75 %)", "7 → 1 (86 %)", "10 → 1 (90 %)"):
        assert saved in text
    assert (
        "python -m benchmarks --load burst --load backlog --notifications 5 --repetitions 1 --report report.md" in text
    )
    assert f"Kubernetes {raw['versions']['kubernetes']}, etcd {raw['versions']['etcd']}" in text
    for private in (socket.gethostname(), str(report.parent), str(Path.home())):
        assert private not in text + json.dumps(raw)


def test_tables_of_the_report_are_whole(report: Path) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", report.read_text(), re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize("option", ["--notifications", "--repetitions"])
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
        runs = [Run("burst", 0, "atomic", {"others": others})]
        results = Results((BURST,), 1, MACHINE, {"kubernetes": "1", "etcd": "3"}, runs)
        results.examples = [Counted(each.name, mode.name, 1, 0, 1.0) for each in EXAMPLES for mode in MODES]
        return render(results, "bench")

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

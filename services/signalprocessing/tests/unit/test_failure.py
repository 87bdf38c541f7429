from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kubernaut_api import SignalProcessing
from kubernaut_api.signalprocessing import SignalProcessingStatus
from kubernaut_signalprocessing.failure import (
    MAX_ERROR,
    RETRY,
    RuleFailure,
    bounded,
    clear_failures,
    failures_of,
    record_attempt,
    record_end,
    retry_not_before,
    timeout_text,
)

MakeSP = Callable[..., SignalProcessing]


def test_each_mandatory_rule_has_its_words_and_gives_the_cause() -> None:
    assert RuleFailure("environment", "undefined").text == "environment classification failed: undefined"
    assert RuleFailure("priority", "undefined").text == "priority assignment failed: undefined"
    assert "policy evaluation failed: undefined" in RuleFailure("severity", "undefined").text
    assert RuleFailure("policy", "no answer").text == "policy evaluation failed: no answer"


def test_an_evaluators_text_becomes_one_bounded_line() -> None:
    text = RuleFailure("priority", "policy.rego:3:\n  conflict\n" + "x" * 5000).text
    assert len(text) == MAX_ERROR
    assert "\n" not in text


def test_a_timeout_names_phase_whole_seconds_and_deadline(make_sp: MakeSP, now: datetime) -> None:
    sp = make_sp(
        timesOutAt="2026-03-01T10:01:00Z", status={"phase": "Classifying", "startTime": "2026-03-01T10:00:00Z"}
    )
    assert timeout_text(sp, now + timedelta(seconds=65.9)) == (
        "processing timed out after 1m5s in phase Classifying (deadline 2026-03-01T10:01:00Z)"
    )


def test_a_timeout_of_an_object_without_a_start_names_no_time(make_sp: MakeSP, now: datetime) -> None:
    text = timeout_text(make_sp(timesOutAt="2026-03-01T09:59:00Z"), now)
    assert text == "processing timed out in phase Pending (deadline 2026-03-01T09:59:00Z)"


def test_a_clock_that_runs_behind_gives_no_negative_time(make_sp: MakeSP, now: datetime) -> None:
    sp = make_sp(timesOutAt="2026-03-01T09:59:00Z", status={"startTime": "2026-03-01T10:00:05Z"})
    assert "after 0s" in timeout_text(sp, now)


def test_failures_are_counted_and_a_success_leaves_only_the_time(now: datetime) -> None:
    status = SignalProcessingStatus()
    assert failures_of(status) == 0
    for number in (1, 2, 3):
        record_attempt(status, "busy", number, now + timedelta(seconds=number - 1))
    assert failures_of(status) == 3
    clear_failures(status)
    assert status.to_wire() == {"failureInfo": {"lastFailureTime": "2026-03-01T10:00:02Z"}}


def test_a_success_without_failures_before_writes_nothing() -> None:
    status = SignalProcessingStatus()
    clear_failures(status)
    assert status.to_wire() == {}


def test_an_end_keeps_the_count_of_failures_before_it(now: datetime) -> None:
    status = SignalProcessingStatus()
    record_attempt(status, "busy", 1, now)
    record_end(status, "timed out\nat last")
    assert status.failure_info is not None
    assert (status.failure_info.error, status.failure_info.consecutive_failures) == ("timed out at last", 1)


def test_waits_are_those_of_the_contract() -> None:
    assert [RETRY.policy(n) for n in (1, 2, 3, 4, 5, 6, 60)] == [30, 60, 120, 240, 300, 300, 300]


def test_the_due_time_of_a_retry_can_be_read_from_the_status(now: datetime) -> None:
    status = SignalProcessingStatus()
    assert retry_not_before(status) is None
    record_attempt(status, "busy", 3, now)
    assert retry_not_before(status) == now + timedelta(seconds=120)
    clear_failures(status)
    assert retry_not_before(status) is None


def test_an_error_that_a_parent_wrote_delays_nothing() -> None:
    status = SignalProcessingStatus.model_validate({"failureInfo": {"error": "the parent has ended"}})
    assert retry_not_before(status) is None


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
def test_every_error_can_be_stored(error: str) -> None:
    assert len(bounded(error).encode().splitlines()) <= 1

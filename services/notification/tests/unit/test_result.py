from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_api import DeliveryAttempt
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.result import (
    MAX_ERROR,
    Attempt,
    DeliveryResult,
    count_successful_attempts,
    counters,
    error_text,
    is_permanent,
)

START = datetime(2026, 3, 1, 10, 0, 0, 900_000, tzinfo=UTC)
END = datetime(2026, 3, 1, 10, 0, 1, 999_999, tzinfo=UTC)


def failed(error: DeliveryError) -> Attempt:
    return Attempt.failure("slack:a", 2, START, END, 1.0999, error)


def test_a_success_is_recorded_with_its_end_to_the_second_and_no_error() -> None:
    assert Attempt.success("console", 1, START, END, 0.0151234).to_wire() == {
        "channel": "console",
        "attempt": 1,
        "timestamp": "2026-03-01T10:00:01Z",
        "status": "success",
        "durationSeconds": 0.015,
    }


@pytest.mark.behaviour(57)
@pytest.mark.parametrize("duration", [0.0, 0.0004])
def test_a_duration_of_zero_milliseconds_is_left_out(duration: float) -> None:
    assert "durationSeconds" not in Attempt.success("console", 1, START, END, duration).to_wire()


def test_a_retryable_error_is_recorded_as_it_is() -> None:
    attempt = failed(RetryableError("slack webhook returned 502 (retryable): x", 7.0, reason="server_error"))
    assert attempt.to_wire()["error"] == "slack webhook returned 502 (retryable): x"
    assert (attempt.permanent, attempt.retry_after, attempt.reason) == (False, 7.0, "server_error")
    assert attempt.to_wire()["durationSeconds"] == 1.1


def test_a_permanent_error_is_recorded_with_its_prefix() -> None:
    attempt = failed(PermanentError("slack webhook returned 400 (permanent failure): bad"))
    assert attempt.to_wire()["error"] == "permanent failure: slack webhook returned 400 (permanent failure): bad"
    assert attempt.permanent


def test_an_error_of_no_known_class_is_permanent() -> None:
    assert failed(DeliveryError("odd")).permanent


@given(st.text(), st.booleans())
def test_permanence_can_always_be_read_back_from_the_text(text: str, permanent: bool) -> None:
    assert is_permanent(error_text(text, permanent=permanent)) is permanent


@given(st.text(max_size=3000))
def test_a_recorded_text_is_one_bounded_line_of_valid_unicode(text: str) -> None:
    recorded = error_text(text * 3, permanent=True)
    assert len(recorded) <= MAX_ERROR
    assert len(recorded.splitlines()) == 1
    recorded.encode()


def test_control_characters_and_lone_surrogates_are_taken_out() -> None:
    assert error_text("a\r\nb\x1b[31m\ud800\u2028c", permanent=False) == "a b [31m\ufffd c"


def test_a_receiver_cannot_make_the_go_controller_take_a_retryable_error_for_a_permanent_one() -> None:
    """After a rollback that one reads our texts, and searches them for the phrase."""
    for text in ("slack webhook returned 503 (retryable): permanent failure of a disk", "permanent failure: x"):
        assert "permanent failure" not in error_text(text, permanent=False)


def test_a_long_text_is_cut_on_a_code_point() -> None:
    text = error_text("🚨" * 5000, permanent=False)
    assert len(text) == MAX_ERROR
    assert text.endswith("🚨…")


def test_an_empty_error_still_says_something() -> None:
    assert error_text("", permanent=False) == "no error text"


def entry(channel: str, attempt: int, status: str) -> DeliveryAttempt:
    return DeliveryAttempt(channel=channel, attempt=attempt, status=status)


@pytest.mark.behaviour(37)
def test_counters_count_channels_not_attempts() -> None:
    assert counters([entry("a", n, "failed") for n in range(1, 6)]) == (5, 0, 1)


@pytest.mark.behaviour(27)
def test_a_channel_that_succeeds_in_the_end_is_no_failure() -> None:
    assert counters([entry("a", 1, "failed"), entry("a", 2, "success"), entry("b", 1, "timeout")]) == (3, 1, 1)


def test_no_attempts_count_nothing() -> None:
    assert counters([]) == (0, 0, 0)


def test_a_result_counts_its_successes() -> None:
    good, bad = Attempt.success("console", 1, START, END, 0), failed(PermanentError("x"))
    result = DeliveryResult((good, bad))
    assert (result.successes, count_successful_attempts([good, good, bad])) == (1, 2)

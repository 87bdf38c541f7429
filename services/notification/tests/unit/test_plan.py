from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_api import DeliveryAttempt
from kubernaut_api import RetryPolicy as RetryPolicySpec
from kubernaut_notification.delivery.announcement import Announced
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.plan import Decision, Plan, RetryPolicy, decide, go_duration, plan
from kubernaut_notification.delivery.result import Attempt, counters

NOW = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
DEFAULT = RetryPolicy()


def recorded(channel: str, attempt: int, error: str = "", at: datetime = NOW) -> DeliveryAttempt:
    return DeliveryAttempt(
        channel=channel, attempt=attempt, timestamp=at, status="failed" if error else "success", error=error
    )


def made(channel: str, attempt: int, error: DeliveryError | None = None, ended: datetime = NOW) -> Attempt:
    if error is None:
        return Attempt.success(channel, attempt, ended, ended, 0.0)
    return Attempt.failure(channel, attempt, ended, ended, 0.0, error)


def exact() -> float:
    return 0.0


def planned(
    *channels: str,
    attempts: Sequence[DeliveryAttempt] = (),
    announced: Sequence[Announced] = (),
    policy: RetryPolicy = DEFAULT,
    now: datetime = NOW,
) -> Plan:
    return plan(channels, attempts, announced, policy, now)


BUSY, GONE = RetryableError("slack webhook returned 503 (retryable): busy"), PermanentError("no")


# --- what is due ------------------------------------------------------------------------------------------------


def test_a_new_notification_has_every_channel_to_announce_for_now() -> None:
    fresh = planned("slack:a", "console")
    assert fresh.unannounced
    assert fresh.due == ()
    assert fresh.announced == (Announced("slack:a", 1, NOW), Announced("console", 1, NOW))


def test_an_announced_attempt_is_due_when_its_time_has_come() -> None:
    later = NOW + timedelta(seconds=1)
    first, second = Announced("slack:a", 1, NOW), Announced("console", 1, later)
    assert planned("slack:a", "console", announced=[first, second]).due == (first,)
    assert planned("slack:a", "console", announced=[first, second], now=later).due == (first, second)


def test_a_repeated_channel_key_counts_once() -> None:
    """Weak point 6, overlapping receivers: two of them naming the console deliver there once and end Sent."""
    doubled = planned("console", "slack:a", "console")
    assert [state.channel for state in doubled.channels] == ["console", "slack:a"]
    decision = decide(doubled, "Sending", [made("console", 1), made("slack:a", 1)])
    assert (decision.phase, decision.message) == ("Sent", "Successfully delivered to 2 channel(s)")


def test_an_announced_time_is_kept_to_the_microsecond() -> None:
    due = NOW + timedelta(seconds=31, microseconds=250_001)
    state = planned("a", attempts=[recorded("a", 1, "x")], announced=[Announced("a", 2, due)]).channels[0]
    assert (state.used, state.due, state.announced) == (1, due, True)


def test_an_announcement_of_a_recorded_attempt_is_stale() -> None:
    stale = planned("a", attempts=[recorded("a", 1, "x")], announced=[Announced("a", 1, NOW)])
    assert stale.due == ()
    assert stale.unannounced


def test_an_attempt_without_an_announcement_waits_from_the_end_of_the_cut_second() -> None:
    """An object taken over from a controller that announces nothing: never earlier than the policy."""
    taken_over = planned("a", attempts=[recorded("a", 1, "x"), recorded("a", 2, "x")])
    assert taken_over.next_due == NOW + timedelta(seconds=60 + 1)


def test_attempts_of_channels_that_routing_no_longer_picks_do_not_count() -> None:
    """A success elsewhere must not make an undelivered notification Sent."""
    rerouted = planned("slack:new", attempts=[recorded("console", 1)])
    assert rerouted.successes == 0
    assert decide(rerouted, "Sending").phase == "Sending"


def test_a_gap_in_the_numbers_never_gives_a_number_twice() -> None:
    state = planned("a", attempts=[recorded("a", 3, "x")]).channels[0]
    assert state.used == 3


# --- what follows -----------------------------------------------------------------------------------------------


def test_no_channel_is_a_failure() -> None:
    decision = decide(planned(), "Sending")
    assert (decision.phase, decision.reason) == ("Failed", "NoChannelsResolved")
    assert decision.message == "All delivery attempts failed or exhausted retries"


@pytest.mark.behaviour(2)
def test_all_delivered_is_sent_in_the_same_pass() -> None:
    decision = decide(planned("console"), "Sending", [made("console", 1)])
    assert decision == Decision(
        "Sent", True, "AllDeliveriesSucceeded", "Successfully delivered to 1 channel(s)", (), None
    )


@pytest.mark.behaviour(33)
def test_one_delivered_and_one_failing_with_attempts_left_is_retrying() -> None:
    both = planned("console", "slack:a")
    decision = decide(both, "Sending", [made("console", 1), made("slack:a", 1, BUSY)], exact)
    assert (decision.phase, decision.reason) == ("Retrying", "PartialFailureRetrying")
    assert decision.message == "Delivered to 1/2 channel(s), retrying failed channels with backoff 30s"
    assert decision.announced == (Announced("slack:a", 2, NOW + timedelta(seconds=30)),)
    assert decision.next_due == NOW + timedelta(seconds=30)


@pytest.mark.behaviour(34)
def test_one_delivered_and_one_out_of_attempts_is_partially_sent_at_once() -> None:
    last = planned("console", "slack:a", policy=RetryPolicy(max_attempts=1))
    decision = decide(last, "Sending", [made("console", 1), made("slack:a", 1, BUSY)])
    assert (decision.phase, decision.reason) == ("PartiallySent", "PartialDeliverySuccess")
    assert decision.message == "Delivered to 1/2 channel(s), others failed"
    assert (decision.announced, decision.next_due) == ((), None)


@pytest.mark.behaviour(25)
def test_one_delivered_and_one_permanent_error_is_partially_sent_without_a_wait() -> None:
    """Weak point 7: the results of the pass count in it; no round through Retrying."""
    decision = decide(planned("console", "slack:a"), "Sending", [made("console", 1), made("slack:a", 1, GONE)])
    assert decision.phase == "PartiallySent"


@pytest.mark.behaviour(35)
def test_all_failing_with_attempts_left_stays_and_schedules() -> None:
    both = planned("slack:a", "slack:b")
    decision = decide(both, "Sending", [made("slack:a", 1, BUSY), made("slack:b", 1, BUSY)], exact)
    assert (decision.phase, decision.changed, decision.reason, decision.message) == ("Sending", False, "", "")
    assert [entry.attempt for entry in decision.announced] == [2, 2]
    assert decision.next_due == NOW + timedelta(seconds=30)


@pytest.mark.behaviour(36)
@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ((BUSY, GONE), "MaxRetriesExhausted"),
        ((GONE, GONE), "AllDeliveriesFailed"),
        ((BUSY, BUSY), "MaxRetriesExhausted"),
    ],
)
def test_nobody_reached_is_failed_and_says_why(errors: tuple[DeliveryError, DeliveryError], reason: str) -> None:
    last = planned("a", "b", policy=RetryPolicy(max_attempts=1))
    decision = decide(last, "Sending", [made("a", 1, errors[0]), made("b", 1, errors[1])])
    assert (decision.phase, decision.reason) == ("Failed", reason)


@pytest.mark.behaviour(24)
def test_a_permanent_error_ends_a_channel_with_its_first_attempt() -> None:
    assert decide(planned("slack:a"), "Sending", [made("slack:a", 1, GONE)]).phase == "Failed"


def test_retrying_stays_retrying_without_a_new_text() -> None:
    again = planned(
        "console",
        "slack:a",
        attempts=[recorded("console", 1), recorded("slack:a", 1, "x")],
        announced=[Announced("slack:a", 2, NOW)],
    )
    decision = decide(again, "Retrying", [made("slack:a", 2, BUSY)], exact)
    assert (decision.phase, decision.changed, decision.message) == ("Retrying", False, "")
    assert decision.next_due == NOW + timedelta(seconds=60)


@pytest.mark.behaviour(27)
def test_a_retry_that_delivers_is_sent() -> None:
    again = planned("slack:a", attempts=[recorded("slack:a", 1, "x")], announced=[Announced("slack:a", 2, NOW)])
    assert decide(again, "Sending", [made("slack:a", 2)]).phase == "Sent"


def test_a_pass_without_results_changes_nothing() -> None:
    due = NOW + timedelta(seconds=9)
    waiting = planned("a", attempts=[recorded("a", 1, "x")], announced=[Announced("a", 2, due)])
    assert decide(waiting, "Sending") == Decision("Sending", False, "", "", (Announced("a", 2, due),), due)


def test_a_result_that_is_recorded_already_decides_nothing_again() -> None:
    """It was kept because its commit failed, and the commit has landed all the same, or another process made one."""
    announced = Announced("b", 2, NOW + timedelta(seconds=31))
    stored = planned("a", "b", attempts=[recorded("a", 1), recorded("b", 1, "x")], announced=[announced], now=NOW)
    again = decide(stored, "Retrying", [made("a", 1, BUSY), made("b", 1, BUSY)], lambda: 0.9)
    assert again == Decision("Retrying", False, announced=(announced,), next_due=announced.due)


def test_a_recorded_end_that_was_never_written_as_a_phase_is_found_again() -> None:
    """The attempts were stored, the process died before the phase was: the next pass ends it without a call."""
    done = planned("a", "b", attempts=[recorded("a", 1), recorded("b", 1, "permanent failure: no")])
    assert done.due == ()
    assert decide(done, "Sending").phase == "PartiallySent"


def test_a_body_that_speaks_of_a_permanent_failure_does_not_make_an_error_permanent() -> None:
    error = "slack webhook returned 500 (retryable): permanent failure in the backend"
    assert not planned("a", attempts=[recorded("a", 1, error)]).channels[0].permanent


# --- waits ------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(38)
def test_the_default_waits_are_30_60_120_240_seconds_and_then_no_attempt_is_left() -> None:
    """The standard's times: 0, 30, 90, 210, 450 s."""
    attempts: list[DeliveryAttempt] = []
    announced, now, calls = [Announced("file", 1, NOW)], NOW, []
    phase = "Sending"
    while phase == "Sending":
        current = planned("file", attempts=attempts, announced=announced, now=now)
        (entry,) = current.due
        calls.append((now - NOW).total_seconds())
        result = made("file", entry.attempt, BUSY, ended=now)
        decision = decide(current, phase, [result], exact)
        attempts.append(DeliveryAttempt.model_validate(result.to_wire()))
        announced, phase = list(decision.announced), decision.phase
        now = decision.next_due or now
    assert calls == [0, 30, 90, 210, 450]
    assert (phase, counters(attempts)) == ("Failed", (5, 0, 1))


@pytest.mark.parametrize(
    ("attempt", "policy", "seconds"),
    [
        (1, RetryPolicy(initial=1, maximum=60), 1),
        (4, RetryPolicy(max_attempts=9, initial=100, maximum=300), 300),
        (3, RetryPolicy(initial=7, multiplier=1), 7),
        (1, RetryPolicy(initial=300, maximum=60), 60),
        (2, RetryPolicy(initial=2, multiplier=10, maximum=3600), 20),
    ],
)
def test_a_wait_follows_the_policy(attempt: int, policy: RetryPolicy, seconds: float) -> None:
    before = [recorded("a", number, "x") for number in range(1, attempt)]
    current = planned("a", attempts=before, announced=[Announced("a", attempt, NOW)], policy=policy)
    assert decide(current, "Sending", [made("a", attempt, BUSY)], exact).next_due == NOW + timedelta(seconds=seconds)


@given(spread=st.floats(min_value=0, max_value=1, exclude_max=True), attempt=st.integers(min_value=1, max_value=4))
def test_a_wait_is_never_shorter_than_the_policy_and_at_most_a_tenth_longer(spread: float, attempt: int) -> None:
    before = [recorded("a", number, "x") for number in range(1, attempt)]
    current = planned("a", attempts=before, announced=[Announced("a", attempt, NOW)])
    due = decide(current, "Sending", [made("a", attempt, BUSY)], lambda: spread).next_due
    assert due is not None
    exactly = 30 * 2 ** (attempt - 1)
    assert exactly <= (due - NOW).total_seconds() <= min(exactly * 1.1, 480)


@pytest.mark.parametrize(("asked", "seconds"), [(60.0, 60), (5.0, 30), (None, 30), (999_999.0, 3600)])
def test_retry_after_lengthens_a_wait_but_never_shortens_it(asked: float | None, seconds: float) -> None:
    result = made("a", 1, RetryableError("429", asked))
    due = decide(planned("a", announced=[Announced("a", 1, NOW)]), "Sending", [result], exact).next_due
    assert due == NOW + timedelta(seconds=seconds)


def test_a_wait_starts_at_the_end_of_the_attempt() -> None:
    ended = NOW + timedelta(seconds=10, microseconds=500)
    due = decide(planned("a"), "Sending", [made("a", 1, BUSY, ended=ended)], exact).next_due
    assert due == ended + timedelta(seconds=30)


def test_the_next_pass_is_at_the_earliest_due_time() -> None:
    slow = made("b", 1, RetryableError("429", 100.0))
    decision = decide(planned("a", "b", "c"), "Sending", [made("c", 1), made("a", 1, BUSY), slow], exact)
    assert decision.next_due == NOW + timedelta(seconds=30)
    assert decision.message.endswith("with backoff 30s")


# --- policy and durations ---------------------------------------------------------------------------------------


def test_a_missing_policy_is_the_default() -> None:
    assert RetryPolicy.of(None) == RetryPolicy(5, 30, 2, 480)
    assert RetryPolicy.of(RetryPolicySpec()) == RetryPolicy(5, 30, 2, 480)


def test_a_policy_takes_its_values_from_the_spec() -> None:
    wire: dict[str, Any] = {
        "maxAttempts": 7,
        "initialBackoffSeconds": 1,
        "backoffMultiplier": 3,
        "maxBackoffSeconds": 60,
    }
    assert RetryPolicy.of(RetryPolicySpec.model_validate(wire)) == RetryPolicy(7, 1, 3, 60)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.25, "250ms"),
        (1, "1s"),
        (30, "30s"),
        (31.5, "31.5s"),
        (60, "1m0s"),
        (270, "4m30s"),
        (3600, "1h0m0s"),
        (3661.007, "1h1m1.007s"),
        (29.9999, "30s"),
    ],
)
def test_durations_read_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


# --- any history ends -------------------------------------------------------------------------------------------


@pytest.mark.behaviour(40)
@given(st.data())
def test_any_outcomes_lead_to_an_end_within_the_allowed_attempts(data: st.DataObject) -> None:
    """Recorded attempts never exceed maxAttempts; the counters are those of the array."""
    policy = RetryPolicy(max_attempts=data.draw(st.integers(1, 4)))
    channels = data.draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    attempts: list[DeliveryAttempt] = []
    announced: tuple[Announced, ...] = planned(*channels).announced
    phase, now, passes = "Sending", NOW, 0
    while phase in ("Sending", "Retrying"):
        passes += 1
        assert passes <= 4 * len(channels) * policy.max_attempts
        current = planned(*channels, attempts=attempts, announced=announced, policy=policy, now=now)
        results = []
        for entry in current.due:
            error = data.draw(st.sampled_from([None, BUSY, GONE]))
            results.append(made(entry.channel, entry.attempt, error, ended=now))
        decision = decide(current, phase, results, exact)
        attempts += [DeliveryAttempt.model_validate(result.to_wire()) for result in results]
        announced, phase, now = decision.announced, decision.phase, decision.next_due or now
    per_channel = {key: [a for a in attempts if a.channel == key] for key in channels}
    assert all([a.attempt for a in made] == list(range(1, len(made) + 1)) for made in per_channel.values())
    assert all(len(made) <= policy.max_attempts for made in per_channel.values())
    _, successes, failures = counters(attempts)
    expected = "Sent" if successes == len(channels) else "PartiallySent" if successes else "Failed"
    assert (phase, successes + failures) == (expected, len(channels))


# --- what is announced while a breaker is open --------------------------------------------------------------------


def test_what_is_announced_is_not_due_before_its_receiver_takes_calls_again() -> None:
    now = planned("slack:a", "slack:b", announced=[Announced("slack:a", 1, NOW), Announced("slack:b", 1, NOW)])
    opens = NOW + timedelta(seconds=45)
    decision = decide(now, "Sending", [made("slack:a", 1, BUSY), made("slack:b", 1, BUSY)], exact, {"slack:a": opens})
    assert decision.announced == (
        Announced("slack:a", 2, opens),
        Announced("slack:b", 2, NOW + timedelta(seconds=30)),
    )


def test_an_attempt_that_was_held_keeps_its_number_and_waits_too() -> None:
    now = planned("slack:a", "console", announced=[Announced("slack:a", 1, NOW), Announced("console", 1, NOW)])
    opens = NOW + timedelta(seconds=20)
    decision = decide(now, "Sending", [made("console", 1)], exact, {"slack:a": opens})
    assert (decision.announced, decision.next_due) == ((Announced("slack:a", 1, opens),), opens)


@given(seconds=st.floats(min_value=-100, max_value=1000), attempt=st.integers(min_value=1, max_value=4))
def test_a_breaker_never_makes_an_attempt_earlier_and_revives_none_that_is_settled(
    seconds: float, attempt: int
) -> None:
    opens = {"a": NOW + timedelta(seconds=seconds), "b": NOW + timedelta(seconds=seconds)}
    earlier = [recorded("a", number, "busy") for number in range(1, attempt)]
    now = planned("a", "b", attempts=[*earlier, recorded("b", 1, "permanent failure: no")])
    without = decide(now, "Sending", [made("a", attempt, BUSY)], exact)
    held = decide(now, "Sending", [made("a", attempt, BUSY)], exact, opens)
    assert [(e.channel, e.attempt) for e in held.announced] == [(e.channel, e.attempt) for e in without.announced]
    assert all(e.due == max(w.due, opens["a"]) for e, w in zip(held.announced, without.announced, strict=True))

"""What fails for now: attempts at the policy's times to the second, deadlines, and ends that say why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from scenarios.signalprocessing import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM, signal_processing
from scenarios.signalprocessing_in_process import SignalProcessingDesk

from kubernaut_api import format_time
from kubernaut_policy import PolicyTimeoutError
from kubernaut_signalprocessing.enrichment import (
    EnrichmentError,
    ForbiddenReadError,
    NamespaceMissingError,
    TransientReadError,
)
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

MakeDesk = Callable[..., SignalProcessingDesk]

BUSY = TransientReadError("cannot read pods shop/api-1: 503 ServiceUnavailable")
MISSING = NamespaceMissingError("shop", "Pod shop/api-1")
FORBIDDEN = ForbiddenReadError(verb="get", resource="pods", namespace="shop")
LATE = PolicyTimeoutError("evaluate", 5.0)


def in_seconds(desk: SignalProcessingDesk, seconds: float) -> str:
    return format_time(desk.clock.now() + timedelta(seconds=seconds))


@pytest.mark.behaviour(37, "W1", "W10")
async def test_a_busy_api_server_is_asked_again_after_30_60_120_240_and_then_300_seconds(
    desk: SignalProcessingDesk, ledger: RequestLedger
) -> None:
    desk.cluster.errors = [BUSY] * 7
    desk.create()
    await desk.attempts(1)
    for number, wait in enumerate((30, 60, 120, 240, 300, 300, 300), start=2):
        assert desk.queue.due_in(desk.key) == wait
        assert desk.status["failureInfo"]["consecutiveFailures"] == number - 1
        await desk.clock.advance(wait - 0.001)
        assert len(desk.cluster.calls) == number - 1, "not a millisecond early"
        await desk.clock.advance(0.001)
        await desk.attempts(number)
    await desk.phase("Completed")
    assert desk.cluster.calls == [0, 30, 90, 210, 450, 750, 1050, 1350]
    info = desk.status["failureInfo"]
    assert info.keys() == {"lastFailureTime"}, "a completed signal has no error and no count"
    assert (desk.audit_types[-2], desk.audit[-2]["event_outcome"]) == ("signal.processed", "success")
    assert "error" not in desk.audit[-2]["event_data"]
    ref = f"{PLURAL}/{desk.namespace}/one"
    ledger.assert_requests(ref, {"patch/status": 5 + 7}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, ref, CONTRACT)


@pytest.mark.behaviour("W1")
async def test_a_wake_up_before_the_due_time_writes_nothing_and_shortens_no_wait(desk: SignalProcessingDesk) -> None:
    """Weak point 1: there, its own write wakes it at once."""
    desk.cluster.errors = [BUSY]
    desk.create()
    await desk.attempts(1)
    sent = len(desk.requests)
    for _ in range(5):
        await desk.clock.advance(5)
        desk.queue.add(desk.key)
        await desk.idle()
    assert (desk.cluster.calls, len(desk.requests), desk.queue.due_in(desk.key)) == ([0], sent, 5)
    await desk.clock.advance(5)
    await desk.phase("Completed")
    assert desk.cluster.calls == [0, 30]


@pytest.mark.behaviour("W1")
async def test_the_echo_of_an_own_write_makes_no_pass_and_a_foreign_write_no_attempt(
    desk: SignalProcessingDesk,
) -> None:
    desk.cluster.errors = [BUSY]
    desk.create()
    await desk.attempts(1)
    passes = desk.passes
    desk.store.observe("MODIFIED", desk.stored())
    await desk.idle()
    assert desk.passes == passes
    note = {"metadata": {"annotations": {"example.com/note": "seen"}}}
    desk.store.observe("MODIFIED", desk.control_plane.api.patch(API_VERSION, KIND, desk.namespace, "one", note))
    await eventually_async(lambda: desk.passes == passes + 1)
    await desk.idle()
    assert (desk.cluster.calls, desk.verbs) == ([0], ["patch"] * 3)
    assert desk.queue.due_in(desk.key) == 30


@pytest.mark.behaviour(97)
async def test_each_failed_attempt_is_told_in_the_same_words(desk: SignalProcessingDesk) -> None:
    desk.cluster.errors = [BUSY, BUSY]
    desk.create()
    await desk.attempts(1)
    assert desk.conditions["EnrichmentComplete"] == ("False", "EnrichmentFailed", str(BUSY))
    assert desk.conditions["Reconciling"][0] == "True"
    await desk.clock.advance(30)
    await desk.attempts(2)
    assert desk.events.of("EnrichmentFailed") == [str(BUSY)] * 2
    assert desk.audit_types[-2:] == ["error.occurred"] * 2
    assert desk.audit[-1]["event_data"]["phase"] == "Enriching"


@pytest.mark.behaviour("W1")
async def test_jitter_lengthens_a_wait_by_a_tenth_and_to_300_seconds_at_most(desk: SignalProcessingDesk) -> None:
    desk.jitter = 0.999999
    desk.cluster.errors, desk.cluster.lasting = [BUSY], True
    desk.create()
    for number, exact in enumerate((30, 60, 120, 240, 300, 300), start=1):
        await desk.attempts(number)
        wait = desk.queue.due_in(desk.key)
        assert wait is not None
        assert wait == pytest.approx(min(exact * 1.1, 300), rel=1e-4)
        await desk.clock.advance(wait)


@pytest.mark.behaviour(38)
async def test_a_retry_after_that_is_longer_than_the_policy_s_wait_is_honoured(desk: SignalProcessingDesk) -> None:
    desk.cluster.errors = [TransientReadError("busy", retry_after=95), TransientReadError("busy", retry_after=1)]
    desk.create()
    await desk.attempts(1)
    assert desk.queue.due_in(desk.key) == 95
    await desk.clock.advance(95)
    await desk.attempts(2)
    assert desk.queue.due_in(desk.key) == 60, "a shorter one does not shorten the policy's wait"


@pytest.mark.behaviour("W6", "W9")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MISSING, "namespace_missing"),
        (FORBIDDEN, "forbidden"),
        (EnrichmentError("cannot read pods shop/api-1: 400"), "unreadable"),
    ],
)
async def test_what_does_not_pass_by_itself_is_tried_five_times_and_then_named(
    desk: SignalProcessingDesk, error: Exception, why: str
) -> None:
    """Weak point 6: there, it is tried for ever."""
    desk.cluster.errors, desk.cluster.lasting = [error], True
    desk.create()
    await desk.attempts(1)
    for number, wait in enumerate((30, 60, 120, 240), start=2):
        assert desk.status["phase"] == "Enriching"
        await desk.clock.advance(wait)
        await desk.attempts(number)
    assert desk.cluster.calls == [0, 30, 90, 210, 450]
    assert desk.status["phase"] == "Failed"
    info = desk.status["failureInfo"]
    assert (info["error"], info["consecutiveFailures"]) == (str(error), 5)
    assert desk.conditions["EnrichmentComplete"] == ("False", "EnrichmentFailed", str(error))
    assert desk.queue.due_in(desk.key) is None
    assert len(desk.events.of("EnrichmentFailed")) == 5
    assert desk.failures == {why: 1}


async def test_the_number_of_attempts_is_configured(make_desk: MakeDesk) -> None:
    desk = make_desk(config={"enrichment": {"maxAttempts": 1}})
    desk.cluster.errors = [MISSING]
    desk.create()
    await desk.phase("Failed")
    assert desk.cluster.calls == [0]


async def test_a_busy_server_uses_up_no_attempt_of_what_comes_after_it(desk: SignalProcessingDesk) -> None:
    desk.cluster.errors = [*[BUSY] * 6, MISSING]
    desk.create()
    for number, wait in enumerate((30, 60, 120, 240, 300, 300, 300), start=1):
        await desk.attempts(number)
        await desk.clock.advance(wait)
    await desk.phase("Completed")


async def test_a_namespace_that_appears_meanwhile_is_used(desk: SignalProcessingDesk) -> None:
    desk.cluster.errors = [MISSING, MISSING]
    desk.create()
    await desk.attempts(1)
    await desk.clock.advance(30)
    await desk.attempts(2)
    await desk.clock.advance(60)
    await desk.phase("Completed")


@pytest.mark.behaviour("W5")
async def test_a_policy_without_an_answer_in_time_is_asked_again(desk: SignalProcessingDesk) -> None:
    """Weak point 5: there, a node short of CPU ends signals."""
    desk.policy.errors = [LATE, LATE]
    desk.create()
    await desk.phase("Classifying")
    assert (desk.status["failureInfo"]["error"], desk.queue.due_in(desk.key)) == (str(LATE), 30)
    await desk.clock.advance(30)
    await desk.idle()
    assert (desk.status["phase"], desk.queue.due_in(desk.key)) == ("Classifying", 60)
    await desk.clock.advance(60)
    await desk.phase("Completed")
    assert desk.cluster.calls == [0], "what is known is not read again"
    assert len(desk.events.of("PolicyEvaluationFailed")) == 2


@pytest.mark.behaviour("W5")
async def test_custom_labels_are_waited_for_and_then_done_without(desk: SignalProcessingDesk) -> None:
    """What a starved node makes of them would stay with the signal."""
    desk.cluster.context.namespace.labels["kubernaut.ai/team"] = "payments"
    desk.policy.label_errors = [LATE, LATE]
    desk.create()
    await desk.attempts(1)
    assert (desk.status["phase"], desk.status["failureInfo"]["error"]) == ("Enriching", str(LATE))
    await desk.clock.advance(30)
    await desk.attempts(2)
    assert desk.queue.due_in(desk.key) == 60
    await desk.clock.advance(60)
    await desk.phase("Completed")
    assert desk.status["kubernetesContext"]["customLabels"] == {"tier": ["gold"]}
    assert desk.status["failureInfo"].keys() == {"lastFailureTime"}


async def test_a_busy_server_uses_up_no_attempt_of_the_custom_labels(desk: SignalProcessingDesk) -> None:
    desk.cluster.context.namespace.labels["kubernaut.ai/team"] = "payments"
    desk.cluster.errors, desk.policy.label_errors = [BUSY] * 3, [LATE]
    desk.create()
    for number, wait in enumerate((30, 60, 120, 240), start=1):
        await desk.attempts(number)
        assert (desk.status["phase"], desk.queue.due_in(desk.key)) == ("Enriching", wait)
        await desk.clock.advance(wait)
    await desk.phase("Completed")
    assert desk.status["kubernetesContext"]["customLabels"] == {"tier": ["gold"]}


async def test_a_policy_that_never_answers_for_custom_labels_leaves_the_well_known_ones(
    desk: SignalProcessingDesk,
) -> None:
    desk.cluster.context.namespace.labels["kubernaut.ai/team"] = "payments"
    desk.policy.label_errors = [LATE] * 3
    desk.create()
    for number, wait in enumerate((30, 60), start=1):
        await desk.attempts(number)
        await desk.clock.advance(wait)
    await desk.phase("Completed")
    assert desk.status["kubernetesContext"]["customLabels"] == {"team": ["payments"]}


@pytest.mark.behaviour("W5")
async def test_a_policy_that_never_answers_ends_in_failed_after_three_times(desk: SignalProcessingDesk) -> None:
    desk.policy.errors = [LATE] * 3
    desk.create()
    await desk.phase("Classifying")
    await desk.clock.advance(30)
    await desk.idle()
    await desk.clock.advance(60)
    await desk.phase("Failed")
    info = desk.status["failureInfo"]
    assert (info["error"], info["consecutiveFailures"]) == (f"policy evaluation failed: {LATE}", 3)
    assert desk.conditions["ClassificationComplete"][:2] == ("False", "RegoEvaluationError")
    assert desk.failures == {"policy": 1}
    assert desk.counted("signalprocessing_policy_errors_total", "error_type") == {"timeout": 3}


@pytest.mark.behaviour(15, 18, "W9")
@pytest.mark.parametrize(
    ("phase", "condition"), [("Enriching", "EnrichmentComplete"), ("Classifying", "ClassificationComplete")]
)
async def test_a_deadline_fires_at_its_time_without_an_event(
    desk: SignalProcessingDesk, phase: str, condition: str
) -> None:
    if phase == "Enriching":
        desk.cluster.errors = [BUSY]
    else:
        desk.policy.errors = [LATE]
    deadline = in_seconds(desk, 20)
    desk.create(times_out_at=deadline)
    await desk.phase(phase)
    await desk.clock.advance(20)
    await desk.idle()
    assert desk.status["phase"] == phase, "a deadline has passed when it is in the past"
    await desk.clock.advance(0.001)
    await desk.phase("Failed")
    text = f"processing timed out after 20s in phase {phase} (deadline {deadline})"
    assert desk.status["failureInfo"]["error"] == text
    for name in (condition, "ProcessingComplete"):
        assert desk.conditions[name] == ("False", "TimedOut", text)
    assert desk.events.of("ProcessingTimedOut") == [text]
    assert desk.audit_types[-3:] == ["error.occurred", "phase.transition", "signal.processed"]
    assert desk.cluster.calls == [0]


@pytest.mark.behaviour(18, "W9")
@pytest.mark.parametrize(
    ("phase", "condition"),
    [
        ("Pending", None),
        ("Enriching", "EnrichmentComplete"),
        ("Classifying", "ClassificationComplete"),
        ("Categorizing", "CategorizationComplete"),
    ],
)
async def test_a_deadline_ends_every_phase_with_its_own_condition(
    desk: SignalProcessingDesk, phase: str, condition: str | None
) -> None:
    late = signal_processing(desk.namespace, "one", times_out_at="2026-03-01T10:00:00Z")
    desk.control_plane.api.create(late)
    desk.store.observe("ADDED", desk.write_status({"phase": phase, "startTime": "2026-03-01T09:59:00Z"}))
    await desk.phase("Failed")
    timed_out = {name for name, found in desk.conditions.items() if found[1] == "TimedOut"}
    assert timed_out == {condition, "ProcessingComplete"} - {None}
    assert desk.verbs == ["patch"]
    labels = {"phase": phase.lower(), "result": "failure"}
    assert desk.metrics.get_sample_value("signalprocessing_processing_total", labels) == 1
    assert desk.failures == {"deadline": 1}


@pytest.mark.behaviour(19)
async def test_a_deadline_that_has_passed_at_creation_takes_two_writes(
    desk: SignalProcessingDesk, ledger: RequestLedger
) -> None:
    desk.create(times_out_at=in_seconds(desk, -60))
    await desk.phase("Failed")
    ref = f"{PLURAL}/{desk.namespace}/one"
    assert ledger.phases(ref) == ["", "Pending", "Failed"]
    assert desk.conditions["ProcessingComplete"][1] == "TimedOut"
    assert desk.cluster.calls == []


@pytest.mark.behaviour(17)
async def test_a_deadline_far_ahead_changes_nothing(desk: SignalProcessingDesk) -> None:
    desk.create(times_out_at=in_seconds(desk, 3600))
    await desk.phase("Completed")


@pytest.mark.behaviour("W1")
async def test_a_restart_keeps_the_wait(make_desk: MakeDesk) -> None:
    first = make_desk()
    first.cluster.errors = [BUSY, BUSY]
    first.create()
    await first.attempts(1)
    await first.clock.advance(30)
    await first.attempts(2)
    await first.clock.advance(20)
    second = make_desk(clock=first.clock)
    second.store.observe(None, second.stored())
    await second.idle()
    assert second.cluster.calls == []
    assert second.queue.due_in(second.key) == 41, "what the status does not tell may be almost a second"
    await second.clock.advance(41)
    await second.attempts(1)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_makes_no_attempt_earlier_or_later(
    desk: SignalProcessingDesk, hours: int
) -> None:
    desk.cluster.errors = [BUSY]
    desk.create()
    await desk.attempts(1)
    desk.clock.jump(hours * 3600)
    desk.queue.add(desk.key)
    await desk.idle()
    assert desk.queue.due_in(desk.key) == 30
    await desk.clock.advance(30)
    await desk.attempts(2)


@pytest.mark.behaviour(15)
@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_ends_no_signal_before_its_deadline_and_none_after_it(
    desk: SignalProcessingDesk, hours: int
) -> None:
    """Else a clock that is set forward would end all signals with a deadline, for good."""
    desk.cluster.errors, desk.cluster.lasting = [BUSY], True
    desk.create(times_out_at=in_seconds(desk, 50))
    await desk.attempts(1)
    desk.clock.jump(hours * 3600)
    desk.queue.add(desk.key)
    await desk.idle()
    assert (desk.status["phase"], desk.queue.due_in(desk.key)) == ("Enriching", 30)
    await desk.clock.advance(30)
    await desk.attempts(2)
    await desk.clock.advance(20)
    await desk.idle()
    assert desk.status["phase"] == "Enriching"
    await desk.clock.advance(0.001)
    await desk.phase("Failed")
    assert desk.failures == {"deadline": 1}


async def test_a_restart_behind_a_clock_that_was_set_back_waits_a_tenth_longer_at_most(make_desk: MakeDesk) -> None:
    first = make_desk()
    first.cluster.errors = [BUSY]
    first.create()
    await first.attempts(1)
    first.clock.jump(-3600)
    second = make_desk(clock=first.clock)
    second.store.observe(None, second.stored())
    await second.idle()
    wait = second.queue.due_in(second.key)
    assert wait is not None
    assert 30 <= wait <= 33
    await second.clock.advance(wait)
    await second.attempts(1)


@pytest.mark.parametrize(
    ("deadline", "phase"), [("0001-01-01T00:00:00+10:00", "Failed"), ("9999-12-31T23:59:59-10:00", "Completed")]
)
async def test_a_deadline_at_the_edge_of_time_is_one(desk: SignalProcessingDesk, deadline: str, phase: str) -> None:
    """The API server takes it; a program that cannot read it would try for ever."""
    desk.create(times_out_at=deadline)
    await desk.phase(phase)

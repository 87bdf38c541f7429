"""The changes that one commit is made of, applied to an object in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from scenarios.in_memory import Unreachable, Wall

from kubernaut_api import NOTIFICATION_REQUEST, NotificationRequest
from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.result import Attempt
from kubernaut_notification.status import StatusWriter
from kubernaut_status import StatusManager

MakeNR = Callable[..., NotificationRequest]


@pytest.fixture
def wall(now: datetime) -> Wall:
    return Wall(now)


@pytest.fixture
def status(wall: Wall) -> StatusWriter:
    return StatusWriter(StatusManager(Unreachable(), NOTIFICATION_REQUEST), wall)


def enter(status: StatusWriter, nr: NotificationRequest, phase: str) -> None:
    status.update_phase(nr, phase, f"reason of {phase}", f"message of {phase}", nr.status.conditions)(nr)


@pytest.mark.behaviour(6)
def test_each_time_is_set_once_by_its_own_transition(
    status: StatusWriter, wall: Wall, make_nr: MakeNR, now: datetime
) -> None:
    nr = make_nr()
    for phase in ("Pending", "Sending", "Retrying", "Sent"):
        enter(status, nr, phase)
        wall.now += timedelta(seconds=10)
    seconds = timedelta(seconds=1)
    times = (nr.status.queued_at, nr.status.processing_started_at, nr.status.completion_time)
    assert times == (now, now + 10 * seconds, now + 30 * seconds)


@pytest.mark.behaviour(3)
def test_nothing_is_completed_before_it_was_queued_although_the_clock_was_set_back(
    status: StatusWriter, wall: Wall, make_nr: MakeNR, now: datetime
) -> None:
    nr = make_nr()
    enter(status, nr, "Pending")
    wall.now -= timedelta(hours=1)
    enter(status, nr, "Failed")
    assert nr.status.completion_time == now


@pytest.mark.behaviour(7)
def test_every_change_carries_the_generation(status: StatusWriter, make_nr: MakeNR, now: datetime) -> None:
    nr = make_nr(metadata={"generation": 7})
    status.record_attempt(Attempt.success("console", 1, now, now, 0))(nr)
    assert nr.status.observed_generation == 7
    other = make_nr(metadata={"generation": 8})
    enter(status, other, "Pending")
    assert other.status.observed_generation == 8


def test_a_phase_that_stays_keeps_its_reason_and_message(status: StatusWriter, make_nr: MakeNR) -> None:
    nr = make_nr(status={"phase": "Retrying", "reason": "PartialFailureRetrying", "message": "first"})
    enter(status, nr, "Retrying")
    assert (nr.status.reason, nr.status.message) == ("PartialFailureRetrying", "first")


@pytest.mark.behaviour(37, 40)
def test_equal_failures_within_a_second_are_all_recorded_and_each_of_them_once(
    status: StatusWriter, make_nr: MakeNR, now: datetime
) -> None:
    """Weak point 3: there, the second of two equal quick failures is delivered and not recorded."""
    nr = make_nr()
    attempts = [Attempt.failure("slack:a", n, now, now, 0, RetryableError("busy")) for n in (1, 2, 3)]
    for attempt in [*attempts, attempts[1]]:
        status.record_attempt(attempt)(nr)
    assert [entry.attempt for entry in nr.status.delivery_attempts] == [1, 2, 3]
    counts = (nr.status.total_attempts, nr.status.successful_deliveries, nr.status.failed_deliveries)
    assert counts == (3, 0, 1)

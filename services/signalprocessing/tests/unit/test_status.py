"""Steps: what one commit is made of, applied to an object in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from scenarios.in_memory import Unreachable, Wall

from kubernaut_api import SIGNAL_PROCESSING, BusinessClassification, KubernetesContext, SignalProcessing
from kubernaut_signalprocessing.conditions import ended
from kubernaut_signalprocessing.failure import record_attempt
from kubernaut_signalprocessing.phases import PHASES, TRANSITIONS
from kubernaut_signalprocessing.status import StatusWriter, Step
from kubernaut_status import InvalidTransitionError, StatusManager

MakeSP = Callable[..., SignalProcessing]


@pytest.fixture
def wall(now: datetime) -> Wall:
    return Wall(now)


@pytest.fixture
def writer(wall: Wall) -> StatusWriter:
    return StatusWriter(StatusManager(Unreachable(), SIGNAL_PROCESSING), wall)


def apply(step: Step, sp: SignalProcessing) -> SignalProcessing:
    for mutate in step.mutations:
        mutate(sp)
    return sp


def every_step(writer: StatusWriter, sp: SignalProcessing) -> list[Step]:
    """Each kind of step, made for the phase that `sp` is in."""
    return [
        writer.accepted(sp),
        writer.begun(sp),
        writer.enriched(sp, KubernetesContext()),
        writer.completed(sp, BusinessClassification(business_unit="x")),
        writer.failed(sp, "no", ended(sp.status.phase, "no")),
        writer.attempted(sp, "busy", 1),
    ]


@pytest.mark.behaviour("W3")
@pytest.mark.parametrize("phase", sorted(TRANSITIONS))
@pytest.mark.parametrize("now_in", sorted(TRANSITIONS))
def test_a_step_changes_nothing_in_an_object_that_is_in_another_phase(
    writer: StatusWriter, make_sp: MakeSP, phase: str, now_in: str
) -> None:
    for step in every_step(writer, make_sp(status={"phase": phase})):
        fresh = make_sp(status={"phase": now_in})
        before = fresh.to_wire()
        apply(step, fresh)
        assert (fresh.to_wire() == before) is (now_in != phase)


def test_a_step_says_the_same_each_time_it_runs(
    writer: StatusWriter, wall: Wall, make_sp: MakeSP, now: datetime
) -> None:
    for step in every_step(writer, make_sp(status={"phase": "Enriching", "startTime": "2026-03-01T09:59:00Z"})):
        first = apply(step, make_sp(status={"phase": "Enriching"})).to_wire()
        wall.now += timedelta(seconds=7)
        assert apply(step, make_sp(status={"phase": "Enriching"})).to_wire() == first


def test_a_step_has_landed_when_the_object_is_what_it_made_beside_foreign_conditions(
    writer: StatusWriter, make_sp: MakeSP
) -> None:
    sp = make_sp(status={"phase": "Pending"})
    step = writer.begun(sp)
    assert not step.landed(sp)
    made = apply(step, make_sp(status={"phase": "Pending"}))
    assert step.landed(made)
    foreign = {"type": "Audited", "status": "True", "reason": "R", "lastTransitionTime": "2026-03-01T10:00:00Z"}
    also = SignalProcessing.model_validate(made.to_wire())
    also.status.conditions = [*also.status.conditions, type(also.status.conditions[0]).model_validate(foreign)]
    assert step.landed(also)
    ended_since = SignalProcessing.model_validate(made.to_wire())
    ended_since.status.phase = "Failed"
    assert not step.landed(ended_since)


@pytest.mark.behaviour(6)
def test_the_generation_is_observed_at_the_end_only(writer: StatusWriter, make_sp: MakeSP) -> None:
    for phase in ("", "Pending", "Enriching", "Categorizing"):
        for step in every_step(writer, make_sp(status={"phase": phase})):
            sp = apply(step, make_sp(metadata={"generation": 2}, status={"phase": phase}))
            assert sp.status.observed_generation == (2 if PHASES.is_terminal(sp.status.phase) else 0)


def test_nothing_ends_before_it_began_although_the_clock_was_set_back(
    writer: StatusWriter, wall: Wall, make_sp: MakeSP, now: datetime
) -> None:
    sp = apply(writer.accepted(make_sp()), make_sp())
    wall.now -= timedelta(hours=1)
    sp.status.phase = "Categorizing"
    apply(writer.completed(sp, BusinessClassification()), sp)
    assert (sp.status.start_time, sp.status.completion_time) == (now, now)


def test_nothing_begins_before_the_object_was_created(writer: StatusWriter, make_sp: MakeSP, now: datetime) -> None:
    created = make_sp(metadata={"creationTimestamp": "2026-03-01T10:00:30Z"})
    assert apply(writer.accepted(created), created).status.start_time == now + timedelta(seconds=30)


@pytest.mark.behaviour("W10")
def test_a_phase_that_succeeded_forgets_its_failures_and_an_end_keeps_them(
    writer: StatusWriter, make_sp: MakeSP, now: datetime
) -> None:
    def failed_twice() -> SignalProcessing:
        sp = make_sp(status={"phase": "Enriching"})
        record_attempt(sp.status, "busy", 2, now)
        return sp

    sp = failed_twice()
    info = apply(writer.enriched(sp, KubernetesContext()), sp).status.failure_info
    assert info is not None
    assert (info.error, info.consecutive_failures, info.last_failure_time) == ("", 0, now)
    sp = failed_twice()
    info = apply(writer.failed(sp, "timed out", ()), sp).status.failure_info
    assert info is not None
    assert (info.error, info.consecutive_failures) == ("timed out", 2)


@pytest.mark.behaviour("W3", "W23")
async def test_a_step_that_the_phase_table_does_not_have_is_refused_before_anything_is_sent(
    wall: Wall, make_sp: MakeSP
) -> None:
    writer = StatusWriter(StatusManager(Unreachable(), SIGNAL_PROCESSING, phases=PHASES), wall)
    sp = make_sp(metadata={"resourceVersion": "7"}, status={"phase": "Pending"})
    with pytest.raises(InvalidTransitionError, match="Pending"):
        await writer.commit(sp, writer.completed(sp, BusinessClassification()))

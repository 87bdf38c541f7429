"""Other writers, stale views, lost answers: nothing goes backwards, what ended stays, nothing is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from scenarios.signalprocessing import CONTRACT, PLURAL, signal_processing
from scenarios.signalprocessing_in_process import SignalProcessingDesk

from kubernaut_signalprocessing.enrichment import TransientReadError
from kubernaut_status import Request, Response, TransportError
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually_async

MakeDesk = Callable[..., SignalProcessingDesk]
Send = Callable[[Request], Any]

CANCELLED = {"phase": "Failed", "failureInfo": {"error": "the parent has ended"}}


def enters(request: Request, phase: str) -> bool:
    return request.verb == "patch" and ((request.body or {}).get("status") or {}).get("phase") == phase


def lose_the_answer(desk: SignalProcessingDesk, to: Callable[[Request], bool]) -> list[Request]:
    """Lose the answer to the first request that `to` picks; the result has that request once it was lost."""
    lost: list[Request] = []

    async def lose(request: Request, send: Send) -> Response:
        answer = await send(request)
        if to(request) and not lost:
            lost.append(request)
            raise TransportError("the connection was reset")
        return answer

    desk.meddle = lose
    return lost


@pytest.mark.behaviour(5, "W3")
@pytest.mark.parametrize("entering", ["Pending", "Enriching", "Classifying", "Categorizing", "Completed"])
async def test_an_end_that_the_parent_wrote_stays_whatever_is_under_way(
    desk: SignalProcessingDesk, entering: str
) -> None:
    """Weak point 3: there, the object comes back to life."""

    async def cancelled_first(request: Request, send: Send) -> Response:
        if enters(request, entering) and desk.status.get("phase") != "Failed":
            desk.write_status(CANCELLED)
        return await send(request)

    desk.meddle = cancelled_first
    desk.create()
    await desk.phase("Failed")
    assert {name: desk.status[name] for name in CANCELLED} == CANCELLED
    assert desk.verbs[-2:] == ["patch", "get"], "one conflict, one look, and no more"
    told = [event["event_data"].get("to_phase") for event in desk.audit]
    assert entering not in told, "what was not stored is not told"
    desk.store.observe("MODIFIED", desk.stored())
    await desk.idle()
    assert desk.verbs[-1] == "get"


@pytest.mark.behaviour("W3")
async def test_a_stale_view_cannot_take_an_object_back(desk: SignalProcessingDesk, ledger: RequestLedger) -> None:
    """Weak point 3: there, a cached Pending takes a later phase back to Enriching."""
    other = {"phase": "Pending", "startTime": "2026-03-01T10:00:00Z"}
    desk.control_plane.api.create(signal_processing(desk.namespace, "one"))
    stale = desk.write_status(other)
    desk.write_status({"phase": "Enriching"})
    desk.write_status({"phase": "Classifying"})
    desk.store.observe("ADDED", stale)
    await desk.phase("Completed")
    ref = f"{PLURAL}/{desk.namespace}/one"
    assert ledger.phases(ref) == ["", "Pending", "Enriching", "Classifying", "Categorizing", "Completed"]
    assert desk.cluster.calls == [], "another process has done that"
    assert desk.verbs == ["patch", "get", "patch", "patch"]
    assert_invariants(ledger, ref, CONTRACT)
    told = [event["event_data"]["to_phase"] for event in desk.audit if "to_phase" in event["event_data"]]
    assert told == ["Categorizing", "Completed"]


@pytest.mark.parametrize("phase", ["Pending", "Enriching"])
async def test_what_another_process_did_meanwhile_is_told_by_it_alone(desk: SignalProcessingDesk, phase: str) -> None:
    """Two leaders for a moment: the slower one finds its write made, and goes on from there."""

    async def done_first(request: Request, send: Send) -> Response:
        if enters(request, phase) and desk.status.get("phase") != phase:
            desk.write_status({"phase": phase, "startTime": "2026-03-01T10:00:00Z"})
        return await send(request)

    desk.meddle = done_first
    desk.create()
    await desk.phase("Completed")
    others = {"Pending", "Enriching", "Classifying", "Categorizing", "Completed"} - {phase}
    told = [event["event_data"]["to_phase"] for event in desk.audit if "to_phase" in event["event_data"]]
    assert sorted(told) == sorted(others)
    assert desk.verbs.count("get") == 1
    assert desk.verbs.count("patch") == 5


async def test_a_failure_that_is_recorded_too_late_holds_up_no_later_phase(desk: SignalProcessingDesk) -> None:
    """Two leaders for a moment: this one's read failed, the other one's did not."""

    async def enriched_first(request: Request, send: Send) -> Response:
        told = (request.body or {}).get("status") or {}
        if "failureInfo" in told and desk.status.get("phase") == "Enriching":
            desk.write_status({"phase": "Classifying"})
        return await send(request)

    desk.meddle = enriched_first
    desk.cluster.errors = [TransientReadError("busy")]
    desk.create()
    await desk.phase("Completed")  # by a clock that stands still
    assert "failureInfo" not in desk.status
    assert desk.events.of("EnrichmentFailed") == []


@pytest.mark.parametrize("patience", [0, 10], ids=["found by the next pass", "found by sending again"])
@pytest.mark.parametrize("phase", ["Pending", "Enriching", "Classifying", "Categorizing", "Completed"])
async def test_a_write_whose_answer_was_lost_is_told_once(
    make_desk: MakeDesk, phase: str, patience: float, ledger: RequestLedger
) -> None:
    desk = make_desk(give_up_after=patience)
    lost = lose_the_answer(desk, lambda request: enters(request, phase))
    desk.create()
    await eventually_async(lambda: bool(lost))
    for _ in range(3):  # a pass that raised waits for a second
        desk.store.observe("MODIFIED", desk.stored())
        await desk.clock.advance(5)
        await desk.idle()
    await desk.phase("Completed")
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)
    assert [e["event_data"]["to_phase"] for e in desk.audit if "to_phase" in e["event_data"]].count(phase) == 1
    assert (len(desk.audit), len(desk.events.told)) == (9, 6)


@pytest.mark.parametrize("phase", ["Pending", "Enriching", "Classifying", "Categorizing", "Completed"])
async def test_a_write_whose_answer_was_lost_is_told_once_though_the_watch_is_late(
    make_desk: MakeDesk, phase: str, ledger: RequestLedger
) -> None:
    """As after a network that was cut: the next pass comes before the watch is back."""
    desk = make_desk(give_up_after=0)
    lost = lose_the_answer(desk, lambda request: enters(request, phase))
    desk.create()
    await eventually_async(lambda: bool(lost))
    await desk.idle()
    await desk.clock.advance(5)  # a pass that raised waits for a second
    await desk.phase("Completed")
    assert_invariants(ledger, f"{PLURAL}/{desk.namespace}/one", CONTRACT)
    assert [e["event_data"]["to_phase"] for e in desk.audit if "to_phase" in e["event_data"]].count(phase) == 1
    assert (len(desk.audit), len(desk.events.told)) == (9, 6)


async def test_in_sequential_mode_a_part_of_a_step_is_not_told_as_the_whole(make_desk: MakeDesk) -> None:
    """The answer to the first write of each phase that takes several is lost, and the next pass finds it stored."""
    desk = make_desk(mode="sequential", give_up_after=0)
    parts = ("startTime", "kubernetesContext", "environmentClassification", "businessClassification")
    lost: list[str] = []

    async def lose(request: Request, send: Send) -> Response:
        answer = await send(request)
        for part in parts:
            if part in ((request.body or {}).get("status") or {}) and part not in lost:
                lost.append(part)
                raise TransportError("the connection was reset")
        return answer

    desk.meddle = lose
    desk.create()
    for number in range(1, len(parts) + 1):
        await eventually_async(lambda number=number: len(lost) >= number)
        await desk.idle()
        desk.store.observe("MODIFIED", desk.stored())
        await desk.idle()
        await desk.clock.advance(5)
    await desk.phase("Completed")
    changed = [message.removeprefix("Phase changed: ") for message in desk.events.of("PhaseTransition")]
    way = ("Pending", "Enriching", "Classifying", "Categorizing", "Completed")
    assert changed == [f"{before} → {after}" for before, after in pairwise(way)]
    assert (len(desk.audit), len(desk.events.told)) == (9, 6)


async def test_a_lost_answer_counts_no_failure_twice(desk: SignalProcessingDesk) -> None:
    desk.cluster.errors = [TransientReadError("busy")]
    lose_the_answer(desk, lambda request: "failureInfo" in ((request.body or {}).get("status") or {}))
    desk.create()
    await desk.attempts(1)
    desk.store.observe("MODIFIED", desk.stored())
    await desk.idle()
    assert desk.status["failureInfo"]["consecutiveFailures"] == 1
    assert desk.cluster.calls == [0]
    assert len(desk.events.of("EnrichmentFailed")) == 1
    wait = desk.queue.due_in(desk.key)
    assert wait is not None
    assert 30 <= wait <= 31


async def test_conditions_of_other_writers_survive_a_conflict(desk: SignalProcessingDesk) -> None:
    theirs = {
        "type": "Audited",
        "status": "True",
        "reason": "Checked",
        "message": "",
        "lastTransitionTime": "2026-03-01T10:00:00Z",
    }

    async def also_written(request: Request, send: Send) -> Response:
        if enters(request, "Categorizing") and "Audited" not in desk.conditions:
            desk.write_status({"conditions": [*desk.status["conditions"], theirs]})
        return await send(request)

    desk.meddle = also_written
    desk.create()
    await desk.phase("Completed")
    assert desk.conditions["Audited"] == ("True", "Checked", "")
    assert len(desk.conditions) == 6
    assert (len(desk.audit), len(desk.events.told)) == (9, 6)


@pytest.mark.behaviour("W4")
async def test_a_status_that_the_schema_refuses_ends_in_failed_and_is_named(desk: SignalProcessingDesk) -> None:
    """As with a CRD that is stricter than ours."""

    async def refused(request: Request, send: Send) -> Response:
        if enters(request, "Categorizing"):
            return Response(422, {"reason": "Invalid", "message": "status.signalClassification.severity: bad"})
        return await send(request)

    desk.meddle = refused
    desk.create()
    await desk.phase("Failed")
    assert desk.status["failureInfo"]["error"] == (
        "the API server refuses the status with phase Categorizing: status.signalClassification.severity: bad"
    )
    assert desk.conditions["ClassificationComplete"][:2] == ("False", "ClassificationFailed")
    assert desk.conditions["Stalled"][0] == "True"
    assert desk.failures == {"status_refused": 1}


async def test_a_first_phase_that_the_schema_refuses_is_an_error_that_names_the_refusal(
    desk: SignalProcessingDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing leads from no phase to Failed: there is nothing to write, and the pass is made again."""

    async def refused(request: Request, send: Send) -> Response:
        return Response(422, {"reason": "Invalid", "message": "status.phase: bad"})

    desk.meddle = refused
    desk.create()
    await eventually_async(lambda: desk.passes == 1)
    await desk.idle()
    assert desk.verbs == ["patch"]
    assert "status.phase: bad" in caplog.text
    assert "InvalidTransitionError" not in caplog.text
    assert desk.queue.due_in(desk.key) is not None


@pytest.mark.behaviour(2)
async def test_an_object_that_is_deleted_at_work_is_no_longer_counted(desk: SignalProcessingDesk) -> None:
    """Else its age would be told as that of the oldest unfinished one, for ever."""
    desk.cluster.errors = [TransientReadError("busy")]
    desk.create()
    await desk.attempts(1)
    assert desk.counted("signalprocessing_reconciler_active", "phase") == {"Enriching": 1}
    await desk.delete()
    assert desk.counted("signalprocessing_reconciler_active", "phase") == {}


@pytest.mark.behaviour(2)
async def test_an_object_that_is_gone_ends_the_work_quietly(desk: SignalProcessingDesk) -> None:
    async def deleted_first(request: Request, send: Send) -> Response:
        if enters(request, "Classifying"):
            desk.control_plane.api.delete("kubernaut.ai/v1alpha1", "SignalProcessing", desk.namespace, "one")
        return await send(request)

    desk.meddle = deleted_first
    desk.create()
    await eventually_async(lambda: len(desk.requests) == 3)
    await desk.idle()
    assert desk.queue.due_in(desk.key) is None
    assert desk.events.of("SignalEnriched") == []


@pytest.mark.behaviour("W1")
async def test_an_older_crd_that_drops_fields_makes_no_hot_loop(desk: SignalProcessingDesk) -> None:
    """The count of failures is not stored; the wait is kept all the same."""
    desk.cluster.errors, desk.cluster.lasting = [TransientReadError("busy")], True

    async def pruned(request: Request, send: Send) -> Response:
        if request.body and "failureInfo" in (request.body.get("status") or {}):
            status = {name: value for name, value in request.body["status"].items() if name != "failureInfo"}
            request = replace(request, body={**request.body, "status": status})
        return await send(request)

    desk.meddle = pruned
    desk.create()
    await desk.attempts(1)
    for _ in range(5):
        desk.queue.add(desk.key)
        await desk.idle()
    assert len(desk.cluster.calls) == 1
    assert desk.queue.due_in(desk.key) == 30


@pytest.mark.parametrize("landed", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("phase", ["Pending", "Enriching", "Classifying", "Categorizing", "Completed"])
async def test_whoever_comes_after_a_process_that_died_goes_on_where_it_was(
    make_desk: MakeDesk, phase: str, landed: bool, ledger: RequestLedger
) -> None:
    dying = asyncio.Event()

    async def die(request: Request, send: Send) -> Response:
        if enters(request, phase):
            if landed:
                await send(request)
            dying.set()
            await asyncio.Event().wait()
        return await send(request)

    first = make_desk()
    first.meddle = die
    first.create()
    async with asyncio.timeout(10):
        await dying.wait()
    second = make_desk(clock=first.clock)
    second.store.observe(None, second.stored())
    await second.phase("Completed")
    ref = f"{PLURAL}/{second.namespace}/one"
    assert ledger.phases(ref) == ["", "Pending", "Enriching", "Classifying", "Categorizing", "Completed"]
    assert_invariants(ledger, ref, CONTRACT)
    assert len(second.conditions) == 5
    assert first.events.of("SignalProcessed") == []

"""What fails is tried again by the policy's exponential backoff, and what cannot succeed is not.

The standard's case is a file channel into a place that nobody can write, beside the console, which delivers: five
attempts at 0, 30, 90, 210 and 450 seconds, then PartiallySent. It is shown twice: by the whole operator with a second
for the first wait, and by the controller under a clock that is turned by hand, to the exact second. The place is a file
where the folder should be, which holds for every user; permissions would not hold for root.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from scenarios.budgets import MODES
from scenarios.journeys import Journey, Tour, short_policy
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM
from scenarios.notification_in_process import NotificationDesk

from kubernaut_notification.delivery.channel import PermanentError
from kubernaut_notification.delivery.file import FileChannel
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import Answer
from kubernaut_testing.waiting import eventually, eventually_async

pytestmark = pytest.mark.e2e

REFUSALS = (400, 403, 404, 410)
FIVE_FAILURES = "one channel, 5 retryable failures"
EXHAUSTED = "MaxRetriesExhausted"


def attempts(number: int, multiplier: int = 1) -> dict[str, Any]:
    return {"retryPolicy": short_policy(number, multiplier)}


JOURNEYS: dict[str, Journey] = {
    "unwritable-place": Journey(("console", "file"), {"file": "fffff"}, phase="PartiallySent"),
    "place-heals": Journey(
        ("console", "file"),
        {"file": "fs"},
        spec={"retryPolicy": {**short_policy(5), "initialBackoffSeconds": 4}},
        later=True,
    ),
    "unauthorised": Journey(("slack",), {"slack": "f"}, (401,), "Failed", spec=attempts(1)),
    **{
        f"refused-{code}": Journey(("slack",), {"slack": "f"}, (code,), "Failed", spec=attempts(3)) for code in REFUSALS
    },
    "console-and-refused": Journey(
        ("slack", "console"),
        {"slack": "f"},
        (401,),
        "PartiallySent",
        path="one channel succeeds, another fails permanently",
    ),
    "busy-then-refused": Journey(("slack",), {"slack": "ff"}, (503, 404), "Failed"),
    "mixed": Journey(("slack", "file"), {"slack": "f", "file": "fff"}, (404,), "Failed", EXHAUSTED, attempts(3)),
    "recovers": Journey(("slack",), {"slack": "fs"}, (502,), path="one channel fails once, then succeeds"),
    "three-attempts": Journey(("slack",), {"slack": "fff"}, (503,) * 3, "Failed", EXHAUSTED, attempts(3)),
    "five-attempts": Journey(("slack",), {"slack": "fffff"}, (500,) * 5, "Failed", EXHAUSTED, path=FIVE_FAILURES),
    "seven-attempts": Journey(("slack",), {"slack": "f" * 7}, (503,) * 7, "Failed", EXHAUSTED, attempts(7)),
    "doubling": Journey(("slack",), {"slack": "ffff"}, (503,) * 4, "Failed", EXHAUSTED, attempts(4, 2)),
    "console-and-busy": Journey(("slack", "console"), {"slack": "fff"}, (503,) * 3, "PartiallySent", spec=attempts(3)),
    **{
        f"{channel}-{end}": Journey((channel,), outcomes, answers, phase, reason, attempts(1))
        for channel in ("teams", "pagerduty")
        for end, outcomes, answers, phase, reason in (
            ("busy", {channel: "f"}, (503,), "Failed", EXHAUSTED),
            ("delivers", {}, (202,), "Sent", ""),
        )
    },
    "asked-to-wait": Journey(("slack",), {"slack": "fs"}, (Answer(429, retry_after=3),)),
    "lost-answer": Journey(("slack",), {"slack": "fs"}, (Answer(drop=True),)),
}
DEPARTING = [name for name, journey in JOURNEYS.items() if not journey.later]


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Let a file stand where `folder` was; afterwards an empty folder is there again."""
    folder.rmdir()
    folder.write_text("not a folder")
    yield
    folder.unlink()
    folder.mkdir()


@pytest.fixture(scope="module")
def tour(open_tour: Callable[..., Tour]) -> Tour:
    made = open_tour(JOURNEYS)
    with unwritable(made.site.output):
        made.depart()
        made.arrive()
    return made


def errors(tour: Tour, name: str) -> list[str]:
    return [entry["error"] for entry in tour.site.status(name)["deliveryAttempts"] if "error" in entry]


# Every scenario ----------------------------------------------------------------------------------------------


@pytest.mark.behaviour(23, 24, 25, 26, 27, 28, 30, 36, 37, 40)
@pytest.mark.parametrize("name", DEPARTING)
def test_it_is_tried_as_often_as_it_should_be_and_ends(tour: Tour, name: str) -> None:
    status = tour.assert_end(name)
    assert "completionTime" in status
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert conditions["Ready"] == ("False" if status["phase"] == "Failed" else "True")
    assert "Delivering" not in conditions, "nothing is announced any more"


@pytest.mark.behaviour(79)
@pytest.mark.parametrize("name", DEPARTING)
def test_it_costs_exactly_its_budget(tour: Tour, name: str) -> None:
    tour.assert_cost(name)


# One by one --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(53)
def test_a_place_that_cannot_be_written_is_tried_five_times_and_says_why(tour: Tour) -> None:
    status = tour.site.status("unwritable-place")
    assert status["message"] == "Delivered to 1/2 channel(s), others failed"
    assert len(errors(tour, "unwritable-place")) == 5
    assert all("failed to create output directory" in text for text in errors(tour, "unwritable-place"))
    assert len(tour.site.console_messages("unwritable-place")) == 1, "what is delivered is not delivered again"
    assert tour.site.files("unwritable-place") == []


def test_a_place_that_can_be_written_again_gets_its_file_with_the_next_attempt(tour: Tour) -> None:
    with unwritable(tour.site.output):
        tour.create("place-heals")
        eventually(lambda: tour.site.status("place-heals").get("totalAttempts") == 2)
    eventually(lambda: tour.site.ended("place-heals"))
    tour.assert_end("place-heals")
    tour.assert_cost("place-heals")
    (path,) = tour.site.files("place-heals")
    assert json.loads(path.read_text())["metadata"]["name"] == "place-heals"
    assert len(tour.site.console_messages("place-heals")) == 1


@pytest.mark.behaviour(24)
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_told_as_permanent_with_its_code(tour: Tour, code: int) -> None:
    (text,) = errors(tour, f"refused-{code}")
    assert text.startswith(f"permanent failure: slack webhook returned {code} (permanent failure): ")


@pytest.mark.behaviour(51)
@pytest.mark.parametrize("channel", ["teams", "pagerduty"])
def test_teams_and_pagerduty_are_recorded_under_keys_of_their_own(tour: Tour, channel: str) -> None:
    for name in (f"{channel}-busy", f"{channel}-delivers"):
        (entry,) = tour.site.status(name)["deliveryAttempts"]
        assert entry["channel"] == f"{channel}:{name}"
    assert errors(tour, f"{channel}-busy") == [f"{channel} webhook returned 503 (retryable): ok"]


@pytest.mark.behaviour(27)
def test_a_failure_that_was_overcome_is_no_failed_delivery(tour: Tour) -> None:
    (text,) = errors(tour, "recovers")
    assert "502" in text
    assert "failedDeliveries" not in tour.site.status("recovers")


@pytest.mark.behaviour(29)
def test_seven_attempts_are_seven_and_the_status_stays_small(tour: Tour) -> None:
    status = tour.site.status("seven-attempts")
    assert (status["totalAttempts"], status["failedDeliveries"]) == (7, 1)
    assert len(json.dumps(status)) < 10_000


@pytest.mark.behaviour(28, 40)
def test_waits_follow_the_policy_by_the_webhook_s_clock(tour: Tour) -> None:
    tour.assert_gaps("doubling", 1, 2, 4)
    tour.assert_gaps("five-attempts", 1, 1, 1, 1)
    tour.assert_gaps("seven-attempts", *[1] * 6)
    tour.assert_gaps("console-and-busy", 1, 1)
    assert all(text.startswith("slack webhook returned 500 (retryable): ") for text in errors(tour, "five-attempts"))


def test_a_longer_retry_after_is_waited_out(tour: Tour) -> None:
    tour.assert_gaps("asked-to-wait", 3)


def test_a_lost_answer_is_told_as_unknown_and_tried_again_when_the_policy_says(tour: Tour) -> None:
    (text,) = errors(tour, "lost-answer")
    assert text.endswith("; the receiver may have the message all the same")
    assert not text.startswith("permanent failure: ")
    tour.assert_gaps("lost-answer", 1)


@pytest.mark.behaviour(79)
def test_its_events_say_what_became_of_it(tour: Tour) -> None:
    told = {event["reason"]: event for event in tour.site.events("unwritable-place")}
    assert told["NotificationRetrying"]["message"].startswith("Retrying failed channels with backoff ")
    assert told["NotificationPartiallySent"]["message"] == "Delivered to 1/2 channel(s), others failed"
    (failed,) = tour.site.events("refused-404", "NotificationFailed")
    assert (failed["type"], failed["message"]) == ("Warning", "All delivery attempts failed or exhausted retries")


# By a clock that is turned by hand ---------------------------------------------------------------------------


@pytest.fixture(params=MODES)
async def turned(request: pytest.FixtureRequest, make_desk: Callable[..., NotificationDesk]) -> NotificationDesk:
    """A controller in this process in each mode, with no channel yet."""
    made = make_desk(mode=request.param)
    made.routed.clear()
    return made


def writes(desk: NotificationDesk, passes: int, recorded: int) -> int:
    """PATCHes of a life with so many passes that deliver and so many recorded attempts."""
    return 2 + passes + (recorded if desk.mode == "sequential" else 0)


@pytest.mark.behaviour(38, 39, 53)
async def test_an_unwritable_place_is_tried_at_0_30_90_210_and_450_seconds_and_then_no_more(
    turned: NotificationDesk, tmp_path: Path, ledger: RequestLedger
) -> None:
    desk = turned
    desk.add("console").answers = [None]
    (tmp_path / "file").write_text("no folder can be made below this")
    desk.channels.register("file", FileChannel(tmp_path / "file" / "delivered"))
    desk.routed.append("file")
    began = desk.clock.now()
    desk.create()
    await desk.attempted(2)
    for recorded, wait in enumerate((30, 60, 120, 240), start=2):
        assert desk.status["phase"] == "Retrying"
        assert desk.queue.due_in(desk.key) == wait
        before = len(desk.requests)
        await desk.clock.advance(wait - 1)
        touched = {"metadata": {"labels": {"at": str(recorded)}}}
        passes = desk.passes
        desk.store.observe("MODIFIED", desk.control_plane.api.patch(API_VERSION, KIND, desk.namespace, "one", touched))
        await eventually_async(lambda passes=passes: desk.passes > passes)
        await desk.idle()
        assert len(desk.requests) == before, "woken too early, it asks for nothing and goes on waiting"
        await desk.clock.advance(1)
        await desk.attempted(recorded + 1)
    status = desk.status
    assert (status["phase"], status["reason"]) == ("PartiallySent", "PartialDeliverySuccess")
    tried = [entry for entry in status["deliveryAttempts"] if entry["channel"] == "file"]
    times = [datetime.fromisoformat(entry["timestamp"]) for entry in tried]
    assert [(time - began.replace(microsecond=0)).total_seconds() for time in times] == [0, 30, 90, 210, 450]
    assert desk.queue.due_in(desk.key) is None
    ref = f"{PLURAL}/{desk.namespace}/one"
    wanted = {"patch/status": writes(desk, 5, 6)}
    ledger.assert_requests(ref, wanted, user_agent=f"{PROGRAM}/in-process", only=True)
    assert_invariants(ledger, ref, CONTRACT)


@pytest.mark.behaviour(31)
async def test_a_permanent_error_of_one_of_three_calls_each_channel_once(turned: NotificationDesk) -> None:
    console, log, file = (turned.add(key) for key in ("console", "log", "file"))
    console.answers = log.answers = [None]
    file.answers = [PermanentError("no such format")]
    turned.create(retryPolicy={"maxAttempts": 1})
    await turned.attempted(3)
    status = turned.status
    assert (status["phase"], status["successfulDeliveries"], status["failedDeliveries"]) == ("PartiallySent", 2, 1)
    assert [len(channel.calls) for channel in (console, log, file)] == [1, 1, 1]
    assert len(turned.requests) == writes(turned, 1, 3)


@pytest.mark.behaviour(32, 36)
async def test_permanent_errors_of_all_three_fail_it_at_once(turned: NotificationDesk) -> None:
    for key in ("console", "log", "file"):
        turned.add(key).answers = [PermanentError("broken for good")]
    turned.create()
    await turned.attempted(3)
    status = turned.status
    assert (status["phase"], status["reason"]) == ("Failed", "AllDeliveriesFailed")
    assert (status["totalAttempts"], status["failedDeliveries"]) == (3, 3)
    assert len(turned.requests) == writes(turned, 1, 3)

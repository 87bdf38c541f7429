"""A notification is created and delivered, at once and as it was written.

One operator for all scenarios of a mode. What a scenario may cost is asserted in both modes; everything else is the
same in both.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from scenarios.journeys import Journey, Tour
from scenarios.notification import API_VERSION, KIND, PROGRAM

from kubernaut_testing.receivers import Answer
from kubernaut_testing.rest import ApiError
from kubernaut_testing.waiting import eventually, stays

pytestmark = pytest.mark.e2e

PRIORITIES = ("Critical", "High", "Medium", "Low")
PARALLEL = [f"parallel-{number}" for number in range(10)]
UNICODE = '🚨 Überlast: チェックアウト – כשל \u202f%s {} \\ "'
BIG = "".join(f"{number}: the node pool grows by one, é\n" for number in range(3000))
SECRETS = {"password": "hunter2hunter2", "api_key": "k3yk3yk3yk3y", "token": "t0k3nt0k3n"}

JOURNEYS: dict[str, Journey] = {
    "console": Journey(("console",), path="one channel succeeds"),
    "file": Journey(("file",), path="one channel succeeds"),
    "log": Journey(("log",), path="one channel succeeds"),
    "three-channels": Journey(("console", "file", "log"), path="three channels succeed"),
    "unstated-priority": Journey(("console",), spec={"priority": None}),
    **{f"priority-{word.lower()}": Journey(("console",), spec={"priority": word}) for word in PRIORITIES},
    "unicode": Journey(("slack", "console", "file"), spec={"subject": UNICODE, "body": UNICODE * 3}),
    "big-body": Journey(("console", "file"), spec={"body": BIG}),
    "with-secrets": Journey(
        ("file",), spec={"body": "\n".join(f"{key}: {value}" for key, value in SECRETS.items()) + "\nand no more"}
    ),
    **{name: Journey(("slack",), path="one channel succeeds") for name in PARALLEL},
    "refused": Journey(("slack",), {"slack": "f"}, (404,), "Failed", path="one channel, a permanent error"),
    "recreated": Journey(("slack",), later=True),
    "deleted": Journey(("slack", "console"), answers=(Answer(delay=1.0),), later=True),
    "deleted-at-once": Journey(("slack",), later=True),
    "after-deletions": Journey(("slack",), later=True),
}
DEPARTING = [name for name, journey in JOURNEYS.items() if not journey.later]


@pytest.fixture(scope="module")
def tour(open_tour: Callable[..., Tour]) -> Tour:
    made = open_tour(JOURNEYS)
    made.depart()
    made.arrive()
    return made


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def written(tour: Tour, name: str) -> dict[str, Any]:
    """What the file channel wrote; there is exactly one file."""
    (path,) = tour.site.files(name)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


# Every scenario ----------------------------------------------------------------------------------------------


@pytest.mark.behaviour(1, 10, 11, 12, 16, 20, 54)
@pytest.mark.parametrize("name", DEPARTING)
@pytest.mark.usefixtures("at_the_end")
def test_it_is_delivered_to_its_channels_and_ends(tour: Tour, name: str) -> None:
    tour.assert_end(name)


@pytest.mark.parametrize("name", DEPARTING)
def test_it_costs_exactly_its_budget(tour: Tour, name: str) -> None:
    tour.assert_cost(name)


@pytest.mark.behaviour(3, 6, 7)
@pytest.mark.parametrize("name", DEPARTING)
def test_its_times_are_set_once_and_in_order_and_its_generation_with_every_write(tour: Tour, name: str) -> None:
    tour.ledger.settle()
    versions = tour.ledger.history(tour.site.ref(name))
    created = versions[0].entry.time
    writes = [version for version in versions if version.entry.subresource == "status"]
    for field in ("queuedAt", "processingStartedAt", "completionTime"):
        assert len({version.status[field] for version in writes if field in version.status}) == 1, field
    first = {phase: next(v.status for v in writes if v.status["phase"] == phase) for phase in ("Pending", "Sending")}
    assert "processingStartedAt" not in first["Pending"]
    assert "completionTime" not in first["Sending"]
    assert all(version.status["observedGeneration"] == version.body["metadata"]["generation"] for version in writes)
    status = writes[-1].status
    queued, started, ended = (time_of(status[field]) for field in ("queuedAt", "processingStartedAt", "completionTime"))
    assert created.replace(microsecond=0) <= queued <= started <= ended
    assert abs(writes[-1].entry.time - ended) < timedelta(seconds=15)


@pytest.mark.behaviour(80)
@pytest.mark.parametrize("name", [name for name in DEPARTING if JOURNEYS[name].phase == "Sent"])
def test_a_sent_one_is_ready_and_says_where_it_went(tour: Tour, name: str) -> None:
    conditions = {each["type"]: each for each in tour.site.status(name)["conditions"]}
    assert set(conditions) == {"Ready", "RoutingResolved"}, "nothing is announced and nothing is under way any more"
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("True", "Ready")
    assert conditions["Ready"]["message"] == "Notification delivered"
    routing = conditions["RoutingResolved"]
    assert (routing["status"], routing["reason"]) == ("True", "RoutingRuleMatched")
    keys = ", ".join(tour.key(channel, name) for channel in JOURNEYS[name].channels)
    assert routing["message"].startswith(f"Matched rules [{name}] (attributes: ")
    assert routing["message"].endswith(f" → channels: {keys}")


# One by one --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(2)
def test_the_status_of_a_console_delivery_reads_as_the_contract_has_it(tour: Tour) -> None:
    status = tour.site.status("console")
    assert status["message"] == "Successfully delivered to 1 channel(s)"
    (attempt,) = status["deliveryAttempts"]
    assert (attempt["channel"], attempt["status"], attempt["attempt"]) == ("console", "success", 1)
    assert "error" not in attempt
    created = tour.site.get("console")["metadata"]["creationTimestamp"]
    assert time_of(created) <= time_of(status["completionTime"])
    body = tour.site.get("console")["spec"]["body"]
    assert tour.site.console_messages("console") == [f"[Medium] [Simple] console\n{body}\n"]


@pytest.mark.behaviour(1, 3, 4)
def test_a_console_delivery_begins_within_five_seconds_and_ends_within_ten(tour: Tour) -> None:
    tour.ledger.settle()
    created, *writes = tour.ledger.history(tour.site.ref("console"))
    assert writes[0].entry.time - created.entry.time < timedelta(seconds=5)
    assert time_of(writes[-1].status["completionTime"]) - created.entry.time < timedelta(seconds=10)


@pytest.mark.behaviour(52, 54)
def test_a_file_holds_the_whole_notification(tour: Tour) -> None:
    stored, content = tour.site.get("file"), written(tour, "file")
    assert content["metadata"]["uid"] == stored["metadata"]["uid"]
    assert content["spec"] == stored["spec"]
    assert content["status"]["phase"] == "Sending", "the status is that at the time of the delivery"


@pytest.mark.behaviour(54)
def test_a_log_record_is_one_json_object(tour: Tour) -> None:
    texts = [str(record.get("msg")) for record in tour.site.deployment.process.records()]
    told = [json.loads(text) for text in texts if text.startswith('{"timestamp"')]
    (record,) = [each for each in told if each["notification_name"] == "log"]
    stored = tour.site.get("log")
    assert record["notification_uid"] == stored["metadata"]["uid"]
    assert (record["subject"], record["body"]) == (stored["spec"]["subject"], stored["spec"]["body"])
    assert record["metadata"] == {"to": "log"}


@pytest.mark.behaviour(54)
def test_each_of_three_channels_has_it_once(tour: Tour) -> None:
    assert len(tour.site.console_messages("three-channels")) == 1
    assert len(tour.site.files("three-channels")) == 1
    assert tour.site.status("three-channels")["message"] == "Successfully delivered to 3 channel(s)"


@pytest.mark.behaviour(10)
@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_priority_is_delivered_as_it_was_given(tour: Tour, priority: str) -> None:
    name = f"priority-{priority.lower()}"
    assert tour.site.get(name)["spec"]["priority"] == priority
    assert [text.split()[0] for text in tour.site.console_messages(name)] == [f"[{priority}]"]


def test_a_priority_that_is_not_stated_is_medium(tour: Tour) -> None:
    assert [text.split()[0] for text in tour.site.console_messages("unstated-priority")] == ["[Medium]"]


@pytest.mark.behaviour(20)
def test_unicode_arrives_everywhere_as_it_was_written(tour: Tour) -> None:
    stored = tour.site.get("unicode")["spec"]
    assert (stored["subject"], stored["body"]) == (UNICODE, UNICODE * 3)
    (call,) = tour.calls("unicode")
    assert call.json["blocks"][0]["text"]["text"] == f"ℹ️ {UNICODE}"
    assert tour.site.console_messages(UNICODE) == [f"[Medium] [Simple] {UNICODE}\n{UNICODE * 3}\n"]
    assert written(tour, "unicode")["spec"]["subject"] == UNICODE


@pytest.mark.behaviour(20)
def test_a_big_body_is_cut_neither_in_the_object_nor_in_a_file(tour: Tour) -> None:
    assert len(BIG) > 100_000
    assert tour.site.get("big-body")["spec"]["body"] == BIG
    assert written(tour, "big-body")["spec"]["body"] == BIG


@pytest.mark.behaviour(76)
def test_secrets_in_a_body_reach_no_file_and_stay_in_the_object(tour: Tour) -> None:
    (path,) = tour.site.files("with-secrets")
    assert not [value for value in SECRETS.values() if value in path.read_text()]
    body = written(tour, "with-secrets")["spec"]["body"]
    assert body == "\n".join(f"{key}: [REDACTED]" for key in SECRETS) + "\nand no more"
    assert all(value in tour.site.get("with-secrets")["spec"]["body"] for value in SECRETS.values())


@pytest.mark.behaviour(12)
def test_ten_at_once_are_one_slack_call_each(tour: Tour) -> None:
    assert {name: len(tour.calls(name)) for name in PARALLEL} == dict.fromkeys(PARALLEL, 1)


@pytest.mark.behaviour(84)
def test_the_metrics_page_shows_what_happened(tour: Tour) -> None:
    with urllib.request.urlopen(tour.site.deployment.metrics_url, timeout=20) as answer:
        assert answer.status == 200
    operator, prefix = tour.site.deployment, "kubernaut_notification"
    console = sum("console" in JOURNEYS[name].channels for name in DEPARTING)
    made = {"channel": "console", "status": "success"}
    assert operator.metric(f"{prefix}_delivery_attempts_total", **made) == console
    assert operator.metric(f"{prefix}_delivery_duration_seconds_count", channel="console") == console
    by_phase = {labels["phase"]: value for labels, value in operator.samples(f"{prefix}_reconciler_active")}
    assert (by_phase["Sent"], by_phase["Failed"]) == (len(DEPARTING) - 1, 1)


# At rest -----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(9)
def test_a_further_pass_over_an_ended_one_asks_for_nothing(tour: Tour) -> None:
    def passes() -> float:
        return tour.site.deployment.metric("controller_runtime_reconcile_total")

    resting, before = tour.ledger.mark(), passes()
    for number in range(3):
        change = {"metadata": {"labels": {"touched": str(number)}}}
        tour.site.control_plane.api.patch(API_VERSION, KIND, tour.site.namespace, "console", change)
    eventually(lambda: passes() > before)
    tour.ledger.assert_requests(tour.site.ref("console"), {}, user_agent=PROGRAM, since=resting, only=True)
    assert tour.ledger.events_about(tour.site.ref("console"), since=resting) == []


def ended(tour: Tour) -> dict[str, Any]:
    found = {each["metadata"]["name"]: each for each in tour.site.objects()}
    return {name: found[name]["status"] for name in DEPARTING}


@pytest.fixture(scope="module")
def at_the_end(tour: Tour) -> tuple[float, dict[str, Any]]:
    """When all had ended, and how they stood then."""
    return time.monotonic(), ended(tour)


@pytest.mark.behaviour(5)
def test_ended_ones_stay_as_they_are_for_five_seconds(tour: Tour, at_the_end: tuple[float, dict[str, Any]]) -> None:
    since, then = at_the_end
    assert {status["phase"] for status in then.values()} == {"Sent", "Failed"}
    stays(lambda: ended(tour), seconds=5 - (time.monotonic() - since), interval=0.5)
    assert ended(tour) == then


# Made again, and deleted -------------------------------------------------------------------------------------


def delete(tour: Tour, name: str) -> None:
    tour.site.control_plane.api.delete(API_VERSION, KIND, tour.site.namespace, name)


def gone(tour: Tour, name: str) -> bool:
    try:
        tour.site.get(name)
    except ApiError as error:
        return error.status == 404
    return False


@pytest.mark.behaviour(13)
def test_five_lives_of_one_name_end_each_for_itself(tour: Tour) -> None:
    uids = set()
    for life in range(1, 6):
        uids.add(tour.create("recreated")["metadata"]["uid"])
        eventually(lambda: tour.site.ended("recreated"))
        status = tour.site.status("recreated")
        assert (status["phase"], status["totalAttempts"]) == ("Sent", 1)
        assert len(tour.calls("recreated")) == life
        delete(tour, "recreated")
        eventually(lambda: gone(tour, "recreated"))
    assert len(uids) == 5
    tour.ledger.settle()
    assert tour.ledger.phases(tour.site.ref("recreated")) == ["", "Pending", "Sending", "Sent"] * 5


@pytest.mark.behaviour(14)
def test_one_that_is_deleted_during_its_delivery_is_gone_and_disturbs_nobody(tour: Tour) -> None:
    tour.create("deleted")
    tour.site.receiver.wait_for(1, path="/deleted")
    began = time.monotonic()
    delete(tour, "deleted")
    eventually(lambda: gone(tour, "deleted"))
    tour.create("deleted-at-once")
    delete(tour, "deleted-at-once")
    eventually(lambda: gone(tour, "deleted-at-once"))
    assert time.monotonic() - began < 10
    tour.create("after-deletions")
    eventually(lambda: tour.site.ended("after-deletions"))
    tour.assert_end("after-deletions")

    def refused() -> list[int]:
        tour.ledger.settle()
        writes = tour.ledger.entries(tour.site.ref("deleted"), user_agent=PROGRAM, subresource="status")
        return [entry.code for entry in writes if not entry.ok]

    eventually(refused)
    assert set(refused()) == {404}
    assert len(refused()) == 1, "what is gone is not asked for again"
    assert len(tour.calls("deleted")) == 1

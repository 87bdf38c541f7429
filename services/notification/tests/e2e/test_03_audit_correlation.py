"""What was done is told to Data Storage, event by event, tied together by the remediation that asked for it.

A stand-in takes the place of Data Storage; it refuses what the real one refuses. Audit never holds up a delivery: that
is shown by a Data Storage that is away while notifications are delivered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scenarios.journeys import Journey, Tour, short_policy

from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.receivers import Answer, Received
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

SENT, FAILED = "notification.message.sent", "notification.message.failed"
ACKNOWLEDGED, ESCALATED = "notification.message.acknowledged", "notification.message.escalated"

SECRETS = ("hunter2hunter2", "k3yk3yk3yk3y", "t0k3nt0k3nt0k3n")
REFERENCE = {"kind": "RemediationRequest", "name": "rr-checkout", "namespace": "elsewhere", "uid": "u-1"}


def echo(request: Received) -> Answer:
    """Refuse, and repeat the webhook's path and a secret of our own."""
    return Answer(404, f"no hook at {request.path}, password={SECRETS[0]}")


JOURNEYS: dict[str, Journey] = {
    "of-a-remediation": Journey(
        ("console", "file"),
        spec={
            "remediationRequestRef": REFERENCE,
            "clusterID": "east",
            "type": "Completion",
            "context": {"analysis": {"outcome": "resolved"}},
        },
    ),
    "of-the-same-remediation": Journey(("log",), spec={"remediationRequestRef": REFERENCE}),
    "standalone": Journey(("console",)),
    "refused": Journey(("slack",), {"slack": "f"}, (404,), "Failed", spec={"priority": "Critical"}),
    "exhausted": Journey(
        ("slack",),
        {"slack": "fff"},
        (503,) * 3,
        "Failed",
        "MaxRetriesExhausted",
        {"retryPolicy": short_policy(3)},
    ),
    "recovers": Journey(("slack",), {"slack": "fs"}, (503,)),
    "partially": Journey(("slack", "console"), {"slack": "f"}, (404,), "PartiallySent"),
    "secretive": Journey(
        ("slack", "console"),
        {"slack": "f"},
        (echo,),
        "PartiallySent",
        spec={
            "body": f"password: {SECRETS[0]}\napi_key: {SECRETS[1]}",
            "context": {"analysis": {"rootCause": f"token={SECRETS[2]}"}},
        },
    ),
    "while-away": Journey(("console", "slack"), later=True),
    "at-the-end": Journey(("console",), later=True),
}
DEPARTING = [name for name, journey in JOURNEYS.items() if not journey.later]


@pytest.fixture(scope="module")
def storage(update_mode: str) -> Iterator[DataStorage]:
    with DataStorage() as running:
        yield running


@pytest.fixture(scope="module")
def tour(open_tour: Callable[..., Tour], storage: DataStorage) -> Tour:
    buffer = {"bufferSize": 1000, "batchSize": 100, "flushInterval": "2s", "maxRetries": 3}
    made = open_tour(JOURNEYS, config={"datastorage": {**storage.config, "timeout": "5s", "buffer": buffer}})
    made.depart()
    made.arrive()
    storage.wait_for_events(sum(wanted(name).total() for name in DEPARTING))
    return made


def wanted(name: str) -> Counter[str]:
    """The events of a journey, by type."""
    made = "".join(JOURNEYS[name].attempts.values())
    told = Counter({SENT: made.count("s"), FAILED: made.count("f")})
    told[ACKNOWLEDGED] = int(JOURNEYS[name].phase == "Sent")
    told[ESCALATED] = int(JOURNEYS[name].phase == "Failed")
    return +told


def told(storage: DataStorage, name: str) -> Counter[str]:
    return Counter(event["event_type"] for event in storage.events(resource_id=name))


# Every scenario ----------------------------------------------------------------------------------------------


@pytest.mark.behaviour(81)
@pytest.mark.parametrize("name", DEPARTING)
def test_each_attempt_and_each_end_is_one_event(tour: Tour, storage: DataStorage, name: str) -> None:
    assert told(storage, name) == wanted(name)
    attempts = [event["event_data"] for event in storage.events(resource_id=name) if "channel" in event["event_data"]]
    recorded = [entry["channel"] for entry in tour.site.status(name)["deliveryAttempts"]]
    assert sorted(data["channel"] for data in attempts) == sorted(recorded)


@pytest.mark.parametrize("name", DEPARTING)
def test_it_ends_as_it_would_without_audit_and_costs_the_same(tour: Tour, name: str) -> None:
    tour.assert_end(name)
    tour.assert_cost(name)


@pytest.mark.parametrize("name", DEPARTING)
def test_every_event_says_who_did_what_to_which_object(tour: Tour, storage: DataStorage, name: str) -> None:
    outcome = {SENT: "success", FAILED: "failure", ACKNOWLEDGED: "success", ESCALATED: "success"}
    action = {SENT: "sent", FAILED: "sent", ACKNOWLEDGED: "acknowledged", ESCALATED: "escalated"}
    spec = JOURNEYS[name].spec
    for event in storage.events(resource_id=name):
        kind = event["event_type"]
        assert (event["event_outcome"], event["event_action"]) == (outcome[kind], action[kind])
        assert (event["version"], event["event_category"]) == ("1.0", "notification")
        assert (event["actor_type"], event["actor_id"]) == ("service", "notification-controller")
        assert (event["resource_type"], event["namespace"]) == ("NotificationRequest", tour.site.namespace)
        assert event.get("cluster_id", "") == spec.get("clusterID", "")
        data = event["event_data"]
        assert (data["notification_id"], data["priority"]) == (name, spec.get("priority", "Medium"))
    times = [event["event_timestamp"] for event in storage.events(resource_id=name)]
    assert times == sorted(times)


# One by one --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(81)
def test_the_name_of_the_remediation_ties_its_events_together(tour: Tour, storage: DataStorage) -> None:
    of_it = storage.events(correlation_id="rr-checkout")
    assert Counter(event["resource_id"] for event in of_it) == {"of-a-remediation": 3, "of-the-same-remediation": 2}


@pytest.mark.behaviour(81)
def test_a_standalone_notification_is_tied_by_its_uid(tour: Tour, storage: DataStorage) -> None:
    uid = tour.site.get("standalone")["metadata"]["uid"]
    assert told(storage, "standalone") == Counter(event["event_type"] for event in storage.events(correlation_id=uid))


def test_an_event_holds_what_was_sent_and_the_context(tour: Tour, storage: DataStorage) -> None:
    found = storage.events(resource_id="of-a-remediation", event_type=SENT)
    data = next(event["event_data"] for event in found if event["event_data"]["channel"] == "console")
    spec = tour.site.get("of-a-remediation")["spec"]
    assert (data["subject"], data["body"], data["type"]) == (spec["subject"], spec["body"], "Completion")
    assert data["metadata"] == {"outcome": "resolved", "to": "of-a-remediation"}


@pytest.mark.behaviour(82)
def test_a_failed_event_says_why_and_whether_it_can_succeed_later(tour: Tour, storage: DataStorage) -> None:
    (refused,) = (event["event_data"] for event in storage.events(resource_id="refused", event_type=FAILED))
    assert refused["error_type"] == "permanent"
    assert refused["error"] == tour.site.status("refused")["deliveryAttempts"][0]["error"]
    busy = [event["event_data"] for event in storage.events(resource_id="exhausted", event_type=FAILED)]
    assert [data["error_type"] for data in busy] == ["transient"] * 3
    assert all("error" not in event["event_data"] for event in storage.events(event_type=SENT))


def test_an_end_that_nobody_was_reached_by_is_escalated_with_its_priority(tour: Tour, storage: DataStorage) -> None:
    (escalated,) = storage.events(resource_id="refused", event_type=ESCALATED)
    assert escalated["event_data"]["reason"] == "Escalated due to Critical priority"


def test_no_event_holds_a_secret(tour: Tour, storage: DataStorage) -> None:
    whole = json.dumps([json.loads(batch.body) for batch in storage.batches])
    webhook = tour.site.receiver.url
    assert [secret for secret in (*SECRETS, webhook, "/secretive") if secret in whole] == []
    assert "[REDACTED]" in whole
    assert tour.site.get("secretive")["spec"]["body"] == JOURNEYS["secretive"].spec["body"]


def test_data_storage_refused_nothing_and_got_nothing_twice(tour: Tour, storage: DataStorage) -> None:
    assert storage.refusals == []
    every = [json.dumps(event, sort_keys=True) for event in storage.events()]
    assert len(every) == len(set(every))


# Away, and at the end ----------------------------------------------------------------------------------------


@pytest.mark.behaviour(83)
def test_events_survive_a_data_storage_that_is_away_and_hold_up_nothing(tour: Tour, storage: DataStorage) -> None:
    storage.stop()
    tour.create("while-away")
    eventually(lambda: tour.site.ended("while-away"))
    tour.assert_end("while-away")
    eventually(lambda: tour.site.deployment.metric("audit_requests_total", code="none") >= 1)
    assert told(storage, "while-away") == Counter()
    storage.start()
    storage.wait_for_events(3, resource_id="while-away")
    assert told(storage, "while-away") == wanted("while-away")
    tour.assert_cost("while-away")
    assert tour.site.deployment.metric("audit_events_dropped_total") == 0


@pytest.mark.behaviour(15)
def test_an_orderly_end_sends_what_is_still_in_the_buffer(tour: Tour, storage: DataStorage) -> None:
    tour.create("at-the-end")
    eventually(lambda: tour.site.ended("at-the-end"), interval=0.01)
    assert told(storage, "at-the-end") == Counter(), "it waits for its batch"
    assert tour.site.deployment.process.terminate() == 0
    assert told(storage, "at-the-end") == wanted("at-the-end")
    status: dict[str, Any] = tour.assert_end("at-the-end")
    assert status["totalAttempts"] == 1

"""The stand-in for Data Storage refuses what the real one refuses, and keeps the rest."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from kubernaut_testing.datastorage import BATCH_PATH, DataStorage, audit_event_problem


def event(**change: Any) -> dict[str, Any]:
    return {
        "version": "1.0",
        "event_type": "notification.message.acknowledged",
        "event_timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "event_category": "notification",
        "event_action": "acknowledged",
        "event_outcome": "success",
        "correlation_id": "rr-1",
        "event_data": {
            "event_type": "notification.message.acknowledged",
            "notification_id": "one",
            "subject": "s",
            "priority": "Low",
        },
        **change,
    }


def data(**change: Any) -> dict[str, Any]:
    return {"event_data": {**event()["event_data"], **change}}


@pytest.fixture
def storage() -> Iterator[DataStorage]:
    with DataStorage() as running:
        yield running


def post(storage: DataStorage, body: Any, token: str = "") -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=str(storage.ca_file)) if storage.ca_file else None
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(storage.url + BATCH_PATH, raw, {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_good_events_are_kept_and_found_by_their_members(storage: DataStorage) -> None:
    code, answer = post(storage, [event(), event(correlation_id="rr-2")])
    assert (code, len(answer["event_ids"])) == (201, 2)
    assert len(storage.wait_for_events(2)) == 2
    assert [found["correlation_id"] for found in storage.events(correlation_id="rr-2")] == ["rr-2"]
    with pytest.raises(AssertionError, match=r"2 events \{\} came within 0\.05 s, not 3"):
        storage.wait_for_events(3, timeout=0.05)


NESTED: Any = 1
for _ in range(10):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": ""}, "version must be a text"),
        ({"event_type": "t" * 101}, "event_type must be"),
        ({"event_action": "a" * 51}, "event_action must be"),
        ({"event_category": "x"}, "event_category 'x' is unknown"),
        ({"event_outcome": "x"}, "event_outcome 'x' is unknown"),
        ({"correlation_id": "c" * 256}, "correlation_id must be"),
        ({"event_timestamp": "2026-01-01T00:00:00"}, "not RFC 3339 with an offset"),
        ({"event_timestamp": "2020-01-01T00:00:00Z"}, "too far from now"),
        ({"event_data": []}, "event_data must be an object"),
        (data(event_type="other"), "event_data.event_type is 'other'"),
        ({"event_data": {"event_type": "notification.message.acknowledged"}}, "lacks notification_id"),
        (data(metadata={}), "is left out when empty"),
        (data(metadata={"a": 1}), "must map to texts"),
        (data(subject="s" * 262_144), "larger than 256 KiB"),
        (data(nested=NESTED), "nested too deeply"),
    ],
)
def test_one_bad_event_refuses_the_whole_batch(storage: DataStorage, change: Any, problem: str) -> None:
    code, answer = post(storage, [event(), event(**change)])
    assert code == 400
    assert problem in answer["detail"]
    assert not storage.events()
    assert [(refusal.code, refusal.events) for refusal in storage.refusals] == [(400, 2)]


def test_batches_and_bodies_have_limits(storage: DataStorage) -> None:
    assert post(storage, [event()] * 501)[0] == 400
    assert post(storage, [])[0] == 400
    assert post(storage, b"{")[0] == 400
    assert post(storage, b" " * (5 * 1024 * 1024 + 1))[0] == 413
    assert post(storage, [event()] * 500)[0] == 201
    assert audit_event_problem("text") == "an event must be an object"


def test_a_token_is_asked_for_if_one_is_set(storage: DataStorage) -> None:
    storage.token = "right"
    assert post(storage, [event()], "wrong")[0] == 401
    assert post(storage, [event()], "right")[0] == 201


def test_events_are_kept_when_the_answer_is_lost_or_says_otherwise(storage: DataStorage) -> None:
    storage.script(storage.lost(500), storage.deferred, 503, path=BATCH_PATH)
    codes = []
    for name in "abc":
        try:
            codes.append(post(storage, [event(correlation_id=name)])[0])
        except ValueError:
            codes.append(0)  # no JSON
    assert codes[1] == 202
    assert [found["correlation_id"] for found in storage.events()] == ["a", "b"]


def test_a_rotated_certificate_is_another_authority_on_the_same_port() -> None:
    with DataStorage(https=True) as storage:
        url, before = storage.url, ssl.create_default_context(cafile=str(storage.ca_file))
        assert post(storage, [event()])[0] == 201
        storage.rotate_certificate()
        assert storage.url == url
        assert post(storage, [event()])[0] == 201
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(storage.health_url, timeout=20, context=before)

"""What passes the check before buffering fits Data Storage; what does not is named by member and rule."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubernaut_runtime.audit import AuditError, Event, EventSource, InvalidEventError, correlation, to_line
from kubernaut_runtime.audit.lines import CUT_MARKER, DEPTH_MARKER, MAX_EVENT_DATA
from kubernaut_testing.datastorage import audit_event_problem

NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
SOURCE = EventSource(
    "sample", "signalprocessing", "sample-controller", {"signalprocessing.tested": ("phase", "signal")}
)


def event(at: datetime = NOW, **data: Any) -> Event:
    return SOURCE.event(
        "signalprocessing.tested",
        "tested",
        "success",
        at=at,
        correlation_id="rr-1",
        resource_type="Sample",
        resource_id="one",
        data={"phase": "Testing", "signal": "none", **data},
    )


def line_of(given: Event) -> Any:
    return json.loads(to_line(given, NOW, SOURCE.payloads).data)


def test_an_event_carries_actor_discriminator_and_only_what_was_given() -> None:
    made = SOURCE.event(
        "signalprocessing.tested",
        "tested",
        "pending",
        at=NOW,
        correlation_id="rr-1",
        resource_type="Sample",
        resource_id="one",
        data={"phase": "Testing", "nothing": None},
        actor=("user", "ann@example.org"),
        cluster_id="",
        severity=None,
        duration_ms=5,
    )
    assert made == {
        "version": "1.0",
        "event_type": "signalprocessing.tested",
        "event_timestamp": "2026-03-01T10:00:00.000000Z",
        "event_category": "signalprocessing",
        "event_action": "tested",
        "event_outcome": "pending",
        "actor_type": "user",
        "actor_id": "ann@example.org",
        "resource_type": "Sample",
        "resource_id": "one",
        "cluster_id": "",
        "duration_ms": 5,
        "correlation_id": "rr-1",
        "event_data": {"event_type": "signalprocessing.tested", "phase": "Testing"},
    }


def test_the_first_correlation_that_is_not_empty_counts_cut_to_255_characters() -> None:
    assert correlation("", "uid") == "uid"
    assert correlation("rr", "uid") == "rr"
    assert len(correlation("r" * 300)) == 255
    with pytest.raises(AuditError, match="no correlation id"):
        SOURCE.event("x", "y", "success", at=NOW, correlation_id="", resource_type="Sample", resource_id="one", data={})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": ""}, "version is missing"),
        ({"event_type": "x" * 101}, "event_type is longer than 100 characters"),
        ({"event_category": "kitchen"}, "event_category is none that Data Storage knows"),
        ({"event_action": "a" * 51}, "event_action is longer than 50 characters"),
        ({"event_outcome": "maybe"}, "event_outcome is none of success, failure, pending"),
        ({"event_outcome": ["success"]}, "is not what JSON can hold"),
        ({"correlation_id": ""}, "correlation_id is missing"),
        ({"correlation_id": "c" * 256}, "correlation_id is longer than 255"),
        ({"event_timestamp": "yesterday"}, "event_timestamp is not a time in RFC 3339"),
        ({"event_timestamp": None}, "event_timestamp is not a time in RFC 3339"),
        ({"event_data": "text"}, "event_data is missing"),
        ({"event_data": {"event_type": "other"}}, "event_data.event_type differs"),
        ({"event_data": {"event_type": "signalprocessing.tested", "phase": "x"}}, "event_data lacks signal"),
        ({"event_type": "signalprocessing.x", "event_data": {"event_type": "signalprocessing.x"}}, "none that this"),
        ({"event_data": {**event()["event_data"], "thing": object()}}, r"is not what JSON can hold \(TypeError\)"),
    ],
)
def test_an_event_that_data_storage_would_refuse_is_refused_here(change: Event, problem: str) -> None:
    with pytest.raises(InvalidEventError, match=problem):
        to_line({**event(), **change}, NOW, SOURCE.payloads)


@pytest.mark.parametrize(
    ("offset", "problem"),
    [
        (timedelta(minutes=61), "more than an hour ahead"),
        (timedelta(days=-7, seconds=-1), "more than seven days old"),
        (timedelta(minutes=59), ""),
        (timedelta(days=-6, hours=-23), ""),
    ],
)
def test_a_time_too_far_from_now_is_refused(offset: timedelta, problem: str) -> None:
    if not problem:
        assert line_of(event(NOW + offset))
        return
    with pytest.raises(InvalidEventError, match=problem):
        line_of(event(NOW + offset))


def test_oversized_texts_are_cut_with_a_marker_and_short_ones_stay() -> None:
    data = line_of(event(body="b" * 10_000_000, error="e" * 300_000, channel="slack:a"))["event_data"]
    assert (data["channel"], data["phase"]) == ("slack:a", "Testing")
    assert len(data["body"]) == len(data["error"])
    assert data["body"].endswith("b" + CUT_MARKER)
    size = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
    assert MAX_EVENT_DATA * 0.99 < size <= MAX_EVENT_DATA


def test_too_many_texts_to_cut_are_refused() -> None:
    with pytest.raises(InvalidEventError, match="too many parts"):
        line_of(event(many={f"key-{number}": "x" * 64 for number in range(10_000)}))


def test_what_is_nested_too_deeply_is_replaced_by_a_marker() -> None:
    nested: Any = "core"
    for _ in range(30):
        nested = {"in": [nested]}
    made = line_of(event(nested=nested))
    assert not audit_event_problem(made, NOW)
    assert DEPTH_MARKER in json.dumps(made)


def test_what_the_database_cannot_store_is_replaced() -> None:
    data = line_of(event(body="a\x00b\ud800c", literal="\\u0000"))["event_data"]
    assert data["body"] == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert data["literal"] == "\\u0000"


def test_later_changes_of_the_event_do_not_show() -> None:
    made = event()
    line = to_line(made, NOW)
    made["event_data"]["phase"] = "changed"
    assert b"changed" not in line.data
    assert b"\n" not in line.data


LETTERS = 'aé\x00"\\\U0001f600'
"""Characters that take one byte, two, six, two, two and four."""


def values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=40)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=20), values()), st.integers(0, 400_000), st.sampled_from(LETTERS))
def test_whatever_the_payload_the_line_is_what_data_storage_takes(
    data: dict[str, Any], length: int, letter: str
) -> None:
    data.pop("event_type", None)
    made = event(**{**data, "phase": "Testing", "signal": "none", "body": letter * length})
    line = to_line(made, NOW, SOURCE.payloads)
    assert b"\n" not in line.data
    assert audit_event_problem(json.loads(line.data), NOW) == ""


Anything = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*event(), "other"]), Anything))
def test_whatever_is_handed_over_it_passes_as_data_storage_wants_it_or_is_invalid(change: dict[str, Any]) -> None:
    try:
        line = to_line({**event(), **change}, NOW, SOURCE.payloads)
    except InvalidEventError:
        return
    assert audit_event_problem(json.loads(line.data), NOW) == ""

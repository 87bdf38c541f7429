"""Texts are cut until their JSON fits; weak points 14 and 15 of the Go controller: byte cuts and limits."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery import pagerduty, teams
from kubernaut_notification.delivery.payload import json_size, shortened, to_json

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=300)  # surrogates and control characters too
MARKER = " [cut]"


@given(ANY_TEXT)
@example("\ud800 lone")
@example('"\\\x00\n')
def test_any_text_is_json_in_utf8(text: str) -> None:
    encoded = to_json({"a": text})
    assert json.loads(encoded) == {"a": re.sub("[\ud800-\udfff]", "�", text)}
    assert json_size(text) == len(encoded) - len('{"a":""}')


@given(ANY_TEXT, st.integers(1, 2000))
def test_a_shortened_text_is_a_beginning_and_the_marker(text: str, excess: int) -> None:
    short = shortened(text, excess, MARKER)
    if short == text:  # nothing to gain
        assert json_size(text) <= json_size(MARKER)
        return
    assert short.endswith(MARKER)
    assert text.startswith(short.removesuffix(MARKER))
    assert json_size(short) <= max(json_size(text) - excess, json_size(MARKER))


@given(ANY_TEXT, st.integers(1, 2000))
def test_no_more_is_cut_than_needed(text: str, excess: int) -> None:
    short = shortened(text, excess, MARKER)
    kept = len(short.removesuffix(MARKER))
    if short.endswith(MARKER) and kept < len(text.removesuffix(MARKER)):
        assert json_size(text[: kept + 1] + MARKER) > json_size(text) - excess


def test_a_text_that_is_cut_twice_is_marked_once() -> None:
    assert shortened(shortened("x" * 100, 20, MARKER), 20, MARKER) == "x" * 54 + MARKER


UNITS = st.sampled_from(["x", "é", "漢", "🚨", '"', "\\", "\n", "\x01", "<", "👩‍👩‍👧"])


def long_text(limit: int) -> st.SearchStrategy[str]:
    """Texts around a limit of bytes, of one or two kinds of characters."""
    return st.builds(lambda a, b, n: (a + b) * n, UNITS, UNITS, st.integers(0, limit // 3))


def notification(**texts: str) -> NotificationRequest:
    spec: dict[str, Any] = {
        "type": "Approval",
        "priority": "High",
        "subject": texts["subject"],
        "body": texts["body"],
        "context": {
            "lineage": {"remediationRequest": texts["lineage"]},
            "analysis": {"rootCause": texts["cause"]},
            "workflow": {"confidence": texts["confidence"]},
            "target": {"targetResource": "Pod/a"},
        },
    }
    return NotificationRequest.model_validate({"metadata": {"name": "nr-a", "namespace": "ns"}, "spec": spec})


@given(subject=ANY_TEXT, body=long_text(40_000), cause=long_text(40_000), confidence=long_text(300), lineage=ANY_TEXT)
@settings(max_examples=60, deadline=None)
def test_a_card_fits_whatever_its_texts_are(**texts: str) -> None:
    """Weak point 14."""
    nr = notification(**texts)
    made = teams.card(nr)
    encoded = to_json(made)
    assert len(encoded) <= 28_672
    body = json.loads(encoded)["attachments"][0]["content"]["body"]
    assert body[-1]["facts"] == [{"title": "Correlation ID", "value": "nr-a"}]
    shown = body[2]["text"] if texts["body"] else ""
    assert shown == to_text(texts["body"]) or shown.endswith(" [truncated -- full details in audit trail]")
    assert to_text(texts["body"]).startswith(shown.removesuffix(teams.MARKER))


@given(
    subject=ANY_TEXT,
    body=st.just("b"),
    cause=long_text(700_000),
    confidence=long_text(600_000),
    lineage=st.sampled_from(["rr", "", "é" * 300_000]),
)
@settings(max_examples=25, deadline=None)
def test_an_event_fits_whatever_its_texts_are(**texts: str) -> None:
    """Weak point 14."""
    made = pagerduty.event(notification(**texts), "key")
    encoded = to_json(made)
    assert len(encoded) <= 524_288
    payload = json.loads(encoded)["payload"]
    assert 0 < len(payload["summary"]) <= 1024
    assert payload["custom_details"]["correlation_id"] == "nr-a"
    cause = payload["custom_details"].get("rca_summary", "")
    assert cause == to_text(texts["cause"]) or cause.endswith("[truncated -- full details in audit trail]")
    assert to_text(texts["cause"]).startswith(cause.removesuffix(pagerduty.MARKER))


def to_text(text: str) -> str:
    """What a receiver reads of a text."""
    read: str = json.loads(to_json(text))
    return read

"""Data Storage's audit API on loopback: it checks every event as the real one does, and keeps what it took.

    with DataStorage() as storage:
        ...  # an operator with datastorage.url = storage.url, .healthUrl = storage.health_url
        storage.wait_for_events(3, correlation_id="rr-1")
        assert not storage.refusals

It is a ``WebhookReceiver``, so single answers can be scripted (``storage.script(503, Answer(429, retry_after=2))``,
with ``path=BATCH_PATH`` for writes alone), it can be stopped and started again on its port, and it knows when each
request came. A scripted answer replaces what it would have said; of the scripted ones only ``deferred`` and
``lost()`` keep the events.

What is checked, and answered 400 for the whole batch: the required members with their lengths and enumerations, the
discriminator in the payload, the payload's keys by event type, the payload's size and depth, the time; 413 for a body
beyond 5 MiB; 401 for another token than ``token``, if one is set.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernaut_testing.receivers import Answer, Received, WebhookReceiver
from kubernaut_testing.waiting import PATIENCE

__all__ = ["BATCH_PATH", "HEALTH_PATH", "DataStorage", "Refusal", "audit_event_problem"]

BATCH_PATH = "/api/v1/audit/events/batch"
HEALTH_PATH = "/readyz"

MAX_BODY, MAX_BATCH = 5 * 1024 * 1024, 500
MAX_EVENT_DATA, MAX_DEPTH = 256 * 1024, 10

_LENGTHS = {"version": 20, "event_type": 100, "event_category": 50, "event_action": 50, "correlation_id": 255}
_CATEGORIES = (
    *("gateway", "notification", "analysis", "aiagent", "signalprocessing", "workflow", "workflowexecution"),
    *("orchestration", "approval", "effectiveness", "actiontype", "apifrontend", "security", "agentsession"),
)
_MESSAGE = ("notification_id", "channel", "subject", "body", "priority")
_ANALYSIS = ("analysis_name", "namespace", "phase", "approval_required", "degraded_mode", "warnings_count")
_EXECUTION = ("workflow_id", "workflow_version", "target_resource", "phase", "container_image", "execution_name")
_PAYLOADS = {
    "notification.message.sent": (*_MESSAGE, "type"),
    "notification.message.failed": (*_MESSAGE, "error_type"),
    "notification.message.acknowledged": ("notification_id", "subject", "priority"),
    "notification.message.escalated": ("notification_id", "subject", "priority", "reason"),
    "aianalysis.analysis.": _ANALYSIS,
    "workflowexecution.": _EXECUTION,
    "signalprocessing.": ("phase", "signal"),
}
"""Event type, or its beginning -> what the payload must have."""


@dataclass(frozen=True)
class Refusal:
    """One request that was refused: status code, reason, and how many events it held."""

    code: int
    reason: str
    events: int


def audit_event_problem(event: Any, now: dt.datetime | None = None) -> str:
    """What Data Storage would refuse about an event; empty if nothing."""
    if not isinstance(event, dict):
        return "an event must be an object"
    for name, longest in _LENGTHS.items():
        value = event.get(name)
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            return f"{name} must be a text of 1 to {longest} characters"
    if event["event_category"] not in _CATEGORIES:
        return f"event_category {event['event_category']!r} is unknown"
    if event.get("event_outcome") not in ("success", "failure", "pending"):
        return f"event_outcome {event.get('event_outcome')!r} is unknown"
    return _time_problem(event.get("event_timestamp"), now) or _payload_problem(event)


def _time_problem(text: Any, now: dt.datetime | None) -> str:
    try:
        moment = dt.datetime.fromisoformat(text)
        age = (now or dt.datetime.now(dt.UTC)) - moment
    except (TypeError, ValueError):
        return f"event_timestamp {text!r} is not RFC 3339 with an offset"
    if not dt.timedelta(minutes=-60) <= age <= dt.timedelta(days=7):
        return f"event_timestamp {text} is too far from now"
    return ""


def _payload_problem(event: Mapping[str, Any]) -> str:
    data, event_type = event.get("event_data"), str(event["event_type"])
    if not isinstance(data, dict):
        return "event_data must be an object"
    if data.get("event_type") != event_type:
        return f"event_data.event_type is {data.get('event_type')!r}, not {event_type!r}"
    for beginning, keys in _PAYLOADS.items():
        if event_type.startswith(beginning):
            missing = [key for key in keys if key not in data]
            if missing:
                return f"event_data of {event_type} lacks {', '.join(missing)}"
    metadata = data.get("metadata", {"-": "-"})
    texts = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    if event_type.startswith("notification.") and not (metadata and texts):
        return "event_data.metadata must map to texts, and is left out when empty"
    if len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_EVENT_DATA:
        return "event_data is larger than 256 KiB"
    return "event_data is nested too deeply" if _depth(data) > MAX_DEPTH else ""


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((_depth(item) for item in (value.values() if isinstance(value, dict) else value)), default=0)


@dataclass
class _Kept:
    events: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


class DataStorage(WebhookReceiver):
    """The server; a context manager.

    Args:
        token: the bearer token that it asks for; None takes any request. May be changed while it runs.
        https: serve HTTPS; ``ca_file`` is what a client must trust.
        port: 0 takes a free one.

    ``ready`` is what the health path answers; ``bad`` refuses further events: it returns a reason, or "".
    """

    def __init__(self, *, token: str | None = None, https: bool = False, port: int = 0) -> None:
        super().__init__(self._answer, https=https, port=port)
        self.token = token
        self.ready = True
        self.bad: Callable[[dict[str, Any]], str] = lambda event: ""
        self._kept = _Kept()
        self._news = threading.Condition()

    @property
    def health_url(self) -> str:
        """What readiness asks."""
        return self.url + HEALTH_PATH

    @property
    def config(self) -> dict[str, Any]:
        """The section ``datastorage`` of an operator's config, with a short interval between batches."""
        return {"url": self.url, "healthUrl": self.health_url, "buffer": {"flushInterval": "100ms"}}

    @property
    def batches(self) -> list[Received]:
        """The requests that wrote, in order of arrival, whatever was answered."""
        return self.to(BATCH_PATH)

    @property
    def refusals(self) -> list[Refusal]:
        """The requests that it refused by itself."""
        with self._news:
            return list(self._kept.refusals)

    def events(self, **members: Any) -> list[dict[str, Any]]:
        """The stored events with these members (``correlation_id="rr-1"``, ``event_type=...``), as they came in."""
        with self._news:
            return [event for event in self._kept.events if _has(event, members)]

    def wait_for_events(self, count: int, *, timeout: float = PATIENCE, **members: Any) -> list[dict[str, Any]]:
        """Block until ``count`` events with these members are stored, and return them. AssertionError after that."""
        end = time.monotonic() + timeout
        with self._news:
            while len(found := [event for event in self._kept.events if _has(event, members)]) < count:
                if not self._news.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    refused = f"; refused: {self._kept.refusals}" if self._kept.refusals else ""
                    raise AssertionError(
                        f"{len(found)} events {members} came within {timeout:g} s, not {count}{refused}"
                    )
        return found

    def lost(self, code: int | None = None) -> Callable[[Received], Answer]:
        """A script: the events are stored, and the answer is lost (or is ``code``, such as 500)."""

        def store(request: Received) -> Answer:
            self._store(json.loads(request.body))
            return Answer(code) if code else Answer(drop=True)

        return store

    def deferred(self, request: Received) -> Answer:
        """A script: the database is away, the events go to the dead-letter queue."""
        events = json.loads(request.body)
        self._store(events)
        return _json(202, {"status": "accepted", "message": "queued", "count": len(events)})

    def rotate_certificate(self) -> Path:
        """Stop, and serve on the same port with a new authority; returns its file. Only with ``https``."""
        self.stop()
        for file in self.folder.iterdir():
            file.unlink()
        self.start()
        assert self.ca_file is not None
        return self.ca_file

    def _answer(self, request: Received) -> Answer:
        if request.path == HEALTH_PATH:
            return Answer(200 if self.ready else 503)
        if request.path != BATCH_PATH or request.method != "POST":
            return self._refuse(404, "there is no such path")
        given = {name.lower(): value for name, value in request.headers.items()}.get("authorization")
        if self.token is not None and given != f"Bearer {self.token}":
            return self._refuse(401, "the token is not valid")
        if len(request.body) > MAX_BODY:
            return self._refuse(413, "the body is larger than 5 MiB")
        try:
            events = request.json
        except ValueError:
            return self._refuse(400, "the body is not JSON")
        if not isinstance(events, list) or not 1 <= len(events) <= MAX_BATCH:
            return self._refuse(400, f"a batch must be a list of 1 to {MAX_BATCH} events")
        for number, event in enumerate(events):
            if problem := audit_event_problem(event) or self.bad(event):
                return self._refuse(400, f"event {number}: {problem}", len(events))
        self._store(events)
        return _json(201, {"event_ids": [str(uuid.uuid4()) for _ in events], "message": "stored"})

    def _store(self, events: list[dict[str, Any]]) -> None:
        with self._news:
            self._kept.events += events
            self._news.notify_all()

    def _refuse(self, code: int, reason: str, events: int = 0) -> Answer:
        with self._news:
            self._kept.refusals.append(Refusal(code, reason, events))
        kind = "https://kubernaut.ai/problems/validation-error"
        return _json(code, {"type": kind, "title": "Refused", "status": code, "detail": reason})


def _has(event: Mapping[str, Any], members: Mapping[str, Any]) -> bool:
    return all(event.get(name) == value for name, value in members.items())


def _json(code: int, body: Mapping[str, Any]) -> Answer:
    kind = "application/json" if code < 400 else "application/problem+json"
    return Answer(code, json.dumps(body), headers={"Content-Type": kind})

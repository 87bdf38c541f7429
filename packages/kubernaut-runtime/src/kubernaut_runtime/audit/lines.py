"""From an event to a line of JSON that Data Storage takes.

One bad event makes Data Storage refuse its whole batch, so events are checked before they are buffered: the required
members, their lengths and enumerations, the payload's keys, the time. What is only too big is cut: the longest texts of
the payload first, with a marker, so that what names the object survives. What Data Storage's database cannot store
(NUL, lone surrogates) is replaced.

The line is made when the event is emitted: later changes of the caller's objects do not show, the buffer's size is
known, and the same bytes are sent each time. So a repetition can be told: type, time (to the microsecond), correlation
id and payload are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from kubernaut_runtime.clock import parse_time

MAX_EVENT_DATA = 256 * 1024
"""Bytes of a payload."""

MAX_DEPTH = 10
"""Objects and lists within each other, the payload included."""

MAX_AHEAD, MAX_AGE = timedelta(minutes=60), timedelta(days=7)
"""How far an event's time may be from now."""

CATEGORIES = frozenset(
    {"gateway", "notification", "analysis", "aiagent", "signalprocessing", "workflow", "workflowexecution"}
    | {"orchestration", "approval", "effectiveness", "actiontype", "apifrontend", "security", "agentsession"}
)
OUTCOMES = frozenset({"success", "failure", "pending"})

CUT_MARKER = "… (cut for audit)"
DEPTH_MARKER = "(nested too deeply for audit)"

_LENGTHS = {"version": 20, "event_type": 100, "event_category": 50, "event_action": 50, "correlation_id": 255}
_SHORTEST = 64
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNSTORABLE = {0: _REPLACEMENT, **dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT)}


class InvalidEventError(ValueError):
    """An event that Data Storage would refuse. The text names member and rule, never a value from the payload."""


@dataclass(frozen=True, slots=True)
class Line:
    """One event, checked and encoded: UTF-8 JSON without a line break."""

    event_type: str
    data: bytes


def to_line(event: Mapping[str, Any], now: datetime, payloads: Mapping[str, Sequence[str]] | None = None) -> Line:
    """Return `event` as a line, cut to fit.

    `payloads` are the service's event types with the members that their payloads must have; None checks no payload.
    Raises `InvalidEventError`.
    """
    try:
        whole = dict(event)
        if problem := _envelope_problem(whole, now) or _payload_problem(whole, payloads):
            raise InvalidEventError(problem)
        whole["event_data"] = _fitted(_shallow(whole["event_data"], 1))
        return Line(whole["event_type"], _encoded(whole))
    except InvalidEventError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a caller hands over, the sink must not raise it)
        raise InvalidEventError(f"is not what JSON can hold ({type(error).__name__})") from None


def _envelope_problem(event: Mapping[str, Any], now: datetime) -> str:
    for name, longest in _LENGTHS.items():
        value = event.get(name)
        if not isinstance(value, str) or not value:
            return f"{name} is missing"
        if len(value) > longest:
            return f"{name} is longer than {longest} characters"
    if event["event_category"] not in CATEGORIES:
        return "event_category is none that Data Storage knows"
    if event.get("event_outcome") not in OUTCOMES:
        return "event_outcome is none of success, failure, pending"
    try:
        moment = parse_time(event.get("event_timestamp", ""))
    except ValueError:
        return "event_timestamp is not a time in RFC 3339"
    if moment > now + MAX_AHEAD:
        return "event_timestamp is more than an hour ahead"
    return "event_timestamp is more than seven days old" if moment < now - MAX_AGE else ""


def _payload_problem(event: Mapping[str, Any], payloads: Mapping[str, Sequence[str]] | None) -> str:
    data, event_type = event.get("event_data"), event["event_type"]
    if not isinstance(data, dict):
        return "event_data is missing"
    if data.get("event_type") != event_type:
        return "event_data.event_type differs from event_type"
    if payloads is None:
        return ""
    if event_type not in payloads:
        return "event_type is none that this service declares"
    missing = [name for name in payloads[event_type] if data.get(name) is None]
    return f"event_data lacks {', '.join(missing)}" if missing else ""


def _shallow(value: Any, depth: int) -> Any:
    """Return `value` with whatever lies too deep replaced by a marker; never deeper than the limit itself."""
    if not isinstance(value, dict | list | tuple):
        return value
    if depth > MAX_DEPTH:
        return DEPTH_MARKER
    if isinstance(value, dict):
        return {key: _shallow(item, depth + 1) for key, item in value.items()}
    return [_shallow(item, depth + 1) for item in value]


def _fitted(data: Any) -> Any:
    """Return the payload with all texts beyond one length cut to it: the greatest length at which it fits."""
    if len(_encoded(data)) <= MAX_EVENT_DATA:
        return data
    data = _cut(data, MAX_EVENT_DATA)  # once, so that a text of many megabytes is encoded once
    low, high = _SHORTEST, max(map(len, _texts(data)), default=_SHORTEST)
    if len(_encoded(_cut(data, low))) > MAX_EVENT_DATA:
        raise InvalidEventError("event_data is larger than 256 KiB in too many parts")
    while high - low > 64:
        middle = (low + high) // 2
        if len(_encoded(_cut(data, middle))) <= MAX_EVENT_DATA:
            low = middle
        else:
            high = middle
    return _cut(data, low)


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else value[: limit - len(CUT_MARKER)] + CUT_MARKER
    if isinstance(value, dict):
        return {key: _cut(item, limit) for key, item in value.items()}
    return [_cut(item, limit) for item in value] if isinstance(value, list) else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _encoded(value: Any) -> bytes:
    try:
        line = orjson.dumps(value)
    except TypeError:  # lone surrogates, or keys that are no text
        line = b""
    return line if line and b"\\u0000" not in line else orjson.dumps(_storable(value))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_UNSTORABLE)
    if isinstance(value, dict):
        return {str(key).translate(_UNSTORABLE): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value

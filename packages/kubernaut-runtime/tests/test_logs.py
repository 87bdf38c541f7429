"""Logs: one record is one line that any JSON parser reads, whatever somebody put into a message."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_runtime.logs import ConsoleFormatter, JsonFormatter, set_level, setup_logging


@pytest.fixture(autouse=True)
def _untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def record(message: str, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("service.room").makeRecord(
        "service.room", logging.WARNING, "/src/service/room.py", 7, message, (), None, extra=extra
    )


def test_a_record_carries_the_keys_that_collectors_know() -> None:
    line = json.loads(JsonFormatter().format(record("sent", notification="n1", attempts=2)))
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warn",
        "logger": "service.room",
        "caller": "service/room.py:7",
        "msg": "sent",
        "notification": "n1",
        "attempts": 2,
    }


def test_an_exception_gives_error_and_stacktrace_on_the_same_line() -> None:
    stream = io.StringIO()
    setup_logging("INFO", "json", stream)
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        logging.getLogger("x").exception("cannot do it")
    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line["error"] == "ValueError: line one\nline two"
    assert "Traceback" in line["stacktrace"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=5,
)


@given(st.text(st.characters(exclude_categories=())), anything)
def test_no_content_can_break_or_forge_a_line(message: str, extra: Any) -> None:
    line = JsonFormatter().format(record(message, detail=extra))
    assert "\n" not in line
    assert "\r" not in line
    line.encode("utf-8")
    assert json.loads(line)["logger"] == "service.room"
    assert "\n" not in ConsoleFormatter().format(record(message, detail=extra))


def test_a_huge_message_is_cut() -> None:
    assert len(JsonFormatter().format(record("x" * 10_000_000))) < 20_000


def test_an_extra_cannot_replace_a_standard_key() -> None:
    line = json.loads(JsonFormatter().format(record("real", level="fake", ts="fake")))
    assert (line["msg"], line["level"], line["level_"]) == ("real", "warn", "fake")


def test_the_level_changes_while_running() -> None:
    stream = io.StringIO()
    setup_logging("warn", "console", stream)
    log = logging.getLogger("some.room")
    log.info("hidden")
    set_level("debug")
    log.debug("shown")
    logging.getLogger("kopf.activities").info("library chatter")
    assert "hidden" not in stream.getvalue()
    assert "shown" in stream.getvalue()
    assert "chatter" not in stream.getvalue()


def test_an_unknown_level_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="must be one of DEBUG, INFO, WARN, ERROR"):
        set_level("loud")

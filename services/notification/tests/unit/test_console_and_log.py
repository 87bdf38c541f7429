from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.console import ConsoleChannel
from kubernaut_notification.delivery.log import LogChannel
from kubernaut_notification.delivery.message import Message

MakeNR = Callable[..., NotificationRequest]


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    logger, handler = logging.getLogger("kubernaut_notification"), Kept()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.records
    logger.removeHandler(handler)
    logger.setLevel(level)


async def logged(records: list[logging.LogRecord], nr: NotificationRequest, now: datetime, text: str = "json") -> Any:
    await LogChannel(text, now=lambda: now).deliver(Message(nr, "log", 1, now))
    (record,) = records
    assert record.levelname == "INFO"
    return record.getMessage()


async def test_the_console_writes_one_record(records: list[logging.LogRecord], make_nr: MakeNR, now: datetime) -> None:
    await ConsoleChannel().deliver(Message(make_nr(priority="High", subject="50 %s done"), "console", 1, now))
    (record,) = records
    assert (record.levelname, record.getMessage()) == ("INFO", "[High] [Simple] 50 %s done\nworld\n")


@pytest.mark.behaviour(55)
async def test_the_console_takes_empty_texts(records: list[logging.LogRecord], make_nr: MakeNR, now: datetime) -> None:
    await ConsoleChannel().deliver(Message(make_nr(subject="", body=""), "console", 1, now))
    assert records[0].getMessage() == "[Medium] [Simple] \n\n"


async def test_a_plain_notification_is_logged_with_eight_keys(
    records: list[logging.LogRecord], make_nr: MakeNR, now: datetime
) -> None:
    assert json.loads(await logged(records, make_nr(), now)) == {
        "timestamp": "2026-03-01T10:00:00Z",
        "notification_name": "nr-a",
        "notification_namespace": "kubernaut-system",
        "notification_uid": "u-1",
        "type": "Simple",
        "priority": "Medium",
        "subject": "hello",
        "body": "world",
    }


async def test_what_else_is_known_is_logged_if_there_is_any(
    records: list[logging.LogRecord], make_nr: MakeNR, now: datetime
) -> None:
    nr = make_nr(
        context={"dedup": {"duplicateCount": "3"}},
        extensions={"environment": "prod"},
        actionLinks=[{"service": "grafana", "url": "https://g", "label": "board"}],
        metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}},
        status={"phase": "Retrying", "successfulDeliveries": 1, "failedDeliveries": 2},
    )
    record = json.loads(await logged(records, nr, now))
    assert record["metadata"] == {"duplicateCount": "3", "environment": "prod"}
    assert (record["labels"], record["annotations"]) == ({"a": "b"}, {"c": "d"})
    assert (record["phase"], record["successful_deliveries"], record["failed_deliveries"]) == ("Retrying", 1, 2)
    assert record["action_links"] == [{"service": "grafana", "url": "https://g", "label": "board"}]


async def test_the_text_format_is_one_readable_text(
    records: list[logging.LogRecord], make_nr: MakeNR, now: datetime
) -> None:
    text = await logged(records, make_nr(), now, "text")
    assert text == "[2026-03-01T10:00:00Z] kubernaut-system/nr-a hello: world"


async def test_an_unknown_format_is_json(records: list[logging.LogRecord], make_nr: MakeNR, now: datetime) -> None:
    assert json.loads(await logged(records, make_nr(), now, "xml"))["subject"] == "hello"


async def test_odd_characters_cannot_forge_a_record(
    records: list[logging.LogRecord], make_nr: MakeNR, now: datetime
) -> None:
    text = await logged(records, make_nr(body='x"}\n{"level":"error"\x00\ud800 é🚨'), now)
    assert len(text.splitlines()) == 1
    assert json.loads(text)["body"] == 'x"}\n{"level":"error"\x00\ufffd é🚨'

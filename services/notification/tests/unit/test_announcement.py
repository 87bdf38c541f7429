from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_notification.delivery.announcement import Announced, format_announcement, parse_announcement

DUE = datetime(2026, 3, 1, 10, 0, 31, 250000, tzinfo=UTC)

ENTRIES = st.lists(
    st.builds(
        Announced,
        channel=st.text(),
        attempt=st.integers(min_value=1, max_value=10),
        due=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)),
    ),
    max_size=8,
)


@given(ENTRIES)
def test_what_is_written_is_read_back(entries: list[Announced]) -> None:
    assert parse_announcement(format_announcement(entries)) == entries


@given(ENTRIES)
def test_every_announcement_is_one_line(entries: list[Announced]) -> None:
    assert len(format_announcement(entries).splitlines()) == len(entries)


@given(st.text())
def test_reading_never_fails(message: str) -> None:
    parse_announcement(message)


def test_a_line_shows_channel_number_and_time() -> None:
    assert format_announcement([Announced("slack:sre", 2, DUE)]) == "slack:sre#2 2026-03-01T10:00:31.250000Z"


def test_whole_seconds_are_written_with_microseconds() -> None:
    assert Announced("console", 1, DUE.replace(microsecond=0)).line() == "console#1 2026-03-01T10:00:31.000000Z"


def test_a_key_may_hold_number_signs_and_blanks() -> None:
    entry = Announced("slack:team #1 x#7", 3, DUE)
    assert parse_announcement(entry.line()) == [entry]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "console 2026-03-01T10:00:31Z",
        "console#0 2026-03-01T10:00:31Z",
        "console#1 later",
        "#x y",
        "console#1 0001-01-01T00:00:00+14:00",
    ],
)
def test_a_line_that_is_no_announcement_is_skipped(line: str) -> None:
    good = Announced("console", 1, DUE)
    assert parse_announcement(f"{line}\n{good.line()}") == [good]


def test_a_message_is_never_longer_than_a_condition_allows_and_ends_with_a_whole_line() -> None:
    entries = [Announced(f"slack:{'x' * 200}-{number}", 1, DUE) for number in range(500)]
    message = format_announcement(entries)
    assert len(message) <= 32768
    read = parse_announcement(message)
    assert read == entries[: len(read)]
    assert len(read) > 100

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_runtime.clock import SystemClock, format_time, parse_time


def test_a_time_is_written_like_the_api_writes_it():
    moment = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    assert format_time(moment) == "2026-01-02T03:04:05Z"
    assert format_time(moment, micro=True) == "2026-01-02T03:04:05.678900Z"


def test_another_offset_is_written_as_utc():
    assert format_time(datetime(2026, 1, 2, 5, 0, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02T03:00:00Z"


def test_a_go_time_with_nanoseconds_is_read():
    assert parse_time("2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-01-02T03:04:05", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"]
)
def test_what_is_no_time_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match=re.escape(f"cannot read '{text}' as a time")):
        parse_time(text)


def test_a_datetime_without_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        format_time(datetime(2026, 1, 2))


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_back(moment):
    assert parse_time(format_time(moment, micro=True)) == moment
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)


async def test_the_system_clock_waits_at_least_as_long_as_asked():
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.019
    assert clock.now().tzinfo is UTC
    await clock.sleep(-5)

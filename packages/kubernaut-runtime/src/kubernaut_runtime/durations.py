"""Go duration strings ("1h30m", "100ms") as seconds, and back.

The configuration files of the Go controllers were written for Go's `time.ParseDuration`, so the same text must mean the
same time here. Inside the process a duration is a `float` in seconds.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo

_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LIMIT = 9_223_372_036.0  # Go's largest duration, int64 nanoseconds, in seconds
_EXAMPLES = "a duration such as 500ms, 10s, 5m or 1h30m"


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration string.

    Accepts what Go accepts: a sign, decimals, several parts ("1h30m"), and "0" without a unit.
    Raises `ValueError` with what was expected; the caller adds file and key.
    """
    body = text.strip()
    sign = -1.0 if body.startswith("-") else 1.0
    body = body.removeprefix("-") if sign < 0 else body.removeprefix("+")
    if body == "0":
        return 0.0
    total, at = Decimal(0), 0
    while at < len(body):
        part = _PART.match(body, at)
        if part is None:
            raise ValueError(f"must be {_EXAMPLES}")
        total += Decimal(part[1]) * _UNITS[part[2]]
        at = part.end()
    if at == 0:
        raise ValueError(f"must be {_EXAMPLES}")
    seconds = float(total)
    if seconds > _LIMIT:
        raise ValueError("must be shorter than 292 years")
    return sign * seconds


def format_duration(seconds: float) -> str:
    """Return seconds as the shortest usual Go duration: 90.0 -> "1m30s", 0.1 -> "100ms", 3600.0 -> "1h"."""
    if seconds == 0:
        return "0s"
    sign, nanos = ("-" if seconds < 0 else ""), round(abs(seconds) * 1_000_000_000)
    if nanos < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("us", 1_000), ("ns", 1)):
            if nanos >= size:
                return f"{sign}{_trim(nanos / size)}{unit}"
        return "0s"
    hours, rest = divmod(nanos, 3_600_000_000_000)
    minutes, rest = divmod(rest, 60_000_000_000)
    whole, fraction = divmod(rest, 1_000_000_000)
    text = sign + (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    if rest:
        text += str(whole) + (f".{fraction:09d}".rstrip("0") if fraction else "") + "s"
    return text


def _trim(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _validate(value: Any, info: ValidationInfo) -> float:
    # In a file a bare number has no unit (Go would read nanoseconds), so only code may pass numbers.
    from_file = bool(info.context and info.context.get("file"))
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"must be {_EXAMPLES}")
    if from_file and value != 0:
        raise ValueError(f"must be {_EXAMPLES} (a number needs a unit)")
    return float(value)


def _positive(value: Any, info: ValidationInfo) -> float:
    seconds = _validate(value, info)
    if seconds <= 0:
        raise ValueError("must be greater than 0")
    return seconds


def _not_negative(value: Any, info: ValidationInfo) -> float:
    seconds = _validate(value, info)
    if seconds < 0:
        raise ValueError("must not be negative")
    return seconds


_go = PlainSerializer(format_duration, return_type=str, when_used="json")

Duration = Annotated[float, BeforeValidator(_not_negative), _go]
"""A config field: seconds >= 0, written as a Go duration."""

PositiveDuration = Annotated[float, BeforeValidator(_positive), _go]
"""A config field: seconds > 0, written as a Go duration."""

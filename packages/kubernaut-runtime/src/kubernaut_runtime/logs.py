"""Structured logs: one record, one line, whatever is in it.

JSON (zap's production keys, as collectors know them from the Go controllers): `level`, `ts` (ISO-8601, UTC,
milliseconds), `logger`, `caller`, `msg`, then the extras given with `extra={...}`, then `error` and `stacktrace`. The
console format holds the same for eyes. Control characters and lone surrogates from outside can neither break a line nor
forge one, and one field is at most 16 KiB, so a 10 MB message cannot fill a disk.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal, TextIO

import orjson

_FIELD_LIMIT = 16_384
_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING, "ERROR": logging.ERROR}
_NAMES = {"WARNING": "warn", "CRITICAL": "fatal"}
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# Libraries that tell every request or every event; what they have to say in trouble still comes through.
_TAMED = {
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
    "kopf": logging.WARNING,
    "kubernetes": logging.WARNING,
    "urllib3": logging.WARNING,
    "watchfiles": logging.WARNING,
}


class JsonFormatter(logging.Formatter):
    """One JSON object per record, UTF-8, without a line break in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`; never raises because of what the record holds."""
        return _dump(_fields(record, self))


class ConsoleFormatter(logging.Formatter):
    """`time LEVEL logger msg key=value ...` for people; a stack trace follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`."""
        fields = _fields(record, self)
        head = (
            f"{fields.pop('ts')} {fields.pop('level').upper():<5} {fields.pop('logger')} {_escaped(fields.pop('msg'))}"
        )
        stack = fields.pop("stacktrace", "")
        fields.pop("caller")
        extras = "".join(
            f" {key}={_escaped(value) if isinstance(value, str) else _dump(value)}" for key, value in fields.items()
        )
        return head + extras + ("\n" + _clean(stack) if stack else "")


def setup_logging(
    level: str = "INFO",
    style: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> None:
    """Send every logger's records to `stream` (default stderr) in one format; may be called again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.raiseExceptions = False  # a closed stderr must not write tracebacks about itself
    logging.captureWarnings(True)
    set_level(level)


def set_level(level: str) -> None:
    """Change the level while running (hot reload): DEBUG, INFO, WARN or ERROR, in any case; empty = INFO."""
    try:
        number = _LEVELS[level.strip().upper() or "INFO"]
    except KeyError:
        raise ValueError(f"cannot log at level {level!r}: must be one of {', '.join(_LEVELS)}") from None
    logging.getLogger().setLevel(number)
    for name, least in _TAMED.items():
        logging.getLogger(name).setLevel(max(number, least))


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        message = f"{record.msg} {record.args}"
    path = PurePath(record.pathname)
    fields: dict[str, Any] = {
        "level": _NAMES.get(record.levelname, record.levelname.lower()),
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "logger": record.name,
        "caller": f"{path.parent.name}/{path.name}:{record.lineno}",
        "msg": _short(message),
    }
    for key, value in record.__dict__.items():
        if key not in _OWN and not key.startswith("_"):
            fields[key if key not in fields else f"{key}_"] = _short(value)
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields.setdefault("error", _short(f"{type(error).__name__}: {error}"))
        fields["stacktrace"] = _short(formatter.formatException(record.exc_info))
    return fields


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _FIELD_LIMIT:
        return value[:_FIELD_LIMIT] + f"... ({len(value)} characters)"
    return value


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), _clean(text))


def _dump(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()
    except (TypeError, ValueError):  # lone surrogates, huge integers, cycles
        return json.dumps(_plain(value, 0))


def _plain(value: Any, depth: int) -> Any:
    if depth > 8:
        return "..."
    if isinstance(value, Mapping):
        return {_clean(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    return _clean(str(value))

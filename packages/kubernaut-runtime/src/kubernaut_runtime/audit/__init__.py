"""Audit events: what was done, by whom, to which object, sent to Data Storage (ADR-034).

    Reporter ──event──> sink.emit ──checked line──> buffer ──batch──> POST /api/v1/audit/events/batch
                             └── without a URL: one JSON line on stdout or in `audit.file`

| room | holds |
|---|---|
| `events` | the envelope that all events share, and who emits them |
| `lines` | the check before buffering, and what is cut to fit Data Storage's limits |
| `accounts` | what became of each event: metrics, and one log line a minute for losses |
| `jsonlines` | the sink that writes lines |
| `client` | one request to Data Storage: token, TLS, and what an answer means |
| `datastorage` | the sink that buffers, sends in batches, and sends again |
| `gate` | readiness: does Data Storage answer |
| `wiring` | `open_sink`: the sink that the config asks for |

Three rules hold everywhere. A sink never waits and never raises: audit cannot delay or fail a reconcile. No event is
lost without being counted. No log line holds a payload, a token or a URL's user part.
"""

from __future__ import annotations

from .accounts import Accounts, AuditLostError
from .client import Answer, DataStorageClient, NoAnswerError, Trust
from .datastorage import DataStorageSink, SendTimes
from .events import AuditError, AuditSink, Event, EventSource, correlation
from .gate import ReadinessGate
from .jsonlines import JsonLinesSink, LineFile
from .lines import InvalidEventError, Line, to_line
from .wiring import open_sink

__all__ = [
    "Accounts",
    "Answer",
    "AuditError",
    "AuditLostError",
    "AuditSink",
    "DataStorageClient",
    "DataStorageSink",
    "Event",
    "EventSource",
    "InvalidEventError",
    "JsonLinesSink",
    "Line",
    "LineFile",
    "NoAnswerError",
    "ReadinessGate",
    "SendTimes",
    "Trust",
    "correlation",
    "open_sink",
    "to_line",
]

"""What became of each event: counted always, told in the log at most once a minute.

| metric | type | labels |
|---|---|---|
| `audit_events_total` | counter | service, result |
| `audit_events_dropped_total` | counter: events that are in no store and no file | service |
| `audit_events_buffered` | gauge | service |
| `audit_requests_total` | counter: requests to Data Storage by status code, `none` without an answer | service, code |

| result | means |
|---|---|
| `stored` | Data Storage has it (201) |
| `deferred` | Data Storage has it in its dead-letter queue (202) |
| `written` | a line on stdout or in `audit.file` |
| `invalid` | did not pass the check before buffering |
| `full` | the buffer was full |
| `rejected` | Data Storage refused it, alone |
| `unsent` | left in the buffer at the end |
| `unwritable` | the line could not be written |

Where a URL and `audit.file` are both set, events that are `full`, `rejected` or `unsent` are written to the file and
count as `written` too; only if that fails they are dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

log = logging.getLogger(__name__)

TOLD_EVERY = 60.0
"""Seconds between two log lines about losses."""

DELIVERED = ("stored", "deferred", "written")
LOST = ("invalid", "full", "rejected", "unsent", "unwritable")


class AuditLostError(Exception):
    """Events of this process are lost; raised at its end, where it makes the exit code 1."""


class Accounts:
    """Counts the events of one `service`; safe to call from any thread.

    `monotonic` is the clock behind the limit of log lines, in seconds.
    """

    def __init__(
        self,
        service: str,
        registry: CollectorRegistry | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service, self._monotonic = service, monotonic
        self._lock = threading.Lock()
        self._untold: Tally[str] = Tally()
        self._untold_saved = 0
        self._tell_at: float | None = None
        self._events = Counter(
            "audit_events_total", "Audit events, by what became of them.", ("service", "result"), registry=registry
        )
        self._dropped = Counter(
            "audit_events_dropped_total", "Audit events that are lost for good.", ("service",), registry=registry
        ).labels(service)
        self._requests = Counter(
            "audit_requests_total", "Requests to Data Storage, by status code.", ("service", "code"), registry=registry
        )
        self.buffered = Gauge(
            "audit_events_buffered", "Audit events that wait to be sent.", ("service",), registry=registry
        ).labels(service)
        for result in DELIVERED + LOST:
            self._events.labels(service, result)
        self.dropped = 0
        """Events that are lost for good, so far."""

    def delivered(self, result: str, count: int = 1) -> None:
        """Count events that arrived; `result` is stored, deferred or written."""
        self._events.labels(self._service, result).inc(count)

    def answered(self, code: int | None) -> None:
        """Count one request to Data Storage; None if no answer came."""
        self._requests.labels(self._service, str(code) if code else "none").inc()

    def lost(self, reason: str, count: int = 1, *, saved: bool = False, detail: str = "", event_type: str = "") -> None:
        """Count events that did not arrive; `saved` says that `audit.file` has them.

        `reason` is one of `LOST`. `detail` is for the log: one line, without payload.
        """
        self._events.labels(self._service, reason).inc(count)
        with self._lock:
            self._untold[reason] += count
            self._untold_saved += count if saved else 0
            if not saved:
                self.dropped += count
                self._dropped.inc(count)
            now = self._monotonic()
            if self._tell_at is not None and now < self._tell_at:
                return
            self._tell_at = now + TOLD_EVERY
        self._tell(event_type, detail)

    def settle(self) -> None:
        """Tell what was not told yet; the end of the process. Raises `AuditLostError` if events are lost for good."""
        self._tell("", "")
        if self.dropped:
            raise AuditLostError(f"{self.dropped} audit events are lost")

    def _tell(self, event_type: str, detail: str) -> None:
        with self._lock:
            untold, saved = dict(self._untold), self._untold_saved
            self._untold, self._untold_saved = Tally(), 0
        if not untold:
            return
        last = {"event_type": event_type, "reason": detail}
        log.error(
            "cannot deliver audit events",
            extra={
                "events": untold,
                "dropped": sum(untold.values()) - saved,
                "kept_in_file": saved,
                **{key: value for key, value in last.items() if value},
            },
        )

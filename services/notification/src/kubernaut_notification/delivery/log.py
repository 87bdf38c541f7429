"""The log channel: the notification as one structured record, for log pipelines.

The record's message is itself a JSON object, so that a pipeline can parse it whatever encloses it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kubernaut_notification.delivery.message import Message, flat_metadata
from kubernaut_runtime.clock import format_time
from kubernaut_runtime.text import encodable

TEXT_FORMAT = "text"


class LogChannel:
    """Writes one INFO record per notification. Any `log_format` but `text` means JSON."""

    def __init__(
        self,
        log_format: str = "json",
        *,
        logger: logging.Logger | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._text = log_format == TEXT_FORMAT
        self._log = logger or logging.getLogger("kubernaut_notification.log")
        self._now = now

    async def deliver(self, message: Message) -> None:
        """Log the message."""
        self._log.info("%s", self._as_text(message) if self._text else self._as_json(message))

    def _as_text(self, message: Message) -> str:
        meta, spec = message.nr.metadata, message.nr.spec
        return f"[{format_time(self._now())}] {meta.namespace}/{meta.name} {spec.subject}: {spec.body}"

    def _as_json(self, message: Message) -> str:
        meta, spec, status = message.nr.metadata, message.nr.spec, message.nr.status
        record: dict[str, Any] = {
            "timestamp": format_time(self._now()),
            "notification_name": meta.name,
            "notification_namespace": meta.namespace,
            "notification_uid": meta.uid,
            "type": spec.type,
            "priority": spec.priority,
            "subject": spec.subject,
            "body": spec.body,
        }
        optional: dict[str, Any] = {
            "metadata": flat_metadata(message.nr),
            "labels": meta.labels,
            "annotations": meta.annotations,
            "phase": status.phase,
            "successful_deliveries": status.successful_deliveries,
            "failed_deliveries": status.failed_deliveries,
            "action_links": [{"service": a.service, "url": a.url, "label": a.label} for a in spec.action_links],
        }
        record |= {key: value for key, value in optional.items() if value}
        return encodable(json.dumps(record, ensure_ascii=False))

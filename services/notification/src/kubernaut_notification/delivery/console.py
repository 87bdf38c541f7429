"""The console channel: one log record per notification, through the process's own logger.

It needs nothing, cannot fail, and is what routing falls back to.
"""

from __future__ import annotations

import logging

from kubernaut_notification.delivery.message import Message


class ConsoleChannel:
    """Writes `[priority] [type] subject`, a line end, the body and a line end as one INFO record."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._log = logger or logging.getLogger("kubernaut_notification.console")

    async def deliver(self, message: Message) -> None:
        """Log the message. Empty subject and body are fine."""
        spec = message.nr.spec
        text = f"[{spec.priority}] [{spec.type}] {spec.subject}\n{spec.body}\n"
        # The text goes in as an argument: a percent sign in it is no format.
        self._log.info("%s", text)

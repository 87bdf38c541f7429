"""The readiness gate `datastorage`: asks the health URL at once and then every 15 s.

While Data Storage is out of reach the pod is not ready, which holds up a rollout; reconciling goes on and events wait.
"""

from __future__ import annotations

import logging
from typing import Protocol

from kubernaut_runtime.clock import Clock

from .client import server_of

log = logging.getLogger(__name__)

EVERY_SECONDS = 15.0
NAME = "datastorage"


class Healthy(Protocol):
    """Who asks: None if all is well, else why not."""

    async def health(self) -> str | None:
        """Ask once."""
        ...


class ReadinessGate:
    """`check` is for `/readyz` and only reads; `run` asks for as long as the process runs."""

    def __init__(self, client: Healthy, health_url: str, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._server = server_of(health_url)
        self._reason: str | None = "not asked yet"

    def check(self) -> str | None:
        """Return why Data Storage counts as away, None if it does not. May be called from any thread."""
        reason = self._reason
        return None if reason is None else f"Data Storage at {self._server} is not ready: {reason}"

    async def run(self) -> None:
        """Ask again and again; a change is told in the log."""
        while True:
            before, self._reason = self._reason, await self._client.health()
            if self._reason is not None and self._reason != before:
                log.warning("Data Storage is not ready", extra={"server": self._server, "reason": self._reason})
            elif self._reason is None and before is not None:
                log.info("Data Storage is ready", extra={"server": self._server})
            await self._clock.sleep(EVERY_SECONDS)

"""Status writers without an API server: their changes are applied to objects in memory, under a clock that is set."""

from __future__ import annotations

from datetime import datetime

from kubernaut_status import Request, Response


class Unreachable:
    """A client that nobody may use."""

    async def send(self, request: Request) -> Response:
        """Refuse the request."""
        raise AssertionError("nothing is sent")


class Wall:
    """A wall clock that shows what it was set to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

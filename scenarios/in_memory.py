"""Status writers and phase machines without an API server: objects in memory, under a clock that is set."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import permutations

from kubernaut_status import InvalidTransitionError, PhaseMachine, Request, Response


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


def assert_only_legal(machine: PhaseMachine, phases: Iterable[str], legal: Collection[tuple[str, str]]) -> None:
    """Check every pair of different `phases`: `machine` lets exactly those of `legal` pass."""
    for start, end in permutations(phases, 2):
        allowed = True
        try:
            machine.check({"phase": start}, {"phase": end})
        except InvalidTransitionError:
            allowed = False
        assert allowed == ((start, end) in legal), f"{start or 'no phase'} to {end or 'no phase'}"

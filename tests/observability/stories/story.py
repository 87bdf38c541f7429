"""What happens to an operator while Prometheus looks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.prometheus import Prometheus

ELECTION = {"leaderElection": True, "leaseDuration": "2s", "renewDeadline": "1500ms", "retryPeriod": "300ms"}


class Story(Protocol):
    """One service's operator, running.

    `expected` are the states that its alerts come to by what happens, without the service's name; `healthy` are alerts
    about what does not happen; LoopSlow is about the machine and in neither.
    """

    namespace: str
    deployment: OperatorDeployment
    expected: Mapping[str, str]
    healthy: Collection[str]

    def begin(self) -> None:
        """What happens before the first scrape."""

    def go_on(self, prometheus: Prometheus) -> None:
        """What happens then."""

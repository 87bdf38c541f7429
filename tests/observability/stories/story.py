"""What happens to an operator while Prometheus looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar

from scenarios.faults.site import FaultSite

from kubernaut_testing.prometheus import Prometheus
from kubernaut_testing.proxy import FaultProxy, Rule, Status

ELECTION = {"leaderElection": True, "leaseDuration": "6s", "renewDeadline": "5s", "retryPeriod": "300ms"}

HEALTHY = frozenset(
    {"Down", "Restarting", "NoLeader", "SeveralLeaders", "WatchSilent", "Stuck", "QueueDeep", "PassHangs"}
)
"""Alerts about what happens in no story. LoopSlow is about the machine, and in neither list."""


class Story(ABC):
    """One service's operator, running at `site`; `proxy` is between it and the API server.

    `expected` are the states that its alerts come to by what happens, without the service's name; `healthy` are alerts
    about what does not happen.
    """

    expected: ClassVar[Mapping[str, str]]
    healthy: ClassVar[Collection[str]]

    def __init__(self, site: FaultSite, proxy: FaultProxy) -> None:
        self.site, self.proxy = site, proxy
        self.namespace, self.deployment = site.namespace, site.deployment

    @abstractmethod
    def begin(self) -> None:
        """What happens before the first scrape."""

    @abstractmethod
    def go_on(self, prometheus: Prometheus) -> None:
        """What happens then."""

    def disturb_writes(self) -> None:
        """Let status writes meet conflicts and a busy server from now on."""
        writes = {"verb": "patch", "resource": self.site.plural, "subresource": "status"}
        self.proxy.add(Rule(Status(409), every=6, **writes))
        self.proxy.add(Rule(Status(503), every=7, **writes))

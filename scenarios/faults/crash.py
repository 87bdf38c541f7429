"""SIGKILL of a leader at every write: a standby with warm watches ends what it was at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubernaut_testing.crash import CrashOutcome, CrashSweep, Side
from kubernaut_testing.process import OperatorProcess
from kubernaut_testing.proxy import FaultProxy
from kubernaut_testing.waiting import eventually
from scenarios.faults.leader import leads
from scenarios.faults.site import FaultSite

__all__ = ["ELECTION", "sweep_leaders"]

ELECTION = {
    "controller": {"leaderElection": True, "leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "300ms"}
}


def sweep_leaders(
    site: FaultSite, proxy: FaultProxy, sides: Sequence[Side], check: Callable[[str], object]
) -> list[CrashOutcome]:
    """Kill the one that leads at every write; nobody is started again until the other has ended the object.

    The site runs behind `proxy` with `ELECTION`; `check` is that of `CrashSweep.run`.
    """

    def leader() -> OperatorProcess:
        (found,) = [deployment.process for deployment in site.deployments if leads(deployment)]
        return found

    with site.deploy("second", config=ELECTION, proxy=proxy):
        eventually(lambda: leads(site.deployment))
        sweep = CrashSweep(proxy, site.deployment.process, resource=site.plural, leader=leader, sides=sides)
        outcomes = sweep.run(site.create, site.ended, check)
        assert sum(deployment.process.starts for deployment in site.deployments) == 2 + len(outcomes)
    return outcomes

"""A leader that is cut off, frozen or told to end, each time with work under way.

Whatever happens to it, it is silent before another may act; what it had begun is found and made again, under the same
number where there is one; and nothing else is done twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest

from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.invariants import assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, Rule, Status
from kubernaut_testing.proxy.actions import Action, Delay
from kubernaut_testing.waiting import eventually
from scenarios.faults import FULL
from scenarios.faults.site import PARALLEL, FaultSite
from scenarios.faults.verdicts import all_ended, assert_only_told_twice

MakeSite = Callable[..., FaultSite]
SCALED = {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "300ms"}
PRODUCTION: dict[str, str] = {}
"""The defaults: 15 s, 10 s, 2 s."""

LEASE_TIMES = [pytest.param(SCALED, id="scaled"), pytest.param(PRODUCTION, marks=FULL, id="production-full")]


def election(site: type[FaultSite], times: Mapping[str, str]) -> dict[str, Any]:
    """Config of a replica that stands for election, with so little work at once that there is some for a while."""
    controller = {"leaderElection": True, **times, **site.few.get("controller", {})}
    return {**site.few, "controller": controller}


def leads(deployment: OperatorDeployment) -> bool:
    """Whether this replica says that it leads."""
    return deployment.process.running and deployment.metric("leader_election_master_status") == 1


def begin_work(site: FaultSite, number: int, delay: float, prefix: str = "n") -> list[str]:
    """Create objects that take `delay` seconds of work each, and wait until as many as may be are under way."""
    site.slow(delay)
    before = len(site.begun())
    names = [f"{prefix}-{index}" for index in range(number)]
    for name in names:
        site.create(name)
    eventually(lambda: len(site.begun()) >= before + PARALLEL, timeout=40, message="work under way")
    return names


def done(site: FaultSite, names: list[str]) -> int:
    """How many effects took place so far."""
    return sum(len(site.effects(name)) for name in names)


@pytest.mark.parametrize("times", LEASE_TIMES)
@pytest.mark.parametrize(
    "fault", [Delay(600), pytest.param(Status(500), marks=pytest.mark.faults_full)], ids=["silent", "refused-full"]
)
def test_a_leader_that_cannot_reach_its_lease_is_silent_before_another_acts(
    fault: Action,
    times: dict[str, str],
    site_type: type[FaultSite],
    make_site: MakeSite,
    fault_proxy: FaultProxy,
    ledger: RequestLedger,
) -> None:
    """Fault 24: only the lease is out of reach; work and status writes would still be possible, and must end."""
    config = election(site_type, times)
    site = make_site(config=config, proxy=fault_proxy)
    eventually(lambda: leads(site.deployment))
    with site.deploy("second", config=config) as second:
        # More than can be done before the lease ends.
        names = begin_work(site, 45, delay=1.0 if times else 2.5)
        cut = fault_proxy.add(Rule(fault, resource="leases"))
        eventually(lambda: leads(second), timeout=40)
        acquired = datetime.fromisoformat(site.lease()["acquireTime"]).timestamp()
        eventually(lambda: not leads(site.deployment))
        clock = time.time() - time.monotonic()
        own = [r for r in fault_proxy.requests if r.subresource == "status"]
        assert own, "it worked"
        assert max(r.started for r in own) + clock < acquired, "no write of the old leader after the new one's first"
        assert not all_ended(site, names), "it was cut off under load"
        eventually(lambda: all_ended(site, names), timeout=120)
        cut.remove()
        assert_only_told_twice(site, ledger, names, may_lose=PARALLEL)
        assert len(site.begun()) <= len(names) + PARALLEL, "at most what was under way began twice"
        assert_survived(site.deployment.process)
        assert leads(second), "the old leader stands by"


def test_a_leader_that_is_frozen_in_the_middle_of_work_repeats_and_overwrites_nothing(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 23: it wakes up with answers that its successor has recorded, or asked for again, meanwhile."""
    config = election(site_type, SCALED)
    site = make_site(config=config, proxy=fault_proxy)
    first = site.deployment
    eventually(lambda: leads(first))
    with site.deploy("second", config=config, proxy=fault_proxy) as second:
        # All pieces of work that may be under way have begun, and none is about to.
        names = begin_work(site, 10, delay=2.0)
        first.process.pause()
        site.slow(0)
        eventually(lambda: leads(second), timeout=40)
        eventually(lambda: all_ended(site, names), timeout=60)
        assert_only_told_twice(site, ledger, names)
        before = done(site, names)
        first.process.resume()
        eventually(lambda: not leads(first))
        site.create("after")
        eventually(lambda: site.ended("after"))
        assert done(site, names) == before, "what it slept over is not done by it"
        assert_only_told_twice(site, ledger, [*names, "after"])
        assert_survived(first.process)


def test_a_leader_that_is_told_to_end_under_load_takes_in_nothing_ends_its_passes_and_releases_its_lease(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 37: what is under way is recorded and the rest is left to the standby, which goes on at once.

    What was announced and not begun it tells as unknown, since it cannot know; nothing is done twice.
    """
    config = election(site_type, {"leaseDuration": "60s", "renewDeadline": "40s", "retryPeriod": "300ms"})
    site = make_site(config=config, proxy=fault_proxy)
    eventually(lambda: leads(site.deployment))
    with site.deploy("second", config=config, proxy=fault_proxy) as second:
        names = begin_work(site, 15, delay=2.0)
        began = time.monotonic()
        assert site.deployment.process.terminate() == 0
        assert time.monotonic() - began < 25
        eventually(lambda: leads(second), timeout=40)  # two thirds of what the lease would last
        acquired = datetime.fromisoformat(site.lease()["acquireTime"]).timestamp() + time.monotonic() - time.time()
        eventually(lambda: all_ended(site, names), timeout=60)
        assert not [at for at in site.begun() if began + 1.5 < at < acquired], "no work began after the signal"
        for name in names:
            effects = site.effects(name)
            assert len(set(effects)) == len(effects), name
        assert_only_told_twice(site, ledger, names)

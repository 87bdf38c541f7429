"""A leader that is cut off, frozen, blocked or told to end, each time with deliveries under way.

Whatever happens to it, it is silent before another may act; what it had begun is found, made again under the same
number and told; and nothing else is sent twice.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from scenarios.notification import CONTRACT, NotificationSite, slack_subject

from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.histories import History, assert_same_history, history_of
from kubernaut_testing.invariants import assert_invariants, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, Rule, Status
from kubernaut_testing.proxy.actions import Action, Delay
from kubernaut_testing.receivers import Answer
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]
FULL = (pytest.mark.faults_full, pytest.mark.timeout(600))
SCALED = {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "300ms"}
CALLS = 5
"""Calls to Slack at once."""
PRODUCTION: dict[str, str] = {}
"""The defaults: 15 s, 10 s, 2 s."""

LEASE_TIMES = [pytest.param(SCALED, id="scaled"), pytest.param(PRODUCTION, marks=FULL, id="production-full")]


def election(times: dict[str, str]) -> dict[str, Any]:
    """With so few calls at once that there is work for a while."""
    return {"controller": {"leaderElection": True, **times}, "delivery": {"maxCallsPerChannel": CALLS}}


def leads(deployment: OperatorDeployment) -> bool:
    return deployment.metric("leader_election_master_status") == 1


def lease(site: NotificationSite) -> dict[str, Any]:
    found = site.control_plane.api.get("coordination.k8s.io/v1", "Lease", site.namespace, "notification.kubernaut.ai")
    return dict(found["spec"])


def begin_work(site: NotificationSite, number: int, delay: float, prefix: str = "n") -> list[str]:
    """Create objects that take `delay` seconds to deliver each, and wait until as many as may be are under way."""
    site.receiver.default = Answer(delay=delay)
    before = len(site.receiver.requests)
    names = [f"{prefix}-{index}" for index in range(number)]
    for name in names:
        site.create(name)
    site.receiver.wait_for(before + CALLS)
    return names


CHANNELS = [("slack:all", 1), ("console", 1), ("file", 1)]
UNDISTURBED = History(
    ("", "Pending", "Sending", "Sent"), tuple((channel, True) for channel in CHANNELS), Counter(CHANNELS)
)
"""What lasts of a delivery that nothing disturbs."""


def assert_once_or_told(site: NotificationSite, ledger: RequestLedger, names: list[str]) -> None:
    """All invariants and the history of an undisturbed life; what came twice was told, and no more than twice."""
    for name in names:
        effects = site.effects(name)
        assert max(effects.count(effect) for effect in effects) <= 2, effects
        twice = {effect for effect in effects if effects.count(effect) > 1}
        eventually(
            lambda name=name, twice=twice: site.told_unknown(name) >= twice,
            message=lambda name=name, twice=twice: (
                f"{name}: {twice} told as unknown; told is {site.told_unknown(name)}"
            ),
        )
        unknown = site.told_unknown(name)
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=effects, unknown=unknown)
        found = history_of(ledger, site.ref(name), CONTRACT, effects=effects)
        assert_same_history(UNDISTURBED, found, repeated=unknown)


@pytest.mark.parametrize("times", LEASE_TIMES)
@pytest.mark.parametrize(
    "fault", [Delay(600), pytest.param(Status(500), marks=pytest.mark.faults_full)], ids=["silent", "refused-full"]
)
def test_a_leader_that_cannot_reach_its_lease_is_silent_before_another_acts(
    fault: Action, times: dict[str, str], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 24: only the lease is out of reach; deliveries and status writes would still work, and must end."""
    site = make_site(config=election(times), proxy=fault_proxy)
    eventually(lambda: leads(site.deployment))
    with site.deploy("second", config=election(times)) as second:
        # More than can be done before the lease ends.
        names = begin_work(site, 45, delay=0.6 if times else 2.5)
        cut = fault_proxy.add(Rule(fault, resource="leases"))
        eventually(lambda: leads(second), timeout=40)
        acquired = datetime.fromisoformat(lease(site)["acquireTime"]).timestamp()
        assert not leads(site.deployment)
        clock = time.time() - time.monotonic()
        own = [r for r in fault_proxy.requests if r.subresource == "status"]
        assert own, "it worked"
        assert max(r.started for r in own) + clock < acquired, "no write of the old leader after the new one's first"
        assert not all(site.ended(name) for name in names), "it was cut off under load"
        eventually(lambda: all(site.ended(name) for name in names), timeout=60)
        cut.remove()
        assert_once_or_told(site, ledger, names)
        repeated = [name for name in names if len(site.slack_messages(name)) == 2]
        assert len(repeated) <= CALLS, "at most those that were under way"
        assert_survived(site.deployment.process)
        assert leads(second), "the old leader stands by"


def test_a_leader_that_is_frozen_in_the_middle_of_deliveries_repeats_and_overwrites_nothing(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Fault 23: it wakes up with answers of Slack that its successor has recorded, or asked for again, meanwhile."""
    site = make_site(config=election(SCALED))
    first = site.deployment
    eventually(lambda: leads(first))
    with site.deploy("second", config=election(SCALED)) as second:
        # All calls that may be under way have arrived, and none is about to begin.
        names = begin_work(site, 10, delay=2.0)
        first.process.pause()
        site.receiver.default = 200
        eventually(lambda: leads(second), timeout=15)
        eventually(lambda: all(site.ended(name) for name in names), timeout=20)
        sent = len(site.receiver.requests)
        first.process.resume()
        eventually(lambda: not leads(first))
        site.create("after")
        eventually(lambda: site.ended("after"))
        assert len(site.receiver.requests) == sent + 1, "what it slept over is not sent by it"
        assert_once_or_told(site, ledger, [*names, "after"])
        assert_survived(first.process)


# A blocked event loop -----------------------------------------------------------------------------------------


def blocking(deployment: OperatorDeployment, *seconds: float) -> OperatorDeployment:
    """Let `deployment` run the operator that can be blocked, so long the first time, so long the second."""
    script = Path(__file__).with_name("blocking_operator.py")
    deployment.process.argv[:1] = [sys.executable, script]
    deployment.process.env["BLOCK_SECONDS"] = " ".join(map(str, seconds))
    return deployment


def block(deployment: OperatorDeployment) -> None:
    os.kill(deployment.process.pid, signal.SIGUSR1)


def test_a_blocked_loop_keeps_its_lease_or_asks_to_be_restarted_and_leaves_the_work_to_the_standby(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Fault 35: 2 s are gone through; at the true limit of 5 s /healthz fails, and the standby has the lease.

    Probes and metrics answer all the time, from a thread of their own.
    """
    site = make_site(start=False, config=election(SCALED))
    with blocking(site.deployment, 2, 8) as operator:
        eventually(lambda: leads(operator))
        names = begin_work(site, 10, delay=0.3)
        block(operator)
        eventually(lambda: operator.metric("event_loop_lag_seconds") > 1, timeout=3)
        assert operator.probe("/healthz")[0] == 200, "a short block is no reason for a restart"
        eventually(lambda: all(site.ended(name) for name in names))
        assert lease(site)["leaseTransitions"] == 0
        late = [operator.metric("event_loop_delay_seconds_bucket", le=limit) for limit in ("1.0", "5.0")]
        assert late[0] < late[1], "the block stays visible afterwards"
        assert operator.metric("event_loop_lag_seconds") < 1
        for name in names:
            assert len(site.slack_messages(name)) == 1
        assert_once_or_told(site, ledger, names)

        with site.deploy("second", config=election(SCALED)) as second:
            more = begin_work(site, 12, delay=0.5, prefix="more")
            block(operator)
            code, text = eventually(lambda: None if (got := operator.probe("/healthz"))[0] == 200 else got, timeout=7)
            assert (code, "the main loop has been blocked for" in text) == (503, True)
            assert leads(second)
            eventually(lambda: all(site.ended(name) for name in more), timeout=15)
            eventually(lambda: operator.probe("/healthz")[0] == 200)
            eventually(lambda: not leads(operator), message="seeing that it was replaced")
            sent = len(site.receiver.requests)
            site.create("after")
            eventually(lambda: site.ended("after"))
            assert len(site.receiver.requests) == sent + 1, "waking up, it sent nothing"
            assert_once_or_told(site, ledger, [*more, "after"])
            assert_survived(operator.process)


# The end ------------------------------------------------------------------------------------------------------


def test_a_leader_that_is_told_to_end_under_load_takes_in_nothing_ends_its_passes_and_releases_its_lease(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Fault 37: what is under way is recorded and the rest is left to the standby, which goes on at once.

    What was announced and not begun it tells as unknown, since it cannot know; nothing is sent twice.
    """
    patient = election({"leaseDuration": "60s", "renewDeadline": "40s", "retryPeriod": "300ms"})
    site = make_site(config=patient)
    eventually(lambda: leads(site.deployment))
    with site.deploy("second", config=patient) as second:
        names = begin_work(site, 25, delay=1.0)
        began = time.monotonic()
        assert site.deployment.process.terminate() == 0
        assert time.monotonic() - began < 25
        eventually(lambda: leads(second), timeout=3)
        eventually(lambda: all(site.ended(name) for name in names), timeout=20)
        late = [r for r in site.receiver.requests if began + 0.5 < r.monotonic < began + 1.0]
        assert not late, "no pass began after the signal"
        for name in names:
            assert len(site.slack_messages(name)) == 1, name
        assert_once_or_told(site, ledger, names)


@pytest.mark.faults_full
@pytest.mark.timeout(300)
def test_a_pass_that_does_not_end_is_cut_off_in_time_and_made_again_under_its_number(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Fault 37 at production times: Slack takes 28 s, the process has 25."""
    site = make_site(config={**election(PRODUCTION), "delivery": {"slack": {"timeout": "60s"}}})
    eventually(lambda: leads(site.deployment), timeout=20)
    names = begin_work(site, CALLS, delay=28.0)
    began = time.monotonic()
    assert site.deployment.process.terminate(grace=30) == 0
    assert 15 < time.monotonic() - began < 25
    assert lease(site)["holderIdentity"] == ""
    assert not any(site.ended(name) for name in names)
    site.receiver.default = 200
    site.deployment.process.start()
    eventually(lambda: all(site.ended(name) for name in names), timeout=40)
    for name in names:
        eventually(lambda name=name: ("slack:all", 1) in site.told_unknown(name), message="its Event")
        assert [slack_subject(r) for r in site.receiver.requests].count(name) == 2
    assert_once_or_told(site, ledger, names)

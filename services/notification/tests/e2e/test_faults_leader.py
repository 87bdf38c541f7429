"""A leader that is cut off, frozen, blocked or told to end, each time with deliveries under way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scenarios.faults.leader import (
    PRODUCTION,
    SCALED,
    begin_work,
    election,
    leads,
    test_a_leader_that_cannot_reach_its_lease_is_silent_before_another_acts,
    test_a_leader_that_is_frozen_in_the_middle_of_work_repeats_and_overwrites_nothing,
    test_a_leader_that_is_told_to_end_under_load_takes_in_nothing_ends_its_passes_and_releases_its_lease,
)
from scenarios.faults.site import PARALLEL
from scenarios.faults.verdicts import assert_only_told_twice
from scenarios.notification import NotificationSite, slack_subject

from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.invariants import assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]

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
    site = make_site(start=False, config=election(NotificationSite, SCALED))
    with blocking(site.deployment, 2, 8) as operator:
        eventually(lambda: leads(operator))
        names = begin_work(site, 10, delay=0.3)
        block(operator)
        eventually(lambda: operator.metric("event_loop_lag_seconds") > 1)
        assert operator.probe("/healthz")[0] == 200, "a short block is no reason for a restart"
        eventually(lambda: all(site.ended(name) for name in names))
        assert site.lease()["leaseTransitions"] == 0
        late = [operator.metric("event_loop_delay_seconds_bucket", le=limit) for limit in ("1.0", "5.0")]
        assert late[0] < late[1], "the block stays visible afterwards"
        eventually(lambda: operator.metric("event_loop_lag_seconds") < 1)
        for name in names:
            assert len(site.slack_messages(name)) == 1
        assert_only_told_twice(site, ledger, names)

        with site.deploy("second", config=election(NotificationSite, SCALED)) as second:
            more = begin_work(site, 12, delay=0.5, prefix="more")
            block(operator)
            code, text = eventually(lambda: None if (got := operator.probe("/healthz"))[0] == 200 else got)
            assert (code, "the main loop has been blocked for" in text) == (503, True)
            eventually(lambda: leads(second))
            eventually(lambda: all(site.ended(name) for name in more), timeout=40)
            eventually(lambda: operator.probe("/healthz")[0] == 200)
            eventually(lambda: not leads(operator), message="seeing that it was replaced")
            sent = len(site.receiver.requests)
            site.create("after")
            eventually(lambda: site.ended("after"))
            assert len(site.receiver.requests) == sent + 1, "waking up, it sent nothing"
            assert_only_told_twice(site, ledger, [*more, "after"])
            assert_survived(operator.process)


# The end ------------------------------------------------------------------------------------------------------


@pytest.mark.faults_full
@pytest.mark.timeout(300)
def test_a_pass_that_does_not_end_is_cut_off_in_time_and_made_again_under_its_number(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Fault 37 at production times: Slack takes 28 s, the process has 25."""
    site = make_site(config={**election(NotificationSite, PRODUCTION), "delivery": {"slack": {"timeout": "60s"}}})
    eventually(lambda: leads(site.deployment), timeout=20)
    names = begin_work(site, PARALLEL, delay=28.0)
    began = time.monotonic()
    assert site.deployment.process.terminate(grace=30) == 0
    assert 15 < time.monotonic() - began < 25
    assert site.lease()["holderIdentity"] == ""
    assert not any(site.ended(name) for name in names)
    site.receiver.default = 200
    site.deployment.process.start()
    eventually(lambda: all(site.ended(name) for name in names), timeout=40)
    for name in names:
        eventually(lambda name=name: ("slack:all", 1) in site.told_unknown(name), message="its Event")
        assert [slack_subject(r) for r in site.receiver.requests].count(name) == 2
    assert_only_told_twice(site, ledger, names)

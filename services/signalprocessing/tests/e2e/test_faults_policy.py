"""A policy that does not end, and policy workers that are killed or stand still while the operator runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from scenarios.faults import FULL
from scenarios.faults.verdicts import all_ended, assert_cost, assert_done_once
from scenarios.signalprocessing import CONTRACT, SignalProcessingSite

from kubernaut_testing.invariants import assert_invariants, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.process import children_of, runs, usage_of
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., SignalProcessingSite]
ENDLESS = """
endless contains 1 if {
	some a in numbers.range(1, 30000)
	some b in numbers.range(1, 30000)
	a * b < 0
}

severity := "critical" if {
	input.signal.severity == "Endless"
	count(endless) == 0
}
"""


def workers(site: SignalProcessingSite) -> set[int]:
    """The policy's processes: the operator's children."""
    children = children_of(site.deployment.process.pid)
    return {child for child in children if b"kubernaut_policy" in Path(f"/proc/{child}/cmdline").read_bytes()}


def busy(before: Mapping[int, float]) -> int:
    """The process that has computed for a fifth of a second since its time was `before`; 0 if none has."""
    return next((pid for pid, seconds in before.items() if usage_of(pid).user > seconds + 0.2), 0)


def failures(site: SignalProcessingSite, name: str) -> int:
    return int((site.status(name).get("failureInfo") or {}).get("consecutiveFailures", 0))


@pytest.mark.parametrize("to_the_end", [False, pytest.param(True, marks=FULL, id="to-the-end-full")])
def test_a_policy_that_hangs_or_dies_for_one_signal_is_told_waits_and_holds_up_no_other(
    to_the_end: bool, make_site: MakeSite, ledger: RequestLedger
) -> None:
    """The worker is ended at the deadline of an evaluation; one that is killed in the middle of it is replaced."""
    site = make_site()
    shipped = (site.policies / "policy.rego").read_text()
    site.write_policy(shipped + ENDLESS)
    eventually(lambda: site.deployment.metric("config_reload_total", result="ok") == 1)
    bad = {"killed": "died", "endless": "no answer within 5 s"}
    for name, said in bad.items():
        before = eventually(lambda: len(found := workers(site)) == 2 and found)
        computed = {pid: usage_of(pid).user for pid in before}
        site.create(name, severity="Endless")
        eventually(lambda name=name: site.phase(name) == "Classifying")
        if name == "killed":
            evaluating = eventually(lambda computed=computed: busy(computed), message="an evaluation under way")
            os.kill(evaluating, signal.SIGKILL)
        free = [f"free-of-{name}-{number}" for number in range(3)]
        for one in free:
            site.create(one)
        eventually(lambda name=name: failures(site, name) == 1, message=f"{name} told")
        assert said in site.status(name)["failureInfo"]["error"]
        eventually(lambda free=free: all_ended(site, free), message="what others wait for")
        assert_cost(site, ledger, *free)
        assert_done_once(site, ledger, *free)
        eventually(lambda name=name: site.events(name, "PolicyEvaluationFailed"))
        eventually(lambda before=before: len(workers(site)) == 2 and workers(site) != before, message="a new worker")
    assert site.deployment.probe("/readyz")[0] == 200
    site.write_policy(shipped.replace('"sev1": "critical",', '"sev1": "critical",\n\t"endless": "critical",'))
    for name in bad:
        assert site.phase(name) == "Classifying"
        if to_the_end:
            eventually(lambda name=name: site.ended(name), timeout=90)
            assert_done_once(site, ledger, name)
            assert site.status(name)["failureInfo"].get("consecutiveFailures", 0) == 0
        assert_invariants(ledger, site.ref(name), CONTRACT)
    assert_survived(site.deployment.process)


def test_workers_that_are_killed_while_nobody_asks_them_cost_no_signal_anything(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    site = make_site()
    dead = workers(site)
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(runs(pid) for pid in dead))  # on a busy machine that takes its time
    names = [f"n-{number}" for number in range(3)]
    for name in names:
        site.create(name)
    eventually(lambda: all_ended(site, names), timeout=60)
    assert_cost(site, ledger, *names)
    assert_done_once(site, ledger, *names)
    eventually(lambda: len(workers(site)) == 2 and not workers(site) & dead)
    assert_survived(site.deployment.process)


@pytest.mark.faults_full
def test_a_worker_that_stands_still_is_replaced_and_its_signal_is_classified_later(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """SIGSTOP for both: the first two evaluations after it, of custom labels, miss their deadline."""
    site = make_site()
    for pid in workers(site):
        os.kill(pid, signal.SIGSTOP)
    for name in ("one", "two"):
        site.create(name)
        eventually(lambda name=name: failures(site, name) == 1, timeout=40)
        assert site.phase(name) == "Enriching"
    site.create("free")
    eventually(lambda: site.ended("free"))
    assert_done_once(site, ledger, "free")
    for name in ("one", "two"):
        eventually(lambda name=name: site.ended(name), timeout=90)
        assert_done_once(site, ledger, name)
    assert_survived(site.deployment.process)

"""SIGKILL at every write of a signal's life: nothing is done twice, and what was not told is known.

Events and audit events follow the write that they tell of. A process that is killed between the two leaves the
transition untold: its successor cannot know, and telling twice would be worse for those who count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from scenarios.faults.crash import ELECTION, sweep_leaders
from scenarios.faults.verdicts import assert_done_once
from scenarios.signalprocessing import CONTRACT, LIFE, PLURAL, SignalProcessingSite, told_on

from kubernaut_testing.crash import REFERENCE, CrashPoint, CrashSweep
from kubernaut_testing.histories import assert_same_history, history_of
from kubernaut_testing.invariants import assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

MakeSite = Callable[..., SignalProcessingSite]
Told = tuple[str, str]
TOLD = [told_on(LIFE[index - 1], LIFE[index]) for index in range(1, len(LIFE))]
"""What is told of each write."""


def may_be_lost(name: str) -> tuple[set[Told], set[Told]]:
    """What a kill at this point loses: (for sure, perhaps). Events are sent in the background, some moments later."""
    if name == REFERENCE:
        return set(), set()
    _, side, index = name.split("-")
    done = int(index) - (side == "before")
    surely = set(TOLD[done - 1]) if side == "after" and done <= len(TOLD) else set()
    return surely, {told for written in TOLD[:done] for told in written if told[0] == "event"}


def assert_told_once_or_lost(site: SignalProcessingSite, ledger: RequestLedger, name: str) -> None:
    """Completed with five accepted writes, as without a crash; told once, but for what a kill loses."""
    surely, perhaps = may_be_lost(name)
    assert_done_once(site, ledger, name, lost=surely | perhaps)
    assert not surely & set(site.effects(name)), "the killed process did not know that it was stored"
    reference = history_of(ledger, site.ref(REFERENCE), CONTRACT)
    assert_same_history(reference, history_of(ledger, site.ref(name), CONTRACT))


def test_a_signal_survives_a_kill_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 1 and 2: the reads of the target and the policy's answer are made again, or not needed any more."""
    site = make_site(proxy=fault_proxy)
    sweep = CrashSweep(fault_proxy, site.deployment.process, resource=PLURAL)
    outcomes = sweep.run(site.create, site.ended, lambda name: assert_told_once_or_lost(site, ledger, name))
    assert [outcome.point for outcome in outcomes] == [
        CrashPoint(index, side) for index in range(1, len(LIFE)) for side in ("before", "after")
    ]
    assert_survived(site.deployment.process, starts=1 + len(outcomes))


@pytest.mark.faults_full
def test_a_signal_in_sequential_mode_survives_a_kill_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """A phase is several writes here, of which the last enters the next one: a kill before that repeats the phase.

    What is found out anew (how long it took, say) is then written anew, so any change makes a write a durable one.
    """
    site = make_site(proxy=fault_proxy, mode="sequential")
    site.contract = replace(CONTRACT, also_durable=lambda before, after: before != after)
    sweep = CrashSweep(fault_proxy, site.deployment.process, resource=PLURAL)
    every = {told for written in TOLD for told in written}
    outcomes = sweep.run(site.create, site.ended, lambda name: assert_done_once(site, ledger, name, lost=every))
    assert len(outcomes) > 2 * (len(LIFE) - 1)


@pytest.mark.faults_full
def test_a_standby_ends_what_the_leader_was_killed_at_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """As above, but nobody is started again until the other replica, with its watches warm, has ended the object."""
    site = make_site(proxy=fault_proxy, config=ELECTION)
    outcomes = sweep_leaders(
        site, fault_proxy, ("before", "after"), lambda name: assert_told_once_or_lost(site, ledger, name)
    )
    assert len(outcomes) == 2 * (len(LIFE) - 1)

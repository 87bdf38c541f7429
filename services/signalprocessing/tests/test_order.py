"""The order in which a storm of signals is worked through, in the API server's audit log."""

from __future__ import annotations

import pytest
from scenarios.signalprocessing import PROGRAM

from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

from .conftest import MakeSite

SIGNALS = 12


@pytest.mark.e2e
@pytest.mark.behaviour("W12")
def test_a_signal_that_was_begun_is_completed_before_the_last_one_of_a_storm_is_begun(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """All are there when the one worker wakes up; one phase of all after the other would end with the last phases."""
    site = make_site(config={"controller": {"maxConcurrentReconciles": 1}})
    process = site.deployment.process
    process.pause()
    names = [f"storm-{number}" for number in range(SIGNALS)]
    for name in names:
        site.create(name, targetResource={"kind": "Node", "name": "none"})
    process.resume()
    eventually(lambda: {site.phase(name) for name in names} == {"Completed"}, timeout=30)
    ledger.settle()
    writes = [entry.name for entry in ledger.entries(user_agent=PROGRAM, verb="patch", subresource="status")]
    assert len(writes) == 5 * SIGNALS
    begun = [writes.index(name) for name in names]
    ended = [len(writes) - 1 - writes[::-1].index(name) for name in names]
    assert sorted(ended)[SIGNALS // 2] < max(begun)

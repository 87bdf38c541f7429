"""Status writes that are lost, refused or raced; and an object that is replaced while it waits."""

from __future__ import annotations

import time

import pytest
from scenarios.faults.writes import (
    test_a_busy_api_server_gets_the_time_that_it_asks_for_and_the_lease_stays,
    test_a_storm_of_foreign_writes_costs_conflicts_and_neither_results_nor_foreign_conditions,
    test_a_third_of_all_answers_lost_is_nothing_lost_and_nothing_twice,
    test_an_api_server_that_fails_or_forbids_for_a_while_loses_no_result,
    test_each_fault_of_a_write_at_each_write_of_a_life_changes_nothing_that_lasts,
)
from scenarios.notification import CONTRACT, NotificationSite

from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e


def test_an_object_that_is_replaced_while_it_waits_for_a_retry_begins_anew(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    site.receiver.script(503)
    policy = {"maxAttempts": 3, "initialBackoffSeconds": 30, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
    site.create("one", retryPolicy=policy)
    eventually(lambda: site.phase("one") == "Retrying")
    site.create("gone", "slack", retryPolicy=policy)
    eventually(lambda: site.phase("gone") == "Sent")
    for name in ("one", "gone"):
        site.delete(name)
    begun = time.monotonic()
    site.receiver.clear()
    site.create("one", "slack", retryPolicy=policy)
    eventually(lambda: site.ended("one"))
    assert time.monotonic() - begun < 25, "the old life's wait is not the new one's"
    assert [(a["channel"], a["attempt"]) for a in site.status("one")["deliveryAttempts"]] == [("slack:slack", 1)]
    assert len(site.receiver.requests) == 1
    assert_invariants(ledger, site.ref("one"), CONTRACT)

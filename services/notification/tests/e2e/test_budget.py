"""The README's budget table, run row by row and counted in the API server's audit log."""

from collections.abc import Callable
from typing import Any

import pytest
from scenarios.journeys import readme_budgets
from scenarios.notification import CONTRACT, PROGRAM, NotificationSite

from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

BUDGETS = readme_budgets()

SCENARIOS: dict[str, tuple[str, list[Any], str]] = {
    "one channel succeeds": ("console", [], "Sent"),
    "three channels succeed": ("all", [], "Sent"),
    "one channel, 5 retryable failures": ("slack", [503] * 5, "Failed"),
    "one channel, a permanent error": ("slack", [404], "Failed"),
    "one channel succeeds, another fails permanently": ("slack-and-console", [404], "PartiallySent"),
    "one channel fails once, then succeeds": ("slack", [503], "Sent"),
}
"""Path -> receiver, Slack's first answers, phase at the end."""


def test_every_row_of_the_table_has_a_scenario() -> None:
    assert set(BUDGETS) == set(SCENARIOS)


@pytest.mark.parametrize("path", SCENARIOS)
def test_each_path_costs_what_the_readme_says(
    path: str, make_site: Callable[..., NotificationSite], ledger: RequestLedger
) -> None:
    """Weak point 1: no GET, one PATCH for each durable change. Weak point 16: ReconcileStarted once, not per pass."""
    to, answers, phase = SCENARIOS[path]
    patches, gets, events = BUDGETS[path]
    site = make_site(start=False)
    site.receiver.script(*answers)
    with site.deployment:
        site.create("one", to)
        eventually(lambda: site.phase("one") == phase, timeout=30)
        eventually(lambda: len(ledger.events_about(site.ref("one"))) >= events)
    ledger.assert_requests(site.ref("one"), {"patch/status": patches, "get": gets}, user_agent=PROGRAM, only=True)
    assert len(ledger.events_about(site.ref("one"))) == events
    assert_invariants(ledger, site.ref("one"), CONTRACT)

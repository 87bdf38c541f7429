"""The same notifications in every mode of writing: same end, other cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from scenarios.notification import CONTRACT, PROGRAM, NotificationSite

from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import Received
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]

SCENARIOS: dict[str, tuple[str, dict[int, int]]] = {
    "three-channels": ("all", {}),
    "recovers": ("all", {1: 503, 2: 503}),
    "refused": ("slack", {1: 404}),
    "partially": ("slack-and-console", {1: 503, 2: 404}),
    "exhausted": ("slack", dict.fromkeys(range(1, 4), 503)),
}
"""Name -> receiver, and Slack's answers other than 200 by the number of the call."""

ENDS = {
    "three-channels": ("Sent", 3, 3, 0),
    "recovers": ("Sent", 5, 3, 0),
    "refused": ("Failed", 1, 0, 1),
    "partially": ("PartiallySent", 3, 1, 1),
    "exhausted": ("Failed", 3, 0, 1),
}
"""Name -> phase, attempts, channels that have it, channels that have not."""

PASSES = {"three-channels": 1, "recovers": 3, "refused": 1, "partially": 2, "exhausted": 3}
"""Name -> passes that deliver; each is one write in atomic mode, beside Pending and Sending."""


def answer_by_scenario(request: Received) -> int:
    subject = str(request.json["blocks"][0]["text"]["text"]).split()[-1]
    calls[subject] += 1
    return SCENARIOS[subject][1].get(calls[subject], 200)


calls: Counter[str] = Counter()


def run(make_site: MakeSite, **controller: str) -> NotificationSite:
    calls.clear()
    site = make_site(config={"controller": controller})
    site.receiver.default = answer_by_scenario
    policy = {"maxAttempts": 3, "initialBackoffSeconds": 1, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
    for name, (to, _) in SCENARIOS.items():
        site.create(name, to, retryPolicy=policy)
    eventually(lambda: all(site.ended(name) for name in SCENARIOS), timeout=20)
    return site


def end(status: dict[str, Any]) -> tuple[str, int, int, int]:
    counters = (status.get(name, 0) for name in ("totalAttempts", "successfulDeliveries", "failedDeliveries"))
    return (status["phase"], *counters)


def attempts(status: dict[str, Any]) -> list[tuple[str, int, str, str]]:
    return [
        (entry["channel"], entry["attempt"], entry["status"], entry.get("error", ""))
        for entry in status["deliveryAttempts"]
    ]


def assert_same_end(site: NotificationSite, ledger: RequestLedger) -> None:
    for name in SCENARIOS:
        status = site.status(name)
        assert end(status) == ENDS[name], name
        recorded = attempts(status)
        by_channel = Counter(channel for channel, *_ in recorded)
        for channel, number in by_channel.items():
            assert [attempt for key, attempt, *_ in recorded if key == channel] == list(range(1, number + 1))
        assert "Delivering" not in {condition["type"] for condition in status["conditions"]}
        assert_invariants(ledger, site.ref(name), CONTRACT)


def test_atomic_mode_costs_one_patch_per_pass_and_no_get(make_site: MakeSite, ledger: RequestLedger) -> None:
    site = run(make_site, statusUpdateMode="atomic")
    assert_same_end(site, ledger)
    for name, passes in PASSES.items():
        ledger.assert_requests(site.ref(name), {"patch/status": 2 + passes}, user_agent=PROGRAM, only=True)


def test_sequential_mode_ends_the_same_and_costs_one_patch_more_for_each_attempt(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    site = run(make_site, statusUpdateMode="sequential")
    assert_same_end(site, ledger)
    for name, passes in PASSES.items():
        patches = 2 + passes + ENDS[name][1]
        ledger.assert_requests(site.ref(name), {"patch/status": patches}, user_agent=PROGRAM, only=True)


@pytest.mark.parametrize("mode", ["atomic", "sequential"])
def test_refetch_always_ends_the_same_and_costs_one_get_for_each_patch(
    mode: str, make_site: MakeSite, ledger: RequestLedger
) -> None:
    site = run(make_site, statusUpdateMode=mode, statusRefetch="always")
    assert_same_end(site, ledger)
    for name, passes in PASSES.items():
        patches = 2 + passes + (ENDS[name][1] if mode == "sequential" else 0)
        wanted = {"patch/status": patches, "get": patches}
        ledger.assert_requests(site.ref(name), wanted, user_agent=PROGRAM, only=True)

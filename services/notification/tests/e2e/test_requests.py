"""What the operator asks of the API server, counted in the server's own audit log."""

from collections import Counter
from collections.abc import Callable

import pytest
from scenarios.notification import CONTRACT, PLURAL, PROGRAM, NotificationSite

from kubernaut_testing.invariants import assert_invariants, assert_quiet
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e


def test_three_channels_cost_three_patches_and_no_get(site: NotificationSite, ledger: RequestLedger) -> None:
    site.create("one")
    eventually(lambda: site.phase("one") == "Sent")
    ledger.assert_requests(site.ref("one"), {"patch/status": 3}, user_agent=PROGRAM, only=True)
    assert ledger.phases(site.ref("one")) == ["", "Pending", "Sending", "Sent"]
    events = eventually(lambda: len(found := ledger.events_about(site.ref("one"))) >= 5 and found)
    assert Counter(event.action for event in events) == {"create": 5}


@pytest.mark.behaviour(5, 12)
@pytest.mark.timeout(400)
def test_200_notifications_cost_exactly_their_facts_and_then_stay_quiet(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """3 PATCH and 0 GET each, no conflict, no write of the watch engine; nothing moves for a minute afterwards."""
    names = [f"n-{number}" for number in range(200)]
    for name in names:
        site.create(name)
    eventually(lambda: all(each.get("status", {}).get("phase") == "Sent" for each in site.objects()), timeout=120)
    for name in names:
        ledger.assert_requests(site.ref(name), {"patch/status": 3}, user_agent=PROGRAM, only=True)
        assert_invariants(ledger, site.ref(name), CONTRACT)
    eventually(lambda: ledger.count(user_agent=PROGRAM)["create"] >= 1000, timeout=60)
    everything = ledger.entries(user_agent=PROGRAM)
    assert not [entry for entry in everything if entry.code == 409]
    writes = Counter((entry.resource, entry.action) for entry in everything if entry.is_write)
    assert writes == {("notificationrequests", "patch/status"): 600, ("events", "create"): 1000}
    assert len(site.receiver.to("/slack")) == 200
    assert len(list(site.output.iterdir())) == 200
    assert site.deployment.metric("k8s_status_conflicts_total") == 0
    assert_quiet(lambda: site.objects(), seconds=60)


def test_the_operator_s_own_count_agrees_with_the_audit_log(site: NotificationSite, ledger: RequestLedger) -> None:
    site.create("one")
    eventually(lambda: site.phase("one") == "Sent")
    eventually(lambda: len(ledger.events_about(site.ref("one"))) == 5)
    ledger.settle()
    logged = Counter(
        (entry.verb, entry.resource, entry.subresource)
        for entry in ledger.entries(user_agent=PROGRAM)
        if entry.resource
    )
    counted = {
        (labels["verb"], labels["resource"], labels["subresource"]): value
        for labels, value in site.deployment.samples("k8s_api_calls_total")
        if labels["resource"]
    }
    for what in (("patch", "notificationrequests", "status"), ("create", "events", "")):
        assert counted[what] == logged[what], what


def test_an_operator_at_rest_sends_its_lease_its_watch_and_the_sweep(
    make_site: Callable[..., NotificationSite], ledger: RequestLedger
) -> None:
    site = make_site(config={"controller": {"leaderElection": True, "resyncPeriod": "3s"}})
    site.create("one")
    eventually(lambda: site.phase("one") == "Sent", timeout=30)
    eventually(lambda: len(ledger.events_about(site.ref("one"))) == 5)
    resting = ledger.mark()

    def swept_and_renewed_twice() -> bool:
        asked = ledger.count(user_agent=PROGRAM, since=resting)
        return asked["list"] >= 2 and asked["update"] >= 2

    eventually(swept_and_renewed_twice, timeout=30)
    asked = Counter((entry.verb, entry.resource) for entry in ledger.entries(user_agent=PROGRAM, since=resting))
    assert set(asked) <= {("list", PLURAL), ("watch", PLURAL), ("update", "leases")}
    ledger.assert_requests(site.ref("one"), {"patch/status": 3}, user_agent=PROGRAM, only=True)

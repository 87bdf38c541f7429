"""Watches that break, lie or fall silent: everything is found, nothing is done twice, nobody lists in a storm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM, NotificationSite

from kubernaut_testing.invariants import assert_invariants, assert_quiet, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import (
    BlackHole,
    DropWatch,
    Duplicate,
    ErrorFrame,
    FaultProxy,
    ProxiedRequest,
    Reorder,
    Replay,
    Rule,
    StaleList,
    Status,
    Swallow,
)
from kubernaut_testing.proxy.actions import Action, Before
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]
LONG_WAIT = {"maxAttempts": 3, "initialBackoffSeconds": 300, "backoffMultiplier": 1, "maxBackoffSeconds": 300}


def watches(*actions: Action, **options: object) -> Rule:
    return Rule(*actions, verb="watch", resource=PLURAL, **options)  # type: ignore[arg-type]


def assert_sent_once(site: NotificationSite, ledger: RequestLedger, *names: str) -> None:
    for name in names:
        assert site.phase(name) == "Sent", name
        ledger.assert_requests(site.ref(name), {"patch/status": 3}, user_agent=PROGRAM, only=True)
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name))


def test_watches_that_are_cut_every_two_seconds_are_resumed_and_cause_no_list(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 14: ended in order, and every second one by a reset."""
    cut = fault_proxy.add(watches(DropWatch(2)))
    reset = fault_proxy.add(watches(DropWatch(1.5, reset=True), every=2))
    site = make_site(proxy=fault_proxy)
    at_start = len(ledger.entries(user_agent=PROGRAM, verb="list", resource=PLURAL))
    names = []

    def create_until_cut_often() -> bool:
        names.append(f"n-{len(names)}")
        site.create(names[-1])
        return cut.hits >= 5 and reset.hits >= 2

    eventually(create_until_cut_often, timeout=20, interval=0.3)
    eventually(lambda: all(site.ended(name) for name in names))
    assert_sent_once(site, ledger, *names)
    assert_quiet(lambda: site.objects(), seconds=3)
    ledger.settle()
    assert len(ledger.entries(user_agent=PROGRAM, verb="list", resource=PLURAL)) == at_start
    assert site.deployment.metric("kubernaut_watch_restarts_total") == 0
    assert_survived(site.deployment.process)


def test_a_watch_that_ends_in_an_error_finds_what_came_and_forgets_what_went_meanwhile(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 16: 410 and 500 as frames, 410 and 404 as answers; the engine is restarted where kopf ends over it."""
    fault_proxy.add(watches(DropWatch(1)))
    site = make_site(proxy=fault_proxy)
    faults: dict[str, tuple[Action, int]] = {
        "frame-410": (ErrorFrame(410), 0),
        "frame-500": (ErrorFrame(500), 1),
        "answer-404": (Status(404), 1),
        "answer-410": (Status(410), 1),
    }
    restarts = 0
    for what, (fault, restarted) in faults.items():
        site.receiver.script(503)
        site.create(f"gone-{what}", "slack", retryPolicy=LONG_WAIT)
        eventually(lambda what=what: site.status(f"gone-{what}").get("totalAttempts") == 1)
        waiting = site.deployment.metric("kubernaut_store_objects")

        def meanwhile(_: ProxiedRequest, what: str = what) -> None:
            site.control_plane.api.delete(API_VERSION, KIND, site.namespace, f"gone-{what}")
            site.create(f"came-{what}")

        fault_proxy.add(Rule(Before(meanwhile), verb="list", resource=PLURAL, first=1))
        broken = fault_proxy.add(watches(fault, first=1))
        broken.wait(1)
        eventually(lambda what=what: site.ended(f"came-{what}"), timeout=20, message=f"delivery after {what}")
        # One came, one is forgotten.
        eventually(lambda waiting=waiting: site.deployment.metric("kubernaut_store_objects") == waiting, timeout=20)
        restarts += restarted
        assert site.deployment.metric("kubernaut_watch_restarts_total") == restarts, what
        assert_sent_once(site, ledger, f"came-{what}")
        ledger.assert_requests(site.ref(f"gone-{what}"), {"patch/status": 3}, user_agent=PROGRAM, only=True)
        assert_invariants(ledger, site.ref(f"gone-{what}"), CONTRACT)
    assert_survived(site.deployment.process)
    assert site.deployment.probe("/healthz")[0] == 200


def test_events_that_are_doubled_reordered_repeated_or_swallowed_change_nothing(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 17 and 18; what a watch never told is found by the next sweep: what came, and what went."""

    def of(prefix: str) -> Callable[..., bool]:
        return lambda event: event["object"]["metadata"]["name"].startswith(prefix)

    lies = [Duplicate(of("doubled"), times=3), Replay(of("repeated")), Reorder(of("reordered")), Swallow(of("unheard"))]
    lies.append(Swallow(lambda event: event["type"] == "DELETED"))
    fault_proxy.add(watches(*lies))
    site = make_site(proxy=fault_proxy, config={"controller": {"resyncPeriod": "3s"}})
    site.receiver.script(503)
    site.create("gone", "slack", retryPolicy=LONG_WAIT)
    eventually(lambda: site.status("gone").get("totalAttempts") == 1)
    site.control_plane.api.delete(API_VERSION, KIND, site.namespace, "gone")
    names = [f"{kind}-{n}" for n in range(4) for kind in ("doubled", "repeated", "reordered", "unheard", "told")]
    for name in names:
        site.create(name)
    eventually(lambda: all(site.ended(name) for name in names), timeout=20)
    eventually(lambda: site.deployment.metric("kubernaut_store_objects") == len(names), message="the deletion")
    assert all(lie.count > 0 for lie in lies)
    assert_sent_once(site, ledger, *names)
    ledger.assert_requests(site.ref("gone"), {"patch/status": 3}, user_agent=PROGRAM, only=True)
    assert_invariants(ledger, site.ref("gone"), CONTRACT)
    assert_quiet(lambda: site.objects(), seconds=4)  # a sweep later, too
    assert_survived(site.deployment.process)


def test_a_stale_list_after_a_restart_repeats_nothing(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 19: the list shows notifications as they were before they were delivered."""
    site = make_site(proxy=fault_proxy)
    names = [f"n-{number}" for number in range(5)]
    created = [site.create(name) for name in names]
    eventually(lambda: all(site.ended(name) for name in names))
    site.deployment.process.kill()
    mark = ledger.mark()
    old = fault_proxy.add(
        Rule(StaleList(created[-1]["metadata"]["resourceVersion"]), verb="list", resource=PLURAL, first=1)
    )
    site.deployment.process.start()
    old.wait(1)
    site.create("new")
    eventually(lambda: site.ended("new"))
    for name in names:
        assert all(entry.code == 409 for entry in ledger.requests(site.ref(name), since=mark) if entry.is_write)
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name))


def test_what_a_silent_watch_does_not_tell_is_found_by_the_sweep(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 15, with a resync period of seconds."""
    fault_proxy.add(watches(BlackHole()))
    site = make_site(proxy=fault_proxy, config={"controller": {"resyncPeriod": "3s"}})
    site.create("one")
    eventually(lambda: site.ended("one"))
    assert_sent_once(site, ledger, "one")


@pytest.mark.faults_full
@pytest.mark.timeout(600)
def test_a_silent_watch_is_opened_again_within_70_seconds_and_fails_liveness_after_150(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 15 at production times."""
    silent = fault_proxy.add(watches(BlackHole()))
    site = make_site(proxy=fault_proxy)
    silent.wait(1)
    site.create("one")
    silent.wait(2, timeout=75)
    first, second = silent.requests[:2]
    assert second.started - first.started < 70
    eventually(lambda: site.deployment.probe("/healthz")[0] != 200, timeout=120)
    code, text = site.deployment.probe("/healthz")
    assert code == 500 or code == 503
    assert PLURAL in text
    silent.remove()
    eventually(lambda: site.ended("one"), timeout=75)
    eventually(lambda: site.deployment.probe("/healthz")[0] == 200)
    assert_sent_once(site, ledger, "one")

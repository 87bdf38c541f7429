"""Watches that break, lie or fall silent: everything is found, nothing is done twice, nobody lists in a storm."""

from __future__ import annotations

from collections.abc import Callable

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
from scenarios.faults import full
from scenarios.faults.site import FaultSite
from scenarios.faults.verdicts import all_ended, assert_cost, assert_done_once

MakeSite = Callable[..., FaultSite]
QUICK_SWEEPS = {"controller": {"resyncPeriod": "3s"}}


def watches(site: type[FaultSite], *actions: Action, **options: object) -> Rule:
    """A rule for the watches of the site's kind."""
    return Rule(*actions, verb="watch", resource=site.plural, **options)  # type: ignore[arg-type]


def known(site: FaultSite) -> float:
    """How many objects the operator knows."""
    return site.deployment.metric("kubernaut_store_objects", resource=site.plural)


def assert_left_waiting(site: FaultSite, ledger: RequestLedger, name: str) -> None:
    """An object that was deleted while it waited has cost nothing since."""
    ledger.assert_requests(site.ref(name), {"patch/status": site.waiting_writes}, user_agent=site.program, only=True)
    assert_invariants(ledger, site.ref(name), site.contract)


def test_watches_that_are_cut_every_two_seconds_are_resumed_and_cause_no_list(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 14: ended in order, and every second one by a reset."""
    cut = fault_proxy.add(watches(site_type, DropWatch(2)))
    reset = fault_proxy.add(watches(site_type, DropWatch(1.5, reset=True), every=2))
    site = make_site(proxy=fault_proxy)
    at_start = len(ledger.entries(user_agent=site.program, verb="list", resource=site.plural))
    names: list[str] = []

    def create_until_cut_often() -> bool:
        names.append(f"n-{len(names)}")
        site.create(names[-1])
        return cut.hits >= 5 and reset.hits >= 2

    eventually(create_until_cut_often, timeout=60, interval=0.3)
    eventually(lambda: all_ended(site, names))
    assert_cost(site, ledger, *names)
    assert_done_once(site, ledger, *names)
    assert_quiet(site.objects, seconds=3)
    ledger.settle()
    assert len(ledger.entries(user_agent=site.program, verb="list", resource=site.plural)) == at_start
    assert site.deployment.metric("kubernaut_watch_restarts_total") == 0
    assert_survived(site.deployment.process)


def test_a_watch_that_ends_in_an_error_finds_what_came_and_forgets_what_went_meanwhile(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 16: 410 and 500 as frames, 410 and 404 as answers; the engine is restarted where kopf ends over it."""
    fault_proxy.add(watches(site_type, DropWatch(1)))
    site = make_site(proxy=fault_proxy)
    faults: dict[str, tuple[Action, int]] = {
        "frame-410": (ErrorFrame(410), 0),
        "frame-500": (ErrorFrame(500), 1),
        "answer-404": (Status(404), 1),
        "answer-410": (Status(410), 1),
    }
    restarts = 0
    for what, (fault, restarted) in faults.items():
        gone, came = f"gone-{what}", f"came-{what}"
        site.create_waiting(gone)
        eventually(lambda gone=gone: site.waits(gone))  # type: ignore[misc]
        waiting = known(site)

        def meanwhile(_: ProxiedRequest, gone: str = gone, came: str = came) -> None:
            site.delete(gone)
            site.create(came)

        fault_proxy.add(Rule(Before(meanwhile), verb="list", resource=site.plural, first=1))
        broken = fault_proxy.add(watches(site_type, fault, first=1))
        broken.wait(1)
        eventually(lambda came=came: site.ended(came), timeout=40, message=f"end after {what}")  # type: ignore[misc]
        # One came, one is forgotten.
        eventually(lambda waiting=waiting: known(site) == waiting, timeout=40)  # type: ignore[misc]
        restarts += restarted
        assert site.deployment.metric("kubernaut_watch_restarts_total") == restarts, what
        assert_cost(site, ledger, came)
        assert_done_once(site, ledger, came)
        assert_left_waiting(site, ledger, gone)
    assert_survived(site.deployment.process)
    assert site.deployment.probe("/healthz")[0] == 200


def test_events_that_are_doubled_reordered_repeated_or_swallowed_change_nothing(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 17 and 18; what a watch never told is found by the next sweep: what came, and what went."""

    def of(prefix: str) -> Callable[..., bool]:
        return lambda event: event["object"]["metadata"]["name"].startswith(prefix)

    lies = [Duplicate(of("doubled"), times=3), Replay(of("repeated")), Reorder(of("reordered")), Swallow(of("unheard"))]
    lies.append(Swallow(lambda event: event["type"] == "DELETED"))
    fault_proxy.add(watches(site_type, *lies))
    site = make_site(proxy=fault_proxy, config=QUICK_SWEEPS)
    site.create_waiting("gone")
    eventually(lambda: site.waits("gone"))
    site.delete("gone")
    names = [f"{kind}-{n}" for n in range(4) for kind in ("doubled", "repeated", "reordered", "unheard", "told")]
    for name in names:
        site.create(name)
    eventually(lambda: all_ended(site, names), timeout=40)
    eventually(lambda: known(site) == len(names), message="the deletion")
    assert all(lie.count > 0 for lie in lies)
    assert_cost(site, ledger, *names)
    assert_done_once(site, ledger, *names)
    assert_left_waiting(site, ledger, "gone")
    assert_quiet(site.objects, seconds=4)  # a sweep later, too
    assert_survived(site.deployment.process)


def test_a_stale_list_after_a_restart_repeats_nothing(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 19: the list shows objects as they were before anything was done for them."""
    site = make_site(proxy=fault_proxy)
    names = [f"n-{number}" for number in range(5)]
    created = [site.create(name) for name in names]
    eventually(lambda: all_ended(site, names))
    assert_done_once(site, ledger, *names)
    site.deployment.process.kill()
    mark = ledger.mark()
    old = fault_proxy.add(
        Rule(StaleList(created[-1]["metadata"]["resourceVersion"]), verb="list", resource=site.plural, first=1)
    )
    site.deployment.process.start()
    old.wait(1)
    site.create("new")
    eventually(lambda: site.ended("new"))
    for name in names:
        assert all(entry.code == 409 for entry in ledger.requests(site.ref(name), since=mark) if entry.is_write)
    assert_done_once(site, ledger, *names)


def test_what_a_silent_watch_does_not_tell_is_found_by_the_sweep(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 15, with a resync period of seconds."""
    fault_proxy.add(watches(site_type, BlackHole()))
    site = make_site(proxy=fault_proxy, config=QUICK_SWEEPS)
    site.create("one")
    eventually(lambda: site.ended("one"))
    assert_cost(site, ledger, "one")
    assert_done_once(site, ledger, "one")


@full
def test_a_silent_watch_is_opened_again_within_70_seconds_and_fails_liveness_after_150(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 15 at production times."""
    silent = fault_proxy.add(watches(site_type, BlackHole()))
    site = make_site(proxy=fault_proxy)
    silent.wait(1)
    site.create("one")
    silent.wait(2, timeout=75)
    first, second = silent.requests[:2]
    assert second.started - first.started < 70
    eventually(lambda: site.deployment.probe("/healthz")[0] != 200, timeout=120)
    code, text = site.deployment.probe("/healthz")
    assert code == 500 or code == 503
    assert site.plural in text
    silent.remove()
    eventually(lambda: site.ended("one"), timeout=75)
    eventually(lambda: site.deployment.probe("/healthz")[0] == 200)
    assert_done_once(site, ledger, "one")

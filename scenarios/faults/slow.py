"""An API server that is slow, or that does not know us for a while: what it holds up waits, everything else goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kubernaut_testing.entries import Entry
from kubernaut_testing.files import replace_file
from kubernaut_testing.invariants import assert_quiet, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, ProxiedRequest, Rule
from kubernaut_testing.proxy.actions import Action, Before, Delay
from kubernaut_testing.waiting import eventually
from scenarios.faults import FULL
from scenarios.faults.site import FaultSite
from scenarios.faults.verdicts import all_ended, assert_cost, assert_done_once, codes

MakeSite = Callable[..., FaultSite]


@pytest.mark.parametrize("seconds", [1, pytest.param(10, marks=FULL, id="10-full")])
def test_an_api_server_that_takes_long_for_every_call_is_waited_for_by_all_objects_side_by_side(
    seconds: int,
    make_site: MakeSite,
    site_type: type[FaultSite],
    fault_proxy: FaultProxy,
    ledger: RequestLedger,
) -> None:
    """Fault 13: watches, lists, Events and writes alike; the calls of ten objects take as long as those of one."""
    site = make_site(proxy=fault_proxy, config=site_type.unhurried)
    slow = fault_proxy.add(Rule(Delay(seconds)))
    names = [f"slow-{number}" for number in range(10)]
    began = time.monotonic()
    for name in names:
        site.create(name)
    eventually(lambda: site.status(names[0]).get("phase"), timeout=30 * seconds)
    assert site.deployment.probe("/healthz")[0] == 200
    eventually(lambda: all_ended(site, names), timeout=len(names) * site.calls * seconds)
    took = time.monotonic() - began
    least, in_turn = site.calls * seconds, len(names) * site.calls * seconds
    # On a machine with nothing else to do it takes little more than the least.
    assert least <= took < in_turn / 2, f"{took:.1f} s; one after the other it would be {in_turn}"
    slow.remove()
    assert_cost(site, ledger, *names)
    assert_done_once(site, ledger, *names)
    assert_survived(site.deployment.process)


@pytest.mark.parametrize(
    "seconds", [pytest.param(0, id="as-long-as-others-work"), pytest.param(45, marks=FULL, id="45-full")]
)
def test_a_call_that_hangs_holds_up_its_own_object_only_and_is_given_up_in_time(
    seconds: int, make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 13: longer than the timeout of a call (30 s) the write is sent again, and the late one finds a 409."""
    site = make_site(proxy=fault_proxy)
    stuck = [f"stuck-{index}" for index in range(1, site.writes + 1)]
    over = threading.Event()

    async def hang(_: ProxiedRequest) -> None:
        while not over.is_set():  # noqa: ASYNC110 (it is set in another thread)
            await asyncio.sleep(0.02)

    fault: Action = Delay(seconds, late=True) if seconds else Before(hang)
    rules = []
    for index, name in enumerate(stuck, start=1):
        hung = Rule(fault, verb="patch", subresource="status", resource=site.plural, name=name, nth=index)
        rules.append(fault_proxy.add(hung))
        site.create(name)
    free = [f"free-{number}" for number in range(10)]
    for name in free:
        site.create(name)
    eventually(lambda: all_ended(site, free))
    for rule in rules:
        rule.wait()
    assert not any(site.ended(name) for name in stuck)
    over.set()
    eventually(lambda: all_ended(site, stuck), timeout=seconds + 30)
    if seconds:
        given_up = [200] * site.writes + [409]
        eventually(lambda: all(codes(site, ledger, name) == given_up for name in stuck), timeout=seconds)
        for index, name in enumerate(stuck, start=1):
            tries = [r.started for r in fault_proxy.requests if r.name == name and r.verb == "patch"]
            assert 29 < tries[index] - tries[index - 1] < 33, "given up after 30 s and sent again"
    assert_done_once(site, ledger, *stuck, *free)
    assert_quiet(site.objects, seconds=1)
    assert_survived(site.deployment.process)


@pytest.mark.parametrize("seconds", [2, pytest.param(30, marks=FULL, id="30-full")])
def test_a_token_that_has_expired_is_read_again_when_its_file_is_rotated(
    seconds: int, make_site: MakeSite, ledger: RequestLedger, tmp_path: Path
) -> None:
    """Fault 12: the API server's own 401, until the file has a token that it knows; no storm, no crash."""
    site = make_site(start=False)
    plane, token = site.control_plane, tmp_path / "token"
    good = plane.token(site.namespace, site.account)

    replace_file(token, good)
    argv = site.deployment.process.argv
    argv[argv.index("--kubeconfig") + 1] = plane.kubeconfig_for(site.namespace, site.account, token_file=token)
    with site.deployment:
        site.create("before")
        eventually(lambda: site.ended("before"))
        replace_file(token, "expired")
        during = [f"during-{number}" for number in range(3)]
        for name in during:
            site.create(name)

        def refused() -> list[Entry]:
            return ledger.entries(user_agent=site.program, code=401)

        eventually(refused, message="a 401")
        time.sleep(seconds)  # as long as the fault lasts
        assert not any(site.phase(name) for name in during)
        assert len(refused()) < 30 + 10 * seconds
        replace_file(token, good)
        eventually(lambda: all_ended(site, during), timeout=40 + 2 * seconds)
        site.create("after")
        eventually(lambda: site.ended("after"), timeout=30 + seconds)
        assert_done_once(site, ledger, "before", *during, "after")
        assert_survived(site.deployment.process)

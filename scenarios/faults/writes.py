"""Status writes that are lost, refused or raced: nothing is written twice, nothing is forgotten.

Faults are bound to the names of objects, so that one run of the operator meets many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from kubernaut_testing.faultsweep import REFERENCE, Fault, FaultPoint, FaultSweep
from kubernaut_testing.histories import assert_same_history, history_of
from kubernaut_testing.invariants import assert_invariants, assert_quiet, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, ProxiedRequest, ResetAfter, ResetBefore, Rule, Status
from kubernaut_testing.proxy.actions import Action, Before
from kubernaut_testing.rest import ApiError
from kubernaut_testing.waiting import eventually
from kubernaut_testing.writes import Writes
from scenarios.faults import FULL
from scenarios.faults.site import FaultSite
from scenarios.faults.verdicts import all_ended, assert_done_once, codes, settle_effects

MakeSite = Callable[..., FaultSite]
ELECTION = {"leaderElection": True, "leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "500ms"}


def commits(site: FaultSite, *actions: Action, **options: Any) -> Rule:
    """A rule for the status writes of objects."""
    return Rule(*actions, verb="patch", subresource="status", resource=site.plural, **options)


def errors(site: FaultSite, name: str) -> list[dict[str, Any]]:
    """The errors of the operator's log that name an object."""
    records = site.deployment.process.records()
    return [record for record in records if record.get("level") == "error" and name in str(record)]


# At every write ------------------------------------------------------------------------------------------------


def test_each_fault_of_a_write_at_each_write_of_a_life_changes_nothing_that_lasts(
    site_type: type[FaultSite], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 4, 5, 7, 8 and 9: lost before or after its commit, or found out too late that the object has changed."""
    site = make_site(proxy=fault_proxy, config=site_type.patient)
    site.prolong()

    def end(request: ProxiedRequest) -> None:
        site.write_status(request.name, site.foreign_end)

    def delete(request: ProxiedRequest) -> None:
        site.delete(request.name)

    def replace(request: ProxiedRequest) -> None:
        site.delete(request.name)
        site.create_other(request.name)

    def answered(*last: int) -> Callable[[str], bool]:
        return lambda name: codes(site, ledger, name)[-1:] == list(last)

    faults = [
        Fault("resetbefore", ResetBefore),
        Fault("resetafter", ResetAfter),
        # An object can be ended from its first phase on; the first write only accepts it.
        Fault("ended", lambda: Before(end), ended=answered(409), first=2),
        Fault("deleted", lambda: Before(delete), ended=answered(404)),
        Fault("replaced", lambda: Before(replace)),
    ]

    def check(point: FaultPoint) -> None:
        name, k = point.name, point.index
        ref = site.ref(name)
        reference = history_of(ledger, site.ref(REFERENCE), site.contract, effects=site.effects(REFERENCE))
        writes = len(reference.phases) - 1
        assert_invariants(ledger, ref, site.contract)
        match point.fault:
            case "resetbefore" | "resetafter":
                settle_effects(site, name)
                found = history_of(ledger, ref, site.contract, effects=site.effects(name))
                assert_same_history(reference, found)
                # Before: the same PATCH again. After: that meets a 409, and one GET finds that the first has landed.
                again = {"patch/status": writes + 1, "get": 1}
                wanted = {"patch/status": writes} if point.fault == "resetbefore" else again
                ledger.assert_requests(ref, wanted, user_agent=site.program, only=True)
            case "ended":
                assert site.foreign_end.items() <= site.status(name).items()
                assert codes(site, ledger, name) == [200] * (k - 1) + [409]
                assert ledger.count(ref, user_agent=site.program)["get"] == 1
                assert tuple(ledger.phases(ref)) == (*reference.phases[:k], "Failed")
            case "deleted":
                assert codes(site, ledger, name) == [200] * (k - 1) + [404]
                assert tuple(ledger.phases(ref)) == reference.phases[:k]
                assert not errors(site, name)
            case "replaced":
                lives = {version.uid for version in ledger.history(ref)}
                assert len(lives) == 2
                assert site.is_other(name)
                assert tuple(ledger.phases(ref)) == (*reference.phases[:k], *site.life)

    sweep = FaultSweep(fault_proxy, Writes(site.plural), timeout=120)
    points = sweep.run(faults, site.create, site.ended, check)
    most = max(point.index for point in points)
    assert len(points) == 5 * most - 1
    assert most >= site.writes
    assert site.deployment.metric("k8s_status_updates_total", result=site.late_write) == most - 1
    assert_quiet(site.objects, seconds=1.5)
    assert_survived(site.deployment.process)


def test_a_third_of_all_answers_lost_is_nothing_lost_and_nothing_twice(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 5, on many objects at once."""
    site = make_site(proxy=fault_proxy)
    storm = fault_proxy.add(commits(site, ResetAfter(), every=3))
    many = [f"many-{number}" for number in range(15)]
    for name in many:
        site.create(name)
    eventually(lambda: all_ended(site, many), timeout=60)
    assert storm.hits >= 15
    assert_done_once(site, ledger, *many)
    assert_survived(site.deployment.process)


# Raced ---------------------------------------------------------------------------------------------------------


class ForeignWriter:
    """Somebody else with a condition of their own in the same status, `rate` times a second, until `stop`."""

    def __init__(self, site: FaultSite, name: str, rate: float = 50) -> None:
        self.writes = 0
        self._site, self._name, self._pause = site, name, 1 / rate
        self._path = f"{site.control_plane.api.path(site.api_version, site.kind, site.namespace, name)}/status"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> ForeignWriter:
        """Begin."""
        condition = {"type": "Foreign", "status": "True", "reason": "Counting", "message": "0"}
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self._site.write_status(self._name, {"conditions": [condition]})
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, with the last write answered."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        index = 0
        while not self._stopped.wait(self._pause):
            at = f"/status/conditions/{index}"
            change = [
                {"op": "test", "path": f"{at}/type", "value": "Foreign"},
                {"op": "replace", "path": f"{at}/message", "value": str(self.writes + 1)},
            ]
            try:
                self._site.control_plane.api.request(
                    "PATCH", self._path, change, content_type="application/json-patch+json"
                )
                self.writes += 1
            except ApiError:
                types = [c["type"] for c in self._site.status(self._name)["conditions"]]
                index = types.index("Foreign")


def test_a_storm_of_foreign_writes_costs_conflicts_and_neither_results_nor_foreign_conditions(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Fault 6: a second writer in the same status, 50 times a second."""
    site = make_site(start=False)
    stormy, calm = ["stormy-0", "stormy-1", "stormy-2"], ["calm-0", "calm-1"]
    names = [*stormy, *calm]
    site.prolong()
    for name in names:
        site.create(name)
    writers = [ForeignWriter(site, name).start() for name in stormy]
    try:
        site.deployment.process.start()
        eventually(lambda: all_ended(site, names), timeout=60)
        eventually(lambda: all(writer.writes > 50 for writer in writers))
    finally:
        for writer in writers:
            writer.stop()
    conflicts = sum(codes(site, ledger, name).count(409) for name in stormy)
    assert conflicts > 0, "there was a storm"
    given_up = site.deployment.metric("k8s_status_updates_total", result="ConflictsExhaustedError")
    gets = sum(ledger.count(site.ref(name), user_agent=site.program)["get"] for name in stormy)
    assert gets == conflicts - given_up, "one GET for each conflict, but for a fifth one"
    for name, writer in zip(stormy, writers, strict=True):
        (foreign,) = [c for c in site.status(name)["conditions"] if c["type"] == "Foreign"]
        assert foreign["message"] == str(writer.writes), "no foreign write was undone"
    assert_done_once(site, ledger, *names)
    assert_quiet(site.objects, seconds=1)


# Refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [2, pytest.param(5, marks=pytest.mark.faults_full, id="5-full")])
def test_a_busy_api_server_gets_the_time_that_it_asks_for_and_the_lease_stays(
    seconds: int, make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 10: 429 with Retry-After on status writes; other objects and the lease go on."""
    site = make_site(proxy=fault_proxy, config={"controller": ELECTION})
    eventually(lambda: site.deployment.metric("leader_election_master_status") == 1)
    limited = [f"limited-{number}" for number in range(8)]
    busy = commits(site, Status(429, retry_after=seconds), when=lambda request: request.name.startswith("limited-"))
    rule = fault_proxy.add(busy)
    for name in limited:
        site.create(name)
    site.create("free")
    eventually(lambda: site.ended("free"), message="an object that nobody limits")

    def tried(name: str) -> list[ProxiedRequest]:
        return [request for request in fault_proxy.requests if request.name == name and request.verb == "patch"]

    eventually(lambda: all(len(tried(name)) >= 2 for name in limited))
    assert not any(site.ended(name) for name in limited)
    rule.remove()
    eventually(lambda: all_ended(site, limited), timeout=30)
    for name in limited:
        gaps = [later.started - earlier.started for earlier, later in pairwise(tried(name)) if earlier.status == 429]
        assert len(gaps) >= 2
        assert min(gaps) >= seconds, gaps
        ledger.assert_requests(site.ref(name), {"patch/status": site.writes}, user_agent=site.program, only=True)
    renewals = [request.started for request in fault_proxy.requests if request.resource == "leases"]
    for name in limited:
        refused, again = tried(name)[:2]
        assert any(refused.started < at < again.started for at in renewals), "renewed while an object waits"
    assert site.deployment.metric("leader_election_master_status") == 1
    assert_done_once(site, ledger, "free", *limited)


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=FULL, id="60-full")])
def test_an_api_server_that_fails_or_forbids_for_a_while_loses_no_result(
    seconds: int, make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 11 and 12: what was found out is kept and recorded when the server takes it."""
    site = make_site(proxy=fault_proxy)
    points = [(code, index) for code in (500, 503, 403, 401) for index in range(1, site.writes + 1)]
    names = {f"code-{code}-{index}": (code, index) for code, index in points}

    def begin(code: int) -> Callable[[ProxiedRequest], None]:
        def fail(request: ProxiedRequest) -> None:
            # From this write on, for a while: bound to the time of the first refusal of each object.
            fault_proxy.add(commits(site, Status(code), name=request.name, seconds=seconds))

        return fail

    for name, (code, index) in names.items():
        fault_proxy.add(commits(site, Before(begin(code)), Status(code), name=name, nth=index))
        site.create(name)
    eventually(lambda: all_ended(site, names), timeout=10 * seconds + 60)
    assert_done_once(site, ledger, *names)
    for name in names:
        assert codes(site, ledger, name) == [200] * site.writes
        refused = [r for r in fault_proxy.requests if r.name == name and r.verb == "patch" and r.status != 200]
        assert len(refused) <= 2 + seconds * 2, f"{name} was sent {len(refused)} times in vain"

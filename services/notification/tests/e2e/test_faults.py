"""Status writes that are lost, refused or raced: nothing is written twice, nothing is forgotten.

Faults are bound to the names of objects, so that one run of the operator meets many.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from scenarios.notification import (
    API_VERSION,
    CONTRACT,
    KIND,
    PLURAL,
    PROGRAM,
    NotificationSite,
    notification,
    slack_subject,
)

from kubernaut_testing.faultsweep import REFERENCE, Fault, FaultPoint, FaultSweep
from kubernaut_testing.histories import assert_same_history, history_of
from kubernaut_testing.invariants import assert_invariants, assert_quiet, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, ProxiedRequest, ResetAfter, ResetBefore, Rule, Status
from kubernaut_testing.proxy.actions import Action, Before
from kubernaut_testing.receivers import Received
from kubernaut_testing.rest import ApiError
from kubernaut_testing.waiting import eventually
from kubernaut_testing.writes import Writes

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]
PATIENT = {"circuitBreaker": {"failures": 1000}}
ELECTION = {"leaderElection": True, "leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "500ms"}


def commits(*actions: Action, **options: Any) -> Rule:
    """A rule for the status writes of notifications."""
    return Rule(*actions, verb="patch", subresource="status", resource=PLURAL, **options)


def assert_sent_once(site: NotificationSite, ledger: RequestLedger, *names: str) -> None:
    for name in names:
        assert site.phase(name) == "Sent", name
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name))


def codes(site: NotificationSite, ledger: RequestLedger, name: str) -> list[int]:
    """The API server's answers to the operator's status writes."""
    return [entry.code for entry in site.requests(ledger, name) if entry.verb == "patch"]


def errors(site: NotificationSite, name: str) -> list[dict[str, Any]]:
    """What the operator complained of, about one object."""
    return [
        record
        for record in site.deployment.process.records()
        if record.get("level") in ("error", "warn") and name in str(record)
    ]


# At every write ------------------------------------------------------------------------------------------------


def refuse_once(request: Received) -> int:
    """Slack's answers that make a life of four writes: Pending, Sending, Retrying, Sent."""
    subject = slack_subject(request)
    refused[subject] += 1
    return 503 if refused[subject] == 1 else 200


refused: Counter[str] = Counter()


def test_each_fault_of_a_write_at_each_write_of_a_life_changes_nothing_that_lasts(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 4, 5, 7, 8 and 9: lost before or after its commit, or found out too late that the object has changed."""
    site = make_site(proxy=fault_proxy, config={"delivery": PATIENT})
    refused.clear()
    site.receiver.default = refuse_once
    api = site.control_plane.api

    def end(request: ProxiedRequest) -> None:
        body = {"status": {"phase": "Failed", "reason": "AllDeliveriesFailed", "message": "ended by hand"}}
        api.patch(API_VERSION, KIND, site.namespace, request.name, body, subresource="status")

    def delete(request: ProxiedRequest) -> None:
        api.delete(API_VERSION, KIND, site.namespace, request.name)

    def replace(request: ProxiedRequest) -> None:
        delete(request)
        api.create(notification(site.namespace, request.name, "console"))

    def answered(*last: int) -> Callable[[str], bool]:
        return lambda name: codes(site, ledger, name)[-1:] == list(last)

    faults = [
        Fault("resetbefore", ResetBefore),
        Fault("resetafter", ResetAfter),
        # An object can be ended from Pending on; the first write only accepts it.
        Fault("ended", lambda: Before(end), ended=answered(409), first=2),
        Fault("deleted", lambda: Before(delete), ended=answered(404)),
        Fault("replaced", lambda: Before(replace)),
    ]

    def check(point: FaultPoint) -> None:
        name, k = point.name, point.index
        ref = site.ref(name)
        reference = history_of(ledger, site.ref(REFERENCE), CONTRACT, effects=site.effects(REFERENCE))
        assert_invariants(ledger, ref, CONTRACT)
        match point.fault:
            case "resetbefore" | "resetafter":
                found = history_of(ledger, ref, CONTRACT, effects=site.effects(name))
                assert_same_history(reference, found)
                # Before: the same PATCH again. After: that meets a 409, and one GET finds that the first has landed.
                wanted = {"patch/status": 4} if point.fault == "resetbefore" else {"patch/status": 5, "get": 1}
                ledger.assert_requests(ref, wanted, user_agent=PROGRAM, only=True)
            case "ended":
                assert site.status(name)["message"] == "ended by hand"
                assert codes(site, ledger, name) == [200] * (k - 1) + [409]
                assert ledger.count(ref, user_agent=PROGRAM)["get"] == 1
                assert tuple(ledger.phases(ref)) == (*reference.phases[:k], "Failed")
            case "deleted":
                assert codes(site, ledger, name) == [200] * (k - 1) + [404]
                assert tuple(ledger.phases(ref)) == reference.phases[:k]
                assert not [record for record in errors(site, name) if record["level"] == "error"]
            case "replaced":
                lives = {version.uid for version in ledger.history(ref)}
                assert len(lives) == 2
                assert [a["channel"] for a in site.status(name)["deliveryAttempts"]] == ["console"]
                assert tuple(ledger.phases(ref)) == (*reference.phases[:k], "", "Pending", "Sending", "Sent")

    sweep = FaultSweep(fault_proxy, Writes(PLURAL), timeout=40)
    points = sweep.run(faults, site.create, site.ended, check)
    assert len(points) == 4 * 4 + 3
    assert site.deployment.metric("k8s_status_updates_total", result="terminal") == 3
    assert_quiet(lambda: site.objects(), seconds=1.5)
    assert_survived(site.deployment.process)


def test_a_third_of_all_answers_lost_is_no_attempt_lost_and_none_twice(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 5, on many objects at once."""
    site = make_site(proxy=fault_proxy)
    storm = fault_proxy.add(commits(ResetAfter(), every=3))
    many = [f"many-{number}" for number in range(15)]
    for name in many:
        site.create(name)
    eventually(lambda: all(site.ended(name) for name in many), timeout=30)
    assert storm.hits >= 15
    assert_sent_once(site, ledger, *many)
    assert_survived(site.deployment.process)


# Raced ---------------------------------------------------------------------------------------------------------


class ForeignWriter:
    """Somebody else with a condition of their own in the same status, `rate` times a second, until `stop`."""

    def __init__(self, site: NotificationSite, name: str, rate: float = 50) -> None:
        self.writes = 0
        self._site, self._name, self._pause = site, name, 1 / rate
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _path(self) -> str:
        return f"{self._site.control_plane.api.path(API_VERSION, KIND, self._site.namespace, self._name)}/status"

    def start(self) -> ForeignWriter:
        condition = {"type": "Foreign", "status": "True", "reason": "Counting", "message": "0"}
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self._site.control_plane.api.patch(
            API_VERSION,
            KIND,
            self._site.namespace,
            self._name,
            {"status": {"conditions": [condition]}},
            subresource="status",
        )
        self._thread.start()
        return self

    def stop(self) -> None:
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
                    "PATCH", self._path(), change, content_type="application/json-patch+json"
                )
                self.writes += 1
            except ApiError:
                types = [c["type"] for c in self._site.status(self._name)["conditions"]]
                index = types.index("Foreign")


def test_a_storm_of_foreign_writes_costs_conflicts_and_neither_attempts_nor_foreign_conditions(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 6: a second writer in the same status, 50 times a second."""
    site = make_site(start=False)
    stormy, calm = ["stormy-0", "stormy-1", "stormy-2"], ["calm-0", "calm-1"]
    site.receiver.script(503, 503)
    for name in [*stormy, *calm]:
        site.create(name)
    writers = [ForeignWriter(site, name).start() for name in stormy]
    try:
        site.deployment.process.start()
        eventually(lambda: all(site.ended(name) for name in [*stormy, *calm]), timeout=60)
    finally:
        for writer in writers:
            writer.stop()
    assert all(writer.writes > 50 for writer in writers)
    conflicts = sum(codes(site, ledger, name).count(409) for name in stormy)
    assert conflicts > 0, "there was a storm"
    given_up = site.deployment.metric("k8s_status_updates_total", result="ConflictsExhaustedError")
    gets = sum(ledger.count(site.ref(name), user_agent=PROGRAM)["get"] for name in stormy)
    assert gets == conflicts - given_up, "one GET for each conflict, but for a fifth one"
    for name, writer in zip(stormy, writers, strict=True):
        (foreign,) = [c for c in site.status(name)["conditions"] if c["type"] == "Foreign"]
        assert foreign["message"] == str(writer.writes), "no foreign write was undone"
    assert_sent_once(site, ledger, *stormy, *calm)
    assert_quiet(lambda: site.objects(), seconds=1)


def test_an_object_that_is_replaced_while_it_waits_for_a_retry_begins_anew(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    site.receiver.script(503)
    policy = {"maxAttempts": 3, "initialBackoffSeconds": 2, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
    site.create("one", retryPolicy=policy)
    site.create("gone", "slack", retryPolicy=policy)
    eventually(lambda: site.phase("one") in ("Retrying", "Sent") and site.status("gone").get("phase") == "Sent")
    for name in ("one", "gone"):
        site.control_plane.api.delete(API_VERSION, KIND, site.namespace, name)
    begun = time.monotonic()
    site.receiver.clear()
    site.create("one", "slack", retryPolicy=policy)
    eventually(lambda: site.ended("one"))
    assert time.monotonic() - begun < 2, "the old life's wait is not the new one's"
    assert [(a["channel"], a["attempt"]) for a in site.status("one")["deliveryAttempts"]] == [("slack:slack", 1)]
    assert len(site.receiver.requests) == 1
    assert_invariants(ledger, site.ref("one"), CONTRACT)


# Refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [2, pytest.param(5, marks=pytest.mark.faults_full, id="5-full")])
def test_a_busy_api_server_gets_the_time_that_it_asks_for_and_the_lease_stays(
    seconds: int, make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Fault 10: 429 with Retry-After on status writes; other objects and the lease go on."""
    site = make_site(proxy=fault_proxy, config={"controller": ELECTION})
    eventually(lambda: site.deployment.metric("leader_election_master_status") == 1)
    limited = [f"limited-{number}" for number in range(8)]
    rule = fault_proxy.add(
        commits(
            Status(429, retry_after=seconds),
            when=lambda request: request.name.startswith("limited-"),
            first=2,
            per_object=True,
        )
    )
    begun = time.monotonic()
    for name in limited:
        site.create(name)
    site.create("free")
    eventually(lambda: site.ended("free"), timeout=2, message="an object that nobody limits")
    eventually(lambda: all(site.ended(name) for name in limited), timeout=30)
    assert rule.hits == 2 * len(limited)
    for name in limited:
        tries = [r.started for r in fault_proxy.requests if r.name == name and r.verb == "patch"]
        gaps = [later - earlier for earlier, later in pairwise(tries)]
        assert all(gap >= seconds for gap in gaps[:2]), gaps
        ledger.assert_requests(site.ref(name), {"patch/status": 3}, user_agent=PROGRAM, only=True)
    renewals = [r.started for r in fault_proxy.requests if r.resource == "leases" and r.started >= begun]
    assert max(later - earlier for earlier, later in pairwise(renewals)) < 2, "renewed all the time"
    assert site.deployment.metric("leader_election_master_status") == 1
    assert_sent_once(site, ledger, "free", *limited)


@pytest.mark.parametrize(
    "seconds", [3, pytest.param(60, marks=[pytest.mark.faults_full, pytest.mark.timeout(600)], id="60-full")]
)
def test_an_api_server_that_fails_or_forbids_for_a_while_loses_no_attempt(
    seconds: int, make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 11 and 12: what was delivered is kept and recorded when the server takes it."""
    site = make_site(proxy=fault_proxy)
    names = {f"code-{code}-{index}": code for code in (500, 503, 403, 401) for index in (1, 2, 3)}

    def begin(code: int) -> Callable[[ProxiedRequest], None]:
        def fail(request: ProxiedRequest) -> None:
            # From this write on, for a while: bound to the time of the first refusal of each object.
            fault_proxy.add(commits(Status(code), name=request.name, seconds=seconds))

        return fail

    for name, code in names.items():
        fault_proxy.add(commits(Before(begin(code)), Status(code), name=name, nth=int(name[-1])))
        site.create(name)
    eventually(lambda: all(site.ended(name) for name in names), timeout=10 * seconds + 20)
    assert_sent_once(site, ledger, *names)
    for name in names:
        assert codes(site, ledger, name) == [200, 200, 200]
        refused = [r for r in fault_proxy.requests if r.name == name and r.verb == "patch" and r.status != 200]
        assert len(refused) <= 2 + seconds * 2, f"{name} was sent {len(refused)} times in vain"

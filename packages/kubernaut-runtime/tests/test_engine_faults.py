"""The watch engine behind a network and an API server that misbehave (a real one, through the fault proxy)."""

import asyncio
import json
import threading
import weakref
from dataclasses import replace
from itertools import pairwise

import aiohttp
import pytest

from kubernaut_runtime import engine
from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.connection import Connection
from kubernaut_runtime.queue import HIGH, LOW
from kubernaut_runtime.sweep import HistoryRewoundError
from kubernaut_runtime.watch_session import WatchSession
from kubernaut_status import ObjectKey, Resource
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.proxy import (
    BlackHole,
    DropWatch,
    Duplicate,
    ErrorFrame,
    Reorder,
    Replay,
    Rule,
    Status,
    Swallow,
)
from kubernaut_testing.proxy.actions import Before, Reply
from kubernaut_testing.waiting import eventually_async

GADGETS = {"resource": "gadgets"}


def shown(sample):
    return sorted(key.name for key in sample.store.keys())  # noqa: SIM118


@pytest.mark.parametrize(
    ("fault", "restarts"),
    [
        pytest.param(ErrorFrame(410, after_seconds=0.2), 0, id="410"),
        pytest.param(ErrorFrame(500, after_seconds=0.2), 1, id="error-frame-500"),
        pytest.param(Status(404), 1, id="404-on-a-watch"),
        pytest.param(Status(410), 1, id="410-as-an-answer"),
    ],
)
async def test_what_vanishes_while_a_watch_breaks_is_found(
    watching, shelf, fault_proxy, through_faults, fault, restarts
):
    shelf.create("gone")
    shelf.create("kept")
    sample = watching(via=through_faults, times={"server_timeout": 1.0})
    await sample.start()
    fault_proxy.add(Rule(Before(lambda request: shelf.delete("gone")), verb="list", first=1, **GADGETS))
    broken = fault_proxy.add(Rule(fault, verb="watch", first=1, **GADGETS))
    await eventually_async(lambda: broken.hits == 1)
    await eventually_async(lambda: shown(sample) == ["kept"])
    assert ("gone", LOW) in sample.woken
    shelf.create("late")
    await eventually_async(lambda: ("late", HIGH) in sample.woken or ("late", LOW) in sample.woken)
    await sample.assert_watched(shelf, "kept")
    assert sample.engine.restarts == restarts


async def test_a_watch_that_ends_in_an_error_begins_anew_and_is_nothing_to_that_of_another_kind(
    watching, shelf, control_plane, fault_proxy, through_faults, ledger
):
    """kopf would leave the other watch hanging, and wait for it, in place of beginning anew."""
    namespaces = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
    # Its watch is quiet and open when the other one breaks.
    sample = watching(shelf.resource, namespaces, via=through_faults, times={"server_timeout": 5.0})
    await sample.start()
    fault_proxy.add(Rule(DropWatch(0.5), verb="watch", **GADGETS))
    for restarts in (1, 2):
        fault_proxy.add(Rule(ErrorFrame(500, after_seconds=0.2), verb="watch", first=1, **GADGETS))
        await eventually_async(lambda restarts=restarts: sample.engine.restarts == restarts)
        shelf.create(f"after-{restarts}")
        await eventually_async(lambda restarts=restarts: f"after-{restarts}" in shown(sample))
        new = control_plane.create_namespace(f"{shelf.namespace[:50]}-{restarts}")
        await eventually_async(lambda new=new: ObjectKey("", new) in sample.stores[1])
    assert [one.name for one in threading.enumerate()].count("kopf") == 2, "one for each kind: no former run goes on"
    ledger.settle()
    lists = ledger.entries(user_agent=sample.agent, verb="list", resource="namespaces")
    assert len(lists) == 2, "kopf's and the sweep's, at the start"


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_watch_that_ends_all_the_time_is_resumed_without_listing_anew(
    watching, shelf, fault_proxy, through_faults, ledger, reset
):
    sample = watching(via=through_faults)
    fault_proxy.add(Rule(DropWatch(0.2, reset=reset), verb="watch", **GADGETS))
    await sample.start()
    for number in range(20):
        shelf.create(f"g{number:02}")
        await asyncio.sleep(0.1)
    await eventually_async(lambda: len(sample.store) == 20)
    assert sample.woken == [(f"g{number:02}", HIGH) for number in range(20)]
    ledger.settle()
    assert len(ledger.entries(user_agent=sample.agent, verb="list")) == 2
    assert len(ledger.entries(user_agent=sample.agent, verb="watch")) >= 5
    assert sample.engine.restarts == 0


async def test_a_watch_that_is_ended_at_once_is_not_opened_in_a_tight_loop(
    watching, shelf, fault_proxy, through_faults
):
    ended = fault_proxy.add(Rule(DropWatch(0.0), verb="watch", **GADGETS))
    sample = watching(via=through_faults, times={"reopen": 0.5})
    await sample.start()
    await eventually_async(lambda: ended.hits >= 5)
    gaps = [later.started - earlier.started for earlier, later in pairwise(ended.requests)]
    # What is paced is the sending; on the way here one may be late.
    assert sum(gaps) > 0.45 * len(gaps), gaps


async def test_a_silent_watch_is_opened_again(watching, shelf, fault_proxy, through_faults):
    hole = fault_proxy.add(Rule(BlackHole(), verb="watch", first=1, **GADGETS))
    sample = watching(via=through_faults, times={"inactivity": 1.5, "server_timeout": 1.0})
    await sample.start()
    await eventually_async(lambda: hole.hits == 1)
    shelf.create("g")
    await eventually_async(lambda: sample.woken == [("g", HIGH)])


async def test_silence_that_reopening_does_not_end_fails_liveness(
    watching, shelf, fault_proxy, through_faults, gadgets
):
    hole = fault_proxy.add(Rule(BlackHole(), verb="watch", **GADGETS))
    sample = watching(via=through_faults, times={"inactivity": 1.5, "server_timeout": 1.0, "unhealthy": 3.0})
    await sample.start()
    assert sample.engine.healthy()
    await eventually_async(lambda: not sample.engine.healthy())
    await eventually_async(lambda: hole.hits >= 2)
    assert sample.engine.watch_age(gadgets) > 3
    assert "no sign of life from the watch of gadgets" in sample.engine.unhealthy()
    hole.remove()
    await eventually_async(sample.engine.healthy)


async def test_an_api_server_that_answers_with_errors_is_no_reason_to_restart_the_process(
    watching, shelf, fault_proxy, through_faults
):
    sample = watching(via=through_faults, times={"server_timeout": 1.0, "unhealthy": 2.0})
    await sample.start()
    outage = fault_proxy.add(Rule(Status(503), **GADGETS))
    await asyncio.sleep(3.5)
    assert outage.hits > 3
    assert sample.engine.healthy()
    shelf.create("g")
    outage.remove()
    await eventually_async(lambda: shown(sample) == ["g"])
    assert sample.engine.restarts == 0


async def test_a_swallowed_event_is_found_by_the_next_sweep(watching, shelf, fault_proxy, through_faults):
    sample = watching(via=through_faults, resync_period=3.0)
    swallow = Swallow(first=1)
    fault_proxy.add(Rule(swallow, verb="watch", **GADGETS))
    await sample.start()
    shelf.create("g")
    await eventually_async(lambda: swallow.count == 1)
    assert sample.woken == []
    await eventually_async(lambda: sample.woken == [("g", LOW)])


@pytest.mark.parametrize("disorder", [Duplicate, Reorder, Replay], ids=lambda kind: kind.__name__)
async def test_repeated_and_reordered_events_change_nothing(watching, shelf, fault_proxy, through_faults, disorder):
    sample = watching(via=through_faults)
    fault_proxy.add(Rule(disorder(), verb="watch", **GADGETS))
    await sample.start()
    for name in ("a", "b"):
        shelf.create(name)
    for size in range(2, 8):
        for name in ("a", "b"):
            newest = shelf.change(name, {"spec": {"size": size}})
    shelf.delete("a")
    shelf.create("marker")
    shelf.create("marker-2")
    await eventually_async(lambda: shown(sample) == ["b", "marker", "marker-2"])
    assert sample.store.get(shelf.key("b"))["metadata"]["resourceVersion"] == newest["metadata"]["resourceVersion"]


async def test_a_rotated_token_is_used_and_a_bad_one_makes_no_storm(watching, shelf, connection, ledger):
    good, tokens = connection.token(), ["expired"]
    sample = watching(via=replace(connection, token=lambda: tokens[0]))
    await sample.start(synced=False)
    await eventually_async(lambda: ledger.entries(user_agent=sample.agent, code=401))
    await asyncio.sleep(2.5)
    assert len(ledger.entries(user_agent=sample.agent, code=401)) <= 20
    tokens[0] = good
    shelf.create("g")
    await eventually_async(lambda: ("g", HIGH) in sample.woken or ("g", LOW) in sample.woken, timeout=40)
    await asyncio.wait_for(sample.engine.wait_synced(), 30)


async def test_a_token_that_stays_bad_does_not_fill_the_memory_with_sessions(watching, shelf, connection, monkeypatch):
    monkeypatch.setattr(engine, "_RELOGIN", Backoff(0.01, 0.01))
    opened: weakref.WeakSet[aiohttp.ClientSession] = weakref.WeakSet()
    make = WatchSession.open

    def opening(self: WatchSession) -> aiohttp.ClientSession:
        logins.append(1)
        opened.add(session := make(self))
        return session

    logins: list[int] = []
    monkeypatch.setattr(WatchSession, "open", opening)
    sample = watching(via=replace(connection, token=lambda: "expired"))
    await sample.start(synced=False)
    await eventually_async(lambda: len(logins) > 12, timeout=20)
    assert len([session for session in opened if not session.closed]) <= 5


async def test_a_restored_etcd_ends_the_engine_for_a_clean_restart(watching, shelf):
    sample = watching(resync_period=1.0)
    await sample.start()
    sample.store.saw_version(2**60)
    with pytest.raises(HistoryRewoundError):
        await asyncio.wait_for(sample.task, 30)
    assert not sample.engine.running


async def test_a_crd_that_is_deleted_and_installed_again_is_watched_again(watching, control_plane, install, shelf_of):
    fleeting = Resource("example.org", "v1", "fleetings", "Fleeting")
    install(fleeting)
    sample, shelf = watching(fleeting), shelf_of(fleeting)
    shelf.create("old")
    await sample.start()
    control_plane.api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "fleetings.example.org")
    await eventually_async(lambda: shown(sample) == [])
    await eventually_async(lambda: sample.engine.restarts >= 1, timeout=20)
    await asyncio.to_thread(install, fleeting)
    shelf.create("new")
    await eventually_async(lambda: shown(sample) == ["new"])
    await sample.assert_watched(shelf, "new")


async def test_a_kind_that_kopf_does_not_see_is_watched_though_the_sweep_saw_it_while_kopf_was_still_looking(
    watching, shelf, fault_proxy, through_faults
):
    """A CRD has just been installed: its objects can be listed, and the list of kinds has it a moment later."""

    async def not_yet(request, proceed, active):
        await asyncio.sleep(1.5)
        kinds = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.org/v1", "resources": []}
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(kinds).encode())

    shelf.create("g")
    without = fault_proxy.add(Rule(not_yet, when=lambda request: request.path == "/apis/example.org/v1", first=1))
    sample = watching(via=through_faults, times={"first_sweep": 1.0})
    await sample.start()
    assert without.hits == 1
    await eventually_async(lambda: sample.engine.restarts == 1)
    await sample.assert_watched(shelf, "g")


async def test_an_api_server_that_is_restarted_costs_no_event_and_no_process(watching, shelf_on):
    with ControlPlane() as plane:
        shelf = shelf_on(plane, "restart")
        shelf.create("before")
        sample = watching(via=Connection.from_kubeconfig(plane.kubeconfig), namespace="restart")
        await sample.start()
        await asyncio.to_thread(plane.restart_apiserver, graceful=False, down=1.0)
        shelf.create("after")
        await eventually_async(lambda: shown(sample) == ["after", "before"])
        await sample.assert_watched(shelf, "before")
        assert sample.engine.healthy()
        await sample.stop()

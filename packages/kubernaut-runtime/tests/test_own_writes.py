"""The store as the status manager's view of the objects, on a real API server: who is woken by which write."""

from collections.abc import AsyncIterator

import pytest

from kubernaut_runtime.connection import Connection
from kubernaut_runtime.queue import HIGH
from kubernaut_runtime.store import Store
from kubernaut_status import Outcome, Resource, StatusClient, StatusManager
from kubernaut_testing.ledger import RequestLedger


@pytest.fixture
async def client(connection: Connection, namespace: str) -> AsyncIterator[StatusClient]:
    async with connection.client(f"kubernaut-sample/{namespace}") as client:
        yield client


@pytest.fixture
def woken():
    return []


@pytest.fixture
def store(gadgets: Resource, woken) -> Store:
    return Store(gadgets, lambda key, priority: woken.append((key.name, priority)))


def painted(fresh) -> None:
    fresh.setdefault("status", {})["phase"] = "Painted"


async def test_a_foreign_change_that_met_our_write_on_the_way_wakes_once(client, gadgets, shelf, store, woken):
    store.observe("ADDED", shelf.create("g"))
    foreign = shelf.change("g", {"metadata": {"labels": {"hurry": "yes"}}})
    woken.clear()
    manager = StatusManager(client, gadgets, writes=store)
    commit = await manager.atomic_status_update(store.get(shelf.key("g")), painted)
    assert (commit.outcome, commit.tries) == (Outcome.WRITTEN, 2)
    store.observe("MODIFIED", foreign)
    store.observe("MODIFIED", commit.raw)
    store.observe("MODIFIED", commit.raw)
    assert woken == [("g", HIGH)]
    commit = await manager.atomic_status_update(commit.object, lambda fresh: fresh["status"].update(phase="Dry"))
    store.observe("MODIFIED", commit.raw)
    assert woken == [("g", HIGH)], "an echo without news wakes nobody"


async def test_a_foreign_change_that_the_watch_brought_first_is_not_told_twice(client, gadgets, shelf, store, woken):
    store.observe("ADDED", shelf.create("g"))
    stale = store.get(shelf.key("g"))
    store.observe("MODIFIED", shelf.change("g", {"metadata": {"labels": {"hurry": "yes"}}}))
    woken.clear()
    commit = await StatusManager(client, gadgets, writes=store).atomic_status_update(stale, painted)
    store.observe("MODIFIED", commit.raw)
    assert (commit.tries, woken) == (1, [])


async def test_a_slow_watch_makes_no_loop_of_conflicts(
    client, gadgets, shelf, store, woken, ledger: RequestLedger, namespace
):
    store.observe("ADDED", shelf.create("g"))
    path = f"{gadgets.object_path(shelf.key('g'))}/status"
    newest = shelf.plane.api.request(
        "PATCH", path, {"status": {"phase": "Painted"}}, content_type="application/merge-patch+json"
    )
    woken.clear()
    manager = StatusManager(client, gadgets, writes=store)
    for _ in range(5):
        commit = await manager.atomic_status_update(store.get(shelf.key("g")), painted)
        assert commit.outcome is Outcome.UNCHANGED
    ledger.assert_requests(
        f"gadgets/{namespace}/g", {"patch/status": 1, "get": 1}, user_agent=f"kubernaut-sample/{namespace}"
    )
    assert woken == []
    store.observe("MODIFIED", newest)
    assert woken == [("g", HIGH)]

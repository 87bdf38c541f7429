import asyncio

import pytest

from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.queue import LOW
from kubernaut_runtime.store import Store
from kubernaut_runtime.sweep import HistoryRewoundError, Sweep
from kubernaut_status import ApiError, Response, TransportError
from kubernaut_testing.clock import FakeClock
from kubernaut_testing.waiting import eventually_async


class Wire:
    """The real client, before which a test can put answers of its own (a Response, or an error to raise)."""

    def __init__(self, client):
        self._client = client
        self.answers = []
        self.sent = []

    async def send(self, request):
        self.sent.append(dict(request.query))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer or await self._client.send(request)


@pytest.fixture
async def wire(connection):
    async with connection.client("kubernaut-sample/sweep") as client:
        yield Wire(client)


@pytest.fixture
def woken():
    return []


@pytest.fixture
def store(gadgets, woken):
    return Store(gadgets, lambda key, priority: woken.append((key.name, priority)))


@pytest.fixture
def sweep(wire, store, namespace):
    return Sweep(wire, [store], namespace=namespace, page=2)


async def test_a_sweep_finds_what_was_missed_and_drops_what_is_gone(shelf, sweep, store, woken):
    for name in ("changed", "deleted", "same"):
        store.observe(None, shelf.create(name))
    shelf.change("changed", {"spec": {"size": 2}})
    shelf.delete("deleted")
    shelf.create("new")
    woken.clear()
    await sweep.sweep(store)
    assert sorted(woken) == [("changed", LOW), ("deleted", LOW), ("new", LOW)]
    assert sorted(key.name for key in store.keys()) == ["changed", "new", "same"]  # noqa: SIM118
    assert store.get(shelf.key("changed"))["spec"] == {"size": 2}


async def test_a_sweep_lists_in_pages_and_reads_consistently(shelf, sweep, store, wire):
    for name in "abcde":
        shelf.create(name)
    await sweep.sweep(store)
    assert len(store) == 5
    assert [query.get("limit") for query in wire.sent] == ["2", "2", "2"]
    assert [bool(query.get("continue")) for query in wire.sent] == [False, True, True]
    assert not any("resourceVersion" in query for query in wire.sent)


async def test_an_expired_page_token_starts_the_list_anew(shelf, sweep, store, wire):
    for name in "abc":
        shelf.create(name)
    wire.answers = [None, Response(410, {"reason": "Expired"})]
    await sweep.sweep(store)
    assert len(store) == 3
    assert [bool(query.get("continue")) for query in wire.sent] == [False, True, False, True]


async def test_an_object_made_during_the_list_is_not_dropped(shelf, sweep, store, wire):
    shelf.create("a")
    await sweep.sweep(store)
    version = store.newest_version
    late = shelf.create("late")
    store.observe("ADDED", late)
    store.prune({shelf.key("a")}, version)
    assert shelf.key("late") in store


async def test_a_list_older_than_what_was_seen_is_a_restored_etcd(shelf, sweep, store):
    shelf.create("a")
    await sweep.sweep(store)
    store.saw_version(2**60)
    with pytest.raises(HistoryRewoundError, match="etcd was restored") as caught:
        await sweep.sweep(store)
    assert caught.value.seen == 2**60
    assert caught.value.listed < caught.value.seen
    assert len(store) == 1


async def test_a_restored_etcd_ends_the_run(sweep, store, gadgets):
    store.saw_version(2**60)
    sweep.request(gadgets)
    with pytest.raises(HistoryRewoundError):
        await asyncio.wait_for(sweep.run(), 30)


@pytest.mark.parametrize(
    "trouble", [TransportError("reset"), Response(503, {}), Response(403, {}), Response(200, {"kind": "nonsense"})]
)
async def test_an_error_is_retried_and_never_fatal(shelf, wire, store, namespace, gadgets, trouble):
    shelf.create("a")
    wire.answers = [trouble, trouble]
    sweep = Sweep(wire, [store], namespace=namespace, retry=Backoff(0.01, 0.02))
    running = asyncio.create_task(sweep.run())
    sweep.request(gadgets)
    await asyncio.wait_for(sweep.wait_synced(), 30)
    assert len(store) == 1
    assert len(wire.sent) == 3
    running.cancel()


async def test_a_busy_server_is_not_listed_again_before_it_asked_for(wire, store, namespace, gadgets):
    clock = FakeClock()
    wire.answers = [Response(429, {}, retry_after=20.0)]
    sweep = Sweep(wire, [store], namespace=namespace, clock=clock, retry=Backoff(1, 1))
    running = asyncio.create_task(sweep.run())
    sweep.request(gadgets)
    await clock.advance(19.9)
    assert len(wire.sent) == 1
    await clock.advance(0.2)
    await asyncio.wait_for(sweep.wait_synced(), 30)
    assert len(wire.sent) == 2
    running.cancel()


async def test_a_retry_after_that_no_server_can_mean_does_not_end_the_sweeps(wire, store, namespace, gadgets):
    clock = FakeClock()
    wire.answers = [Response(503, {}, retry_after=86_400.0)]
    sweep = Sweep(wire, [store], namespace=namespace, clock=clock, retry=Backoff(1, 1))
    running = asyncio.create_task(sweep.run())
    sweep.request(gadgets)
    await clock.advance(301)
    await asyncio.wait_for(sweep.wait_synced(), 30)
    running.cancel()


async def test_a_page_that_a_proxy_invents_is_no_restored_etcd(wire, store, namespace, shelf, sweep):
    shelf.create("a")
    await sweep.sweep(store)
    wire.answers = [Response(200, {"metadata": {}})]
    with pytest.raises(ApiError, match="something else than a list"):
        await sweep.sweep(store)
    assert len(store) == 1


async def test_sweeps_come_when_asked_and_every_resync_period(wire, store, namespace, gadgets):
    clock = FakeClock()
    swept = []
    sweep = Sweep(wire, [store], namespace=namespace, clock=clock, resync_period=600)
    sweep.on_swept(swept.append)
    running = asyncio.create_task(sweep.run())
    await clock.advance(3600)
    assert not sweep.synced()
    assert wire.sent == []

    async def next_sweep(number):
        await eventually_async(lambda: len(swept) == number)
        await clock.wait_for_sleepers(1)

    sweep.request(gadgets, within=15)
    await clock.advance(14)
    assert wire.sent == []
    await clock.advance(2)
    await next_sweep(1)
    assert sweep.synced(gadgets)
    await clock.advance(590)
    assert len(wire.sent) == 1
    await clock.advance(11)
    await next_sweep(2)
    await clock.advance(100)
    sweep.request(gadgets)
    await clock.advance(0)
    await next_sweep(3)
    running.cancel()

import asyncio
import threading
import time
from itertools import pairwise

import pytest

from kubernaut_runtime.controller import Controller, Result
from kubernaut_runtime.engine import WatchTimes
from kubernaut_runtime.queue import HIGH, LOW, WorkQueue
from kubernaut_status import ObjectKey, Resource, StatusManager
from kubernaut_testing.waiting import eventually_async, stays_async


def shown(watching):
    return sorted(key.name for key in watching.store.keys())  # noqa: SIM118


async def test_what_exists_is_listed_low_and_what_changes_comes_high(watching, shelf):
    shelf.create("old")
    sample = watching()
    await sample.start()
    assert sample.woken == [("old", LOW)]
    shelf.create("new")
    await eventually_async(lambda: sample.woken[1:] == [("new", HIGH)])
    shelf.change("old", {"spec": {"size": 2}})
    await eventually_async(lambda: sample.woken[2:] == [("old", HIGH)])
    assert sample.store.get(shelf.key("old"))["spec"] == {"size": 2}
    shelf.delete("new")
    await eventually_async(lambda: sample.woken[3:] == [("new", HIGH)])
    assert shown(sample) == ["old"]


async def test_other_namespaces_are_not_seen(watching, shelf, control_plane):
    other = control_plane.create_namespace(f"{shelf.namespace}-2")
    type(shelf)(control_plane, other).create("elsewhere")
    sample = watching()
    await sample.start()
    shelf.create("here")
    await eventually_async(lambda: shown(sample) == ["here"])


async def test_a_kind_may_have_a_namespace_of_its_own_and_one_without_namespaces_is_watched_whole(
    watching, shelf, control_plane, ledger
):
    elsewhere = control_plane.create_namespace(f"{shelf.namespace}-jobs")
    namespaces = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
    configs = Resource("", "v1", "configmaps", "ConfigMap")
    shelf.create("here")
    type(shelf)(control_plane, elsewhere).create("unseen")
    sample = watching(shelf.resource, namespaces, configs, scopes={configs: elsewhere})
    await sample.start()
    gadgets, all_namespaces, there = sample.stores
    assert ObjectKey("", elsewhere) in all_namespaces
    control_plane.api.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new", "namespace": elsewhere}}
    )
    label = {"metadata": {"labels": {"kubernaut.ai/environment": "staging"}}}
    control_plane.api.patch("v1", "Namespace", None, elsewhere, label)
    await eventually_async(lambda: ObjectKey(elsewhere, "new") in there)
    await eventually_async(
        lambda: "kubernaut.ai/environment" in all_namespaces.get(ObjectKey("", elsewhere))["metadata"]["labels"]
    )
    assert shown(sample) == ["here"]
    assert {key.namespace for key in gadgets.keys() + there.keys()} == {shelf.namespace, elsewhere}
    assert sample.engine.restarts == 0
    ledger.settle()
    seen = {(e.resource, e.namespace) for e in ledger.entries(user_agent=sample.agent, verb=["list", "watch"])}
    assert seen == {("gadgets", shelf.namespace), ("namespaces", ""), ("configmaps", elsewhere)}

    sample.engine.restart("the test wants it")
    await eventually_async(lambda: sample.engine.restarts == 3, message="one for each kind")
    shelf.create("later")
    control_plane.api.delete("v1", "ConfigMap", elsewhere, "new")
    await eventually_async(lambda: shown(sample) == ["here", "later"] and ObjectKey(elsewhere, "new") not in there)


async def test_at_rest_nothing_but_watches_and_sweeps_is_sent(watching, shelf, ledger):
    for name in "abc":
        shelf.create(name)
    sample = watching(times={"server_timeout": 2.0, "inactivity": 4.0}, resync_period=2.0)
    await sample.start()
    await eventually_async(lambda: len(ledger.entries(user_agent=sample.agent, verb="watch")) == 1)
    mark = ledger.mark()

    def received(verb):
        return [entry.received for entry in ledger.entries(user_agent=sample.agent, verb=verb, since=mark)]

    await eventually_async(lambda: len(received("watch")) >= 3 and len(received("list")) >= 3)
    rest = ledger.entries(user_agent=sample.agent, since=mark)
    assert {entry.verb for entry in rest} == {"watch", "list"}
    assert {entry.resource for entry in rest} == {"gadgets"}
    for verb in ("watch", "list"):
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(received(verb))]
        assert min(gaps) > 1.5, f"{verb} before its time: {gaps}"
    assert sample.engine.restarts == 0
    assert sample.woken == [(name, LOW) for name in "abc"]


async def test_a_start_costs_six_reads_of_the_api_two_lists_and_a_watch(watching, shelf, ledger):
    sample = watching()
    await sample.start()
    await eventually_async(lambda: len(ledger.entries(user_agent=sample.agent, verb="watch")) == 1)
    ledger.settle()
    entries = ledger.entries(user_agent=sample.agent)
    assert len([entry for entry in entries if entry.verb == "list"]) == 2
    assert len([entry for entry in entries if entry.verb == "get"]) <= 6
    assert len(entries) <= 9


async def test_kopf_writes_nothing_not_even_to_objects_that_carry_its_marks(watching, shelf, ledger):
    finalizer = "kopf.zalando.org/KopfFinalizerMarker"
    marked = shelf.create(
        "marked",
        finalizers=[finalizer],
        annotations={"kopf.zalando.org/last-handled-configuration": '{"spec": {}}\n'},
    )
    sample = watching()
    await sample.start()
    for number in range(5):
        shelf.create(f"g{number}")
        shelf.change(f"g{number}", {"spec": {"size": number}})
        shelf.change("marked", {"spec": {"size": number + 5}})
    shelf.delete("g0")
    await eventually_async(lambda: shown(sample) == ["g1", "g2", "g3", "g4", "marked"])
    shelf.delete("marked")
    await eventually_async(lambda: "deletionTimestamp" in sample.store.get(shelf.key("marked"))["metadata"])
    await asyncio.sleep(1)
    ledger.settle()
    assert ledger.entries(user_agent=sample.agent, where=lambda entry: entry.is_write) == []
    assert ledger.entries(user_agent="kopf*") == []
    assert ledger.entries(resource="events", namespace=shelf.namespace) == []
    assert sample.store.get(shelf.key("marked"))["metadata"]["uid"] == marked["metadata"]["uid"]
    shelf.change("marked", {"metadata": {"finalizers": None}})
    await eventually_async(lambda: "marked" not in shown(sample))


async def test_every_request_is_counted_and_carries_our_name(watching, shelf, ledger):
    sample = watching()
    await sample.start()
    await eventually_async(lambda: len(ledger.entries(user_agent=sample.agent, verb="watch")) == 1)

    def counted(verb, resource):
        labels = {"service": "sample", "verb": verb, "resource": resource, "subresource": "", "code": "200"}
        return sample.registry.get_sample_value("k8s_api_calls_total", labels) or 0

    await eventually_async(lambda: counted("watch", "gadgets") == 1)
    ledger.settle()
    gets = len(ledger.entries(user_agent=sample.agent, verb="get"))
    assert (counted("list", "gadgets"), counted("get", "")) == (2, gets)


class Stamping:
    """A reconciler with one status write per object, and what it was called for."""

    def __init__(self, sample, resource):
        self.sample = sample
        self.manager = StatusManager(sample.client, resource, writes=sample.store)
        self.calls = []

    async def reconcile(self, key):
        self.calls.append(key.name)
        obj = self.sample.store.get(key)
        if obj is not None and not (obj.get("status") or {}).get("phase"):
            await self.manager.atomic_status_update(
                obj, lambda fresh: fresh.setdefault("status", {}).update(phase="Done")
            )
        return Result()


@pytest.fixture
async def stamping(watching, gadgets):
    sample = watching()
    queue = WorkQueue("sample")
    sample.on_change = queue.add
    reconciler = Stamping(sample, gadgets)
    controller = Controller("sample", reconciler, queue, workers=4)
    task = asyncio.create_task(controller.run())
    yield reconciler
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    queue.shut_down()


async def test_an_own_write_does_not_wake_its_writer(stamping, shelf, ledger):
    names = [f"g{number:02}" for number in range(20)]
    for name in names[:5]:
        shelf.create(name)
    sample = stamping.sample
    await sample.start()
    for name in names[5:]:
        shelf.create(name)
    await eventually_async(lambda: sample.store.counts["absorbed"] == 20, message=lambda: str(sample.store.counts))
    await stays_async(lambda: list(stamping.calls), seconds=1)
    assert sorted(stamping.calls) == names
    for name in names:
        ledger.assert_requests(
            f"gadgets/{shelf.namespace}/{name}", {"patch/status": 1}, user_agent=sample.agent, only=True
        )


async def test_a_foreign_write_wakes_the_reconciler(stamping, shelf):
    await stamping.sample.start()
    shelf.create("g")
    await eventually_async(lambda: stamping.calls == ["g"])
    await eventually_async(lambda: stamping.sample.store.counts["absorbed"] == 1)
    shelf.change("g", {"metadata": {"labels": {"touched": "yes"}}})
    await eventually_async(lambda: stamping.calls == ["g", "g"])


async def test_what_vanished_while_kopf_was_down_is_found_by_the_sweep(watching, shelf):
    for name in ("gone", "kept", "replaced"):
        shelf.create(name)
    sample = watching()
    await sample.start()
    await sample.stop()
    sample.woken.clear()
    shelf.delete("gone")
    shelf.delete("replaced")
    uid = shelf.create("replaced")["metadata"]["uid"]
    shelf.create("new")
    await sample.start(synced=False)
    await eventually_async(lambda: shown(sample) == ["kept", "new", "replaced"])
    await eventually_async(lambda: sorted(sample.woken) == [("gone", LOW), ("new", LOW), ("replaced", LOW)])
    assert sample.store.get(shelf.key("replaced"))["metadata"]["uid"] == uid


async def test_kopf_that_ends_is_started_again_and_nothing_is_lost(watching, shelf):
    shelf.create("before")
    shelf.create("gone")
    sample = watching()
    await sample.start()
    for number in range(3):
        await eventually_async(lambda: sample.engine.running)
        sample.engine.restart("a test")
        shelf.create(f"g{number}")
        await eventually_async(lambda number=number: sample.engine.restarts == number + 1)
    shelf.delete("gone")
    await eventually_async(lambda: shown(sample) == ["before", "g0", "g1", "g2"])
    assert sample.woken.count(("before", LOW)) == 1
    assert ("before", HIGH) not in sample.woken
    assert sample.registry.get_sample_value("kubernaut_watch_restarts_total") == 3


async def test_a_kind_that_is_installed_later_is_watched_then(watching, shelf, install, shelf_of):
    late = Resource("example.org", "v1", "latecomers", "Latecomer")
    sample = watching(shelf.resource, late, times={"first_sweep": 1.0})
    await sample.start(synced=False)
    shelf.create("first")
    await eventually_async(lambda: shown(sample) == ["first"])
    assert not sample.engine.synced()
    install(late)
    await asyncio.wait_for(sample.engine.wait_synced(), 30)
    latecomers = shelf_of(late)
    latecomers.create("one")
    await eventually_async(lambda: latecomers.key("one") in sample.stores[1])
    await sample.assert_watched(latecomers, "one")


async def test_each_watch_tells_how_long_it_has_been_silent(watching, shelf, gadgets):
    sample = watching(times={"server_timeout": 2.0, "unhealthy": 15.0})
    await sample.start()
    await eventually_async(lambda: sample.engine.watch_age(gadgets) > 1.5)
    # The server ends it, which is a sign of life.
    await eventually_async(lambda: sample.engine.watch_age(gadgets) < 1)
    assert sample.engine.healthy()
    assert sample.engine.unhealthy() is None
    shown = sample.registry.get_sample_value("kubernaut_watch_age_seconds", {"resource": "gadgets"})
    assert 0 <= shown <= sample.engine.watch_age(gadgets)


async def test_each_event_is_a_sign_of_life_of_a_watch_that_lasts(watching, shelf, gadgets):
    sample = watching(times={"server_timeout": 120.0, "inactivity": 140.0})
    await sample.start()
    shelf.create("one")
    await eventually_async(lambda: shelf.key("one") in sample.store)
    changed = time.monotonic()
    shelf.change("one", {"metadata": {"labels": {"a": "b"}}})
    await eventually_async(lambda: time.monotonic() - sample.engine.watch_age(gadgets) > changed)


async def test_the_engine_leaves_no_thread_behind(watching, shelf):
    sample = watching()
    await sample.start()
    assert "kopf" in [thread.name for thread in threading.enumerate()]
    await sample.stop()
    await eventually_async(lambda: "kopf" not in [thread.name for thread in threading.enumerate()])


def test_times_with_which_no_quiet_watch_could_live_are_refused():
    with pytest.raises(ValueError, match="a healthy quiet watch"):
        WatchTimes(server_timeout=60, inactivity=30)

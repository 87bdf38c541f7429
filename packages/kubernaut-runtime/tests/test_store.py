import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kubernaut_runtime.queue import HIGH, LOW
from kubernaut_runtime.store import Store, StoreMetrics
from kubernaut_status import ObjectKey, Resource

NOTIFS = Resource("kubernaut.ai", "v1alpha1", "notificationrequests", "NotificationRequest")
KEY = ObjectKey("ns", "one")


def obj(version, *, uid="u1", name="one", phase=None, **metadata):
    return {
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version), **metadata},
        "status": {"phase": phase} if phase else {},
    }


@pytest.fixture
def woken():
    return []


@pytest.fixture
def store(woken):
    return Store(NOTIFS, lambda key, priority: woken.append((key.name, priority)))


def own_write(store, version, phase="Sent", *, stored=None, meanwhile=()):
    """A write as the status manager tells it; `meanwhile` are events that arrive before the response."""
    store.write_started(KEY)
    for event in meanwhile:
        store.observe(*event)
    store.write_finished(KEY, {"phase": phase}, obj(version, phase=stored or phase))


def version(store, key=KEY):
    found = store.get(key)
    return found and int(found["metadata"]["resourceVersion"])


def test_a_listed_object_wakes_low_and_a_changed_one_high(store, woken):
    store.observe(None, obj(5))
    store.observe("MODIFIED", obj(6))
    assert woken == [("one", LOW), ("one", HIGH)]
    assert version(store) == 6


def test_versions_are_numbers_not_text(store):
    store.observe("ADDED", obj(9))
    store.observe("MODIFIED", obj(10))
    assert version(store) == 10


def test_old_and_repeated_events_are_ignored(store, woken):
    store.observe("ADDED", obj(5))
    store.observe("MODIFIED", obj(7))
    woken.clear()
    store.observe("MODIFIED", obj(6))
    store.observe("MODIFIED", obj(7))
    store.observe("ADDED", obj(5))
    assert woken == []
    assert version(store) == 7
    assert store.counts["stale"] == 2
    assert store.counts["duplicate"] == 1


@pytest.mark.behaviour("W1", service="signalprocessing")
def test_an_own_write_is_readable_at_once_and_its_echo_wakes_nobody(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    own_write(store, 6)
    assert store.newest(KEY)["status"] == {"phase": "Sent"}
    store.observe("MODIFIED", obj(6, phase="Sent"))
    assert woken == []
    assert store.counts["absorbed"] == 1


def test_an_echo_that_overtakes_the_response_is_held_and_absorbed(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    own_write(store, 6, meanwhile=[("MODIFIED", obj(6, phase="Sent"))])
    assert woken == []
    assert store.counts["held"] == 1
    assert store.counts["absorbed"] == 1


def test_a_foreign_write_after_the_own_one_wakes_even_if_it_overtakes_the_response(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    own_write(store, 6, meanwhile=[("MODIFIED", obj(6, phase="Sent")), ("MODIFIED", obj(7, phase="Sent"))])
    assert woken == [("one", HIGH)]
    assert version(store) == 7


def test_an_echo_that_admission_changed_wakes_once(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    own_write(store, 6, stored="Changed")
    store.observe("MODIFIED", obj(6, phase="Changed"))
    store.observe("MODIFIED", obj(6, phase="Changed"))
    assert woken == [("one", HIGH)]


def test_echoes_of_two_quick_writes_wake_nobody(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    own_write(store, 6, "Sending")
    own_write(store, 8, "Sent")
    store.observe("MODIFIED", obj(6, phase="Sending"))
    store.observe("MODIFIED", obj(8, phase="Sent"))
    assert woken == []


def test_a_relist_never_absorbs(store, woken):
    store.observe("ADDED", obj(5))
    own_write(store, 6)
    woken.clear()
    store.observe(None, obj(6, phase="Sent"))
    assert store.counts["absorbed"] == 0
    store.observe(None, obj(7, phase="Sent"))
    assert woken == [("one", LOW)]


def test_events_of_a_write_without_an_answer_are_judged_like_any_other(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    store.write_started(KEY)
    store.observe("MODIFIED", obj(6))
    assert woken == []
    store.write_finished(KEY, {"phase": "Sent"}, None)
    assert woken == [("one", HIGH)]


def test_a_write_found_to_have_landed_is_told_without_a_start(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    store.write_finished(KEY, {"phase": "Sent"}, obj(6, phase="Sent"))
    store.observe("MODIFIED", obj(6, phase="Sent"))
    assert woken == []
    store.observe("MODIFIED", obj(7, phase="Sent"))
    assert woken == [("one", HIGH)]


def test_events_stay_held_until_the_last_of_two_writes_is_over(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    store.write_started(KEY)
    store.write_started(KEY)
    store.observe("MODIFIED", obj(9))
    store.write_finished(KEY, None, None)
    assert woken == []
    store.write_finished(KEY, None, None)
    assert woken == [("one", HIGH)]


def test_a_deleted_object_is_removed_and_wakes(store, woken):
    store.observe("ADDED", obj(5))
    woken.clear()
    store.observe("DELETED", obj(6))
    assert store.get(KEY) is None
    assert woken == [("one", HIGH)]


def test_nothing_brings_a_deleted_object_back(store, woken):
    store.observe("ADDED", obj(5))
    store.observe("DELETED", obj(7))
    woken.clear()
    store.observe("MODIFIED", obj(6))
    store.observe(None, obj(6))
    own_write(store, 6)
    assert store.get(KEY) is None
    assert woken == []


def test_a_response_that_comes_after_the_deletion_brings_nothing_back(store):
    store.observe("ADDED", obj(5))
    own_write(store, 6, meanwhile=[("DELETED", obj(7))])
    assert store.get(KEY) is None


def test_a_recreated_object_replaces_the_old_one_and_its_overlay(store, woken):
    store.observe("ADDED", obj(5))
    own_write(store, 6)
    woken.clear()
    store.observe("ADDED", obj(9, uid="u2"))
    assert store.get(KEY)["metadata"]["uid"] == "u2"
    assert store.get(KEY)["status"] == {}
    store.observe("DELETED", obj(8, uid="u1"))
    store.observe("MODIFIED", obj(6, uid="u1"))
    assert store.get(KEY)["metadata"]["uid"] == "u2"
    assert woken == [("one", HIGH)]


def test_an_object_that_was_deleted_before_it_was_known_leaves_no_trace(store, woken):
    store.observe("DELETED", obj(6))
    store.observe("ADDED", obj(5))
    assert len(store) == 0
    assert woken == []


def test_a_list_drops_what_it_would_have_if_it_existed(store, woken):
    store.observe(None, obj(5))
    store.observe(None, obj(6, name="two", uid="u2"))
    store.observe("ADDED", obj(12, name="new", uid="u3"))
    woken.clear()
    store.prune({ObjectKey("ns", "two")}, 10)
    known = store.keys()
    assert sorted(key.name for key in known) == ["new", "two"]
    assert woken == [("one", LOW)]
    assert store.counts["pruned"] == 1


def test_a_list_taken_during_a_write_is_judged_after_it(store):
    store.observe(None, obj(5))
    store.write_started(KEY)
    store.prune(set(), 7)
    assert KEY in store
    store.write_finished(KEY, {"phase": "Sent"}, obj(8, phase="Sent"))
    assert version(store) == 8
    store.write_started(KEY)
    store.prune(set(), 10)
    store.write_finished(KEY, {"phase": "Sent"}, obj(9, phase="Sent"))
    assert KEY not in store


def test_field_lists_are_dropped_but_who_wrote_when_is_kept(store):
    entry = {"manager": "kubernaut-notification", "subresource": "status", "time": "2026-01-01T00:00:00Z"}
    store.observe("ADDED", obj(5, managedFields=[{**entry, "fieldsV1": {"f:status": {}}}]))
    assert store.get(KEY)["metadata"]["managedFields"] == [entry]


def test_the_newest_version_counts_objects_and_lists(store):
    store.observe("ADDED", obj(5))
    store.observe("MODIFIED", obj(4))
    assert store.newest_version == 5
    store.prune({KEY}, 11)
    assert store.newest_version == 11


def test_outcomes_are_counted_per_resource():
    registry = CollectorRegistry()
    store = Store(NOTIFS, lambda *_: None, metrics=StoreMetrics(registry))
    store.observe("ADDED", obj(5))
    store.observe("ADDED", obj(5))
    labels = {"resource": "notificationrequests", "outcome": "duplicate"}
    assert registry.get_sample_value("kubernaut_store_events_total", labels) == 1
    assert registry.get_sample_value("kubernaut_store_objects", {"resource": "notificationrequests"}) == 1


@st.composite
def disordered_histories(draw):
    """One object's history (several lives under one name), delivered with repeats, in any order per life."""
    events, number = [], 1
    for life in range(draw(st.integers(1, 3))):
        steps = draw(st.integers(1, 4))
        for step in range(steps):
            number += 1
            events.append(("ADDED" if step == 0 else "MODIFIED", obj(number, uid=f"u{life}")))
        number += 1
        events.append(("DELETED", obj(number, uid=f"u{life}")))
    last_lives = draw(st.booleans())
    if last_lives:
        events.pop()
    repeated = events + draw(st.lists(st.sampled_from(events), max_size=8))
    return events, draw(st.permutations(repeated)), last_lives


@given(disordered_histories())
def test_any_order_of_a_history_ends_with_its_newest_object(case):
    events, delivered, last_lives = case
    store = Store(NOTIFS, lambda *_: None)
    for event in delivered:
        store.observe(*event)
    if last_lives:
        assert version(store) == int(events[-1][1]["metadata"]["resourceVersion"])
    else:
        assert store.get(KEY) is None

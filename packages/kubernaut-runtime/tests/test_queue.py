import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.queue import FAIR_SHARE, HIGH, LOW, NEWS, Priority, QueueMetrics, ShutDownError, WorkQueue
from kubernaut_status import ObjectKey
from kubernaut_testing.clock import FakeClock

A, B, C = (ObjectKey("ns", name) for name in "abc")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def queue(clock):
    return WorkQueue("test", clock=clock, backoff=Backoff(1, 300, jitter=0))


async def take_all(queue):
    taken = []
    while len(queue):
        taken.append(await queue.get())
        queue.done(taken[-1])
    return taken


async def test_a_key_is_queued_once_however_often_it_is_added(queue):
    for key in (A, B, A, A, B):
        queue.add(key)
    assert await take_all(queue) == [A, B]


async def test_a_key_that_is_worked_on_is_not_given_to_a_second_worker(queue):
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert await take_all(queue) == [A]


async def test_what_changed_goes_before_what_was_listed(queue):
    queue.add(A, LOW)
    queue.add(B, LOW)
    queue.add(C, HIGH)
    assert await take_all(queue) == [C, A, B]


async def test_a_high_add_lifts_a_key_that_waits_low_and_a_low_add_lowers_nothing(queue):
    for key in (A, B):
        queue.add(key, LOW)
    queue.add(B, HIGH)
    queue.add(B, LOW)
    assert await take_all(queue) == [B, A]


async def test_a_priority_survives_being_added_during_work(queue):
    queue.add(A, LOW)
    await queue.get()
    queue.add(A, LOW)
    queue.add(A, HIGH)
    queue.add(B, HIGH)
    queue.add(C, LOW)
    queue.done(A)
    assert await take_all(queue) == [B, A, C]


async def test_a_delayed_key_comes_at_its_time_and_not_before(queue, clock):
    queue.add_after(A, 30)
    await clock.advance(29.9)
    assert len(queue) == 0
    assert queue.due_in(A) == pytest.approx(0.1)
    await clock.advance(0.2)
    assert await take_all(queue) == [A]


async def test_an_earlier_delay_wins_and_a_later_one_changes_nothing(queue, clock):
    queue.add_after(A, 30)
    queue.add_after(A, 10)
    queue.add_after(A, 60)
    await clock.advance(10.1)
    assert await take_all(queue) == [A]
    await clock.advance(100)
    assert len(queue) == 0


async def test_many_delays_come_in_the_order_of_their_due_times(queue, clock):
    for key, delay in ((A, 3), (B, 1), (C, 2)):
        queue.add_after(key, delay)
    await clock.advance(5)
    assert await take_all(queue) == [B, C, A]


async def test_taking_a_key_drops_its_pending_delay(queue, clock):
    queue.add_after(A, 30)
    queue.add(A)
    assert await take_all(queue) == [A]
    await clock.advance(60)
    assert len(queue) == 0


async def test_a_delay_asked_for_during_the_pass_holds(queue, clock):
    queue.add(A)
    await queue.get()
    queue.add_after(A, 30)
    queue.done(A)
    await clock.advance(31)
    assert await take_all(queue) == [A]


async def test_a_clock_that_jumps_delays_nothing_and_hurries_nothing(queue, clock):
    queue.add_after(A, 30)
    clock.jump(3600)
    await clock.advance(29)
    assert len(queue) == 0
    clock.jump(-7200)
    await clock.advance(2)
    assert len(queue) == 1


async def test_a_failing_key_waits_longer_each_time_alone_until_it_is_forgotten(queue):
    assert [queue.add_rate_limited(A) for _ in range(4)] == [1, 2, 4, 8]
    assert queue.add_rate_limited(B) == 1
    assert queue.failures(A) == 4
    queue.forget(A)
    assert queue.failures(A) == 0
    assert queue.add_rate_limited(A) == 1


async def test_delays_that_were_dropped_do_not_pile_up(queue, clock):
    for number in range(2000):
        queue.add_after(B, 7200 - number)
        queue.add(A)
        await queue.get()
        queue.add_after(A, 3600)
        queue.done(A)
    assert len(queue._heap) < 300
    await clock.advance(3601)
    assert await take_all(queue) == [A]
    await clock.advance(3600)
    assert await take_all(queue) == [B]


async def test_getters_wait_without_spinning_and_each_key_wakes_one(queue):
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add(A)
    queue.add(B)
    done, pending = await asyncio.wait(getters, timeout=0.05)
    assert {task.result() for task in done} == {A, B}
    assert len(pending) == 1
    for task in pending:
        task.cancel()


async def test_a_getter_that_is_cancelled_loses_no_key(queue):
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    first.cancel()
    assert await asyncio.wait_for(second, 20) == A


async def test_a_key_that_is_given_back_keeps_its_priority(queue):
    queue.add(A, LOW)
    assert await queue.get() == A
    queue.give_back(A)
    queue.add(B, HIGH)
    assert await take_all(queue) == [B, A]


async def test_after_shut_down_the_rest_can_be_taken_and_then_it_ends(queue, clock):
    queue.add(A)
    queue.add_after(B, 5)
    waiting = asyncio.create_task(queue.get())
    assert await waiting == A
    late = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.shut_down()
    queue.add(C)
    with pytest.raises(ShutDownError):
        await late
    await clock.advance(10)
    assert len(queue) == 0


async def test_metrics_have_the_names_of_controller_runtime(clock):
    registry = CollectorRegistry()
    queue = WorkQueue("notification", clock=clock, metrics=QueueMetrics(registry))
    queue.add(A)
    queue.add(B)
    await clock.advance(2)
    await queue.get()
    queue.done(A)
    queue.add_rate_limited(A)

    def value(name):
        return registry.get_sample_value(name, {"name": "notification"})

    assert value("workqueue_depth") == 1
    assert value("workqueue_adds_total") == 2
    assert value("workqueue_retries_total") == 1
    assert value("workqueue_queue_duration_seconds_sum") == pytest.approx(2)
    assert value("workqueue_work_duration_seconds_count") == 1
    queue.shut_down()


async def test_counters_are_there_from_0_on_so_that_the_first_of_each_is_seen_as_an_increase(clock):
    registry = CollectorRegistry()
    WorkQueue("notification", clock=clock, metrics=QueueMetrics(registry))
    for name in ("workqueue_adds_total", "workqueue_retries_total", "workqueue_depth"):
        assert registry.get_sample_value(name, {"name": "notification"}) == 0


async def test_a_key_that_is_lifted_is_not_counted_as_added_again(clock):
    registry = CollectorRegistry()
    queue = WorkQueue("notification", clock=clock, metrics=QueueMetrics(registry))
    queue.add(A, LOW)
    queue.add(A, HIGH)
    assert registry.get_sample_value("workqueue_adds_total", {"name": "notification"}) == 1


async def test_the_age_of_what_is_worked_on_longest_is_shown(clock):
    registry = CollectorRegistry()
    queue = WorkQueue("notification", clock=clock, metrics=QueueMetrics(registry))
    longest = lambda: registry.get_sample_value(  # noqa: E731
        "workqueue_longest_running_processor_seconds", {"name": "notification"}
    )
    queue.add(A)
    queue.add(B)
    assert longest() == 0
    await queue.get()
    await clock.advance(3)
    await queue.get()
    await clock.advance(2)
    assert longest() == 5
    queue.done(A)
    assert longest() == 2
    queue.done(B)
    assert longest() == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "low", "after", "take", "done", "back"]), st.sampled_from([A, B, C])))
)
def test_no_key_is_lost_and_none_is_worked_on_twice_at_once(steps):
    async def run():
        clock = FakeClock()
        queue = WorkQueue(clock=clock)
        owed = set()
        held = set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                owed.add(key)
            elif step == "low":
                queue.add(key, LOW)
                owed.add(key)
            elif step == "after":
                queue.add_after(key, 1)
                owed.add(key)
            elif step == "take" and len(queue):
                taken = await queue.get()
                assert taken not in held
                held.add(taken)
                owed.discard(taken)
            elif step == "done" and key in held:
                held.discard(key)
                queue.done(key)
            elif step == "back" and key in held:
                held.discard(key)
                queue.give_back(key)
                owed.add(key)
        for key in held:
            queue.done(key)
        await clock.advance(2)
        taken = set(await take_all(queue))
        assert owed <= taken
        queue.shut_down()

    asyncio.run(run())


def by_first_letter(key):
    return {"c": Priority.CRITICAL, "h": Priority.HIGH, "m": Priority.MEDIUM, "l": Priority.LOW}[key.name[0]]


def named(*names):
    return [ObjectKey("ns", name) for name in names]


async def test_the_more_urgent_key_goes_first_and_equals_go_in_their_order(clock):
    queue = WorkQueue(clock=clock, priority=by_first_letter)
    for key in named("l1", "m1", "c1", "h1", "c2", "m2"):
        queue.add(key)
    assert await take_all(queue) == named("c1", "c2", "h1", "m1", "m2", "l1")


async def test_what_changed_goes_before_what_was_listed_unless_that_is_far_more_urgent(clock):
    queue = WorkQueue(clock=clock, priority=by_first_letter)
    for key in named("l1", "m1", "h1", "c1"):
        queue.add(key, LOW)
    for key in named("l2", "m2", "h2"):
        queue.add(key, HIGH)
    assert await take_all(queue) == named("h2", "c1", "m2", "h1", "l2", "m1", "l1")


async def test_a_delayed_key_comes_with_the_urgency_that_it_has_when_it_is_due(clock):
    urgent = {A: Priority.LOW}
    queue = WorkQueue(clock=clock, priority=lambda key: urgent.get(key, Priority.MEDIUM))
    queue.add_after(A, 5)
    urgent[A] = Priority.CRITICAL
    queue.add(B)
    await clock.advance(5)
    assert await take_all(queue) == [A, B]


async def test_an_unimportant_key_is_taken_although_urgent_ones_never_end(clock):
    """Time stands still: it is the number of keys that counts, not how long they wait."""
    queue = WorkQueue(clock=clock, priority=by_first_letter)
    (low,) = named("l")
    queue.add(low, LOW)
    for number in range(2 * FAIR_SHARE):
        queue.add(*named(f"c{number}"))
        if await queue.get() == low:
            break
    assert number == FAIR_SHARE - 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "list", "take"]), st.sampled_from("chml"), st.integers(0, 5))))
def test_every_key_is_taken_in_bounded_time_and_mostly_the_most_urgent_first(steps):
    """A queue against its own rule: highest level first, but for each eighth, which is the oldest of the fronts."""

    async def run():
        clock = FakeClock()
        queue = WorkQueue(clock=clock, priority=by_first_letter)
        waiting = {}
        limit = {}
        taken = arrivals = 0
        for step, letter, number in [*steps, *[("take", "c", 0)] * 30]:
            if step == "take":
                if not waiting:
                    continue
                taken += 1
                fronts = {}
                for key, (level, arrival, joined) in waiting.items():
                    if level not in fronts or joined < fronts[level][0]:
                        fronts[level] = (joined, arrival, key)
                best = max(fronts) if taken % FAIR_SHARE else min(fronts, key=lambda level: fronts[level][1])
                key = await queue.get()
                queue.done(key)
                assert key == fronts[best][2]
                assert taken <= limit.pop(key)
                del waiting[key]
                continue
            (key,) = named(f"{letter}{number}")
            level = by_first_letter(key) + (NEWS if step == "add" else 0)
            queue.add(key, HIGH if step == "add" else LOW)
            arrivals += 1
            if key not in waiting or waiting[key][0] < level:
                waiting[key] = (level, waiting[key][1] if key in waiting else arrivals, arrivals)
                limit[key] = taken + FAIR_SHARE * len(waiting)
        assert not waiting
        queue.shut_down()

    asyncio.run(run())

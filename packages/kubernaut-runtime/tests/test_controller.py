import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.controller import Controller, ControllerMetrics, Result, leave_worker
from kubernaut_runtime.queue import LOW, WorkQueue
from kubernaut_status import ConflictError, ForbiddenError, ObjectKey, TooManyRequestsError
from kubernaut_testing.clock import FakeClock

A, B, C = (ObjectKey("ns", name) for name in "abc")


class Passes:
    """A reconciler that records its passes; `script` says per key what each pass does."""

    def __init__(self):
        self.calls = []
        self.script = {}
        self.active = 0
        self.most_active = 0

    async def reconcile(self, key):
        self.calls.append(key)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            step = self.script.get(key)
            if isinstance(step, list):
                step = step.pop(0) if step else None
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Future):
                await step
            if isinstance(step, asyncio.Event):
                await step.wait()
                step = None
            return Result(step)
        finally:
            self.active -= 1


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def passes():
    return Passes()


@pytest.fixture
def queue(clock):
    return WorkQueue("test", clock=clock, backoff=Backoff(1, 300, jitter=0))


@pytest.fixture
async def start(clock, passes, queue):
    running = []

    async def start(**options):
        controller = Controller("test", passes, queue, clock=clock, **options)
        running.append(asyncio.create_task(controller.run()))
        await clock.advance(0)
        return controller

    yield start
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    queue.shut_down()


async def test_a_key_is_reconciled_once_per_add(start, queue, passes, clock):
    await start()
    queue.add(A)
    queue.add(A)
    await clock.advance(60)
    assert passes.calls == [A]


async def test_what_a_pass_asks_for_is_what_happens_next(start, queue, passes, clock):
    passes.script[A] = [30.0, None]
    await start()
    queue.add(A)
    await clock.advance(29.9)
    assert passes.calls == [A]
    await clock.advance(0.2)
    assert passes.calls == [A, A]
    await clock.advance(3600)
    assert passes.calls == [A, A]


async def test_an_old_due_time_does_not_wake_a_key_that_was_dealt_with(start, queue, passes, clock):
    passes.script[A] = [30.0, None]
    await start()
    queue.add(A)
    await clock.advance(10)
    queue.add(A)
    await clock.advance(60)
    assert passes.calls == [A, A]


async def test_a_poison_object_waits_longer_each_time_and_stops_nobody(start, queue, passes, clock, caplog):
    passes.script[A] = [RuntimeError("bad spec") for _ in range(3)]
    await start()
    with caplog.at_level(logging.ERROR):
        queue.add(A)
        queue.add(B)
        await clock.advance(0)
        assert passes.calls == [A, B]
        await clock.advance(7.5)
    assert passes.calls == [A, B, A, A, A]
    records = [record.getMessage() for record in caplog.records]
    assert records == [f"cannot reconcile test ns/a: RuntimeError: bad spec; again in {wait}.0 s" for wait in (1, 2, 4)]
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False]
    assert queue.failures(A) == 0


async def test_a_lost_conflict_race_is_retried_quietly(start, queue, passes, clock, caplog):
    registry = CollectorRegistry()
    passes.script[A] = [ConflictError(409, "the object has been modified")]
    await start(metrics=ControllerMetrics(registry))
    with caplog.at_level(logging.INFO):
        queue.add(A)
        await clock.advance(1.1)
    assert passes.calls == [A, A]
    assert caplog.records == []
    labels = {"controller": "test", "result": "requeue"}
    assert registry.get_sample_value("controller_runtime_reconcile_total", labels) == 1
    assert not registry.get_sample_value("controller_runtime_reconcile_errors_total", {"controller": "test"})


async def test_a_busy_server_is_given_the_time_that_it_asked_for(start, queue, passes, clock):
    passes.script[A] = [TooManyRequestsError(429, "later", retry_after=20.0)]
    await start()
    queue.add(A)
    await clock.advance(19.9)
    assert passes.calls == [A]
    await clock.advance(0.2)
    assert passes.calls == [A, A]


async def test_an_answer_of_the_api_server_is_told_in_one_line(start, queue, passes, clock, caplog):
    passes.script[A] = [ForbiddenError(403, 'widgets.example.com "a" is forbidden')]
    await start()
    queue.add(A)
    await clock.advance(0)
    (record,) = caplog.records
    assert 'widgets.example.com "a" is forbidden' in record.getMessage()
    assert record.exc_info is None


async def test_a_reconciler_that_returns_nothing_has_failed_and_loses_no_key(queue, clock, caplog):
    """A forgotten `return DONE` must be seen at once, and must not leave the object alone."""
    passes = []

    class Forgetful:
        async def reconcile(self, key):
            passes.append(key)

    running = asyncio.create_task(Controller("test", Forgetful(), queue, clock=clock).run())
    queue.add(A)
    await clock.advance(1.1)
    running.cancel()
    assert passes == [A, A]
    assert "cannot reconcile test ns/a: AttributeError" in caplog.text


async def test_a_pass_that_awaits_something_cancelled_has_failed_and_makes_no_loop(start, queue, passes, clock, caplog):
    never = asyncio.get_running_loop().create_future()
    never.cancel()
    passes.script[A] = [never]
    controller = await start()
    queue.add(A)
    await clock.advance(0.9)
    assert (passes.calls, controller.running) == ([A], frozenset())
    assert "cannot reconcile test ns/a: CancelledError" in caplog.text
    await clock.advance(0.2)
    assert passes.calls == [A, A]


async def test_a_key_never_runs_twice_at_once_and_others_run_beside_it(start, queue, passes, clock):
    gate = passes.script[A] = asyncio.Event()
    controller = await start(workers=2)
    queue.add(A)
    await clock.advance(0)
    queue.add(A)
    queue.add(B)
    await clock.advance(0)
    assert passes.calls == [A, B]
    assert controller.running == {A}
    gate.set()
    await clock.advance(0)
    assert passes.calls == [A, B, A]


async def test_no_more_passes_run_at_once_than_there_are_workers(start, queue, passes, clock):
    gate = asyncio.Event()
    passes.script = dict.fromkeys((A, B, C), gate)
    await start(workers=2)
    for key in (A, B, C):
        queue.add(key)
    await clock.advance(0)
    assert passes.active == 2
    gate.set()
    await clock.advance(0)
    assert passes.most_active == 2
    assert passes.calls == [A, B, C]


async def test_a_standby_reconciles_nothing_and_dedupes_what_comes(start, queue, passes, clock):
    controller = await start(leading=False)
    for _ in range(5):
        queue.add(A)
    await clock.advance(60)
    assert passes.calls == []
    controller.resume()
    await clock.advance(0)
    assert passes.calls == [A]
    controller.pause()
    queue.add(B)
    await clock.advance(60)
    assert passes.calls == [A]


async def test_no_pass_begins_behind_the_fence_and_no_key_is_lost(start, queue, passes, clock):
    allowed = False
    await start(fence=lambda: allowed)
    queue.add(A, LOW)
    await clock.advance(10)
    assert passes.calls == []
    allowed = True
    await clock.advance(1.1)
    assert passes.calls == [A]


async def test_a_lost_lease_cancels_passes_and_their_keys_come_back_with_the_leadership(start, queue, passes, clock):
    passes.script[A] = [asyncio.Event(), None]
    controller = await start(workers=2)
    queue.add(A)
    await clock.advance(0)
    controller.pause()
    ending = asyncio.create_task(controller.abandon(2))
    await clock.advance(1.9)
    assert not ending.done()
    await clock.advance(0.2)
    assert await ending is False
    assert passes.active == 0
    await clock.advance(10)
    assert passes.calls == [A]
    controller.resume()
    await clock.advance(0)
    assert passes.calls == [A, A]


async def test_a_drain_lets_the_running_pass_end_and_begins_no_other(start, queue, passes, clock):
    gate = passes.script[A] = asyncio.Event()
    controller = await start()
    queue.add(A)
    queue.add(B)
    await clock.advance(0)
    draining = asyncio.create_task(controller.drain(25))
    await clock.advance(5)
    assert not draining.done()
    gate.set()
    await clock.advance(0)
    assert await draining is True
    assert passes.calls == [A]


async def test_a_drain_cancels_what_does_not_end_and_run_returns(clock, passes, queue):
    passes.script[A] = asyncio.Event()
    controller = Controller("test", passes, queue, clock=clock)
    running = asyncio.create_task(controller.run())
    queue.add(A)
    await clock.advance(0)
    draining = asyncio.create_task(controller.drain(25))
    await clock.advance(25.1)
    assert await draining is False
    await asyncio.wait_for(running, 20)
    assert passes.active == 0
    assert len(queue) == 1


async def test_a_pass_cancelled_before_its_first_step_keeps_its_key(start, queue, passes, clock):
    controller = await start(workers=2)
    queue.add(A)
    for _ in range(20):
        await asyncio.sleep(0)
        if pending := [task for task in asyncio.all_tasks() if task.get_name() == "test ns/a"]:
            break
    assert (controller.running, passes.calls) == ({A}, [])
    pending[0].cancel()
    await clock.advance(0)
    assert passes.calls == [A]
    assert queue.working == frozenset()


async def test_metrics_have_the_names_of_controller_runtime(start, queue, passes, clock):
    registry = CollectorRegistry()
    passes.script = {A: [5.0], B: [ValueError("x")]}
    await start(metrics=ControllerMetrics(registry), workers=3)
    for key in (A, B, C):
        queue.add(key)
    await clock.advance(0)
    queue.add(C)
    await clock.advance(0)

    def value(name, **labels):
        return registry.get_sample_value(name, {"controller": "test", **labels})

    results = {r: value("controller_runtime_reconcile_total", result=r) for r in ("success", "requeue_after", "error")}
    assert results == {"success": 2, "requeue_after": 1, "error": 1}
    assert value("controller_runtime_reconcile_errors_total") == 1
    assert value("controller_runtime_reconcile_time_seconds_count") == 4
    assert value("controller_runtime_active_workers") == 0
    assert value("controller_runtime_max_concurrent_reconciles") == 3


async def test_counters_are_there_from_0_on_so_that_the_first_of_each_is_seen_as_an_increase(start):
    registry = CollectorRegistry()
    await start(metrics=ControllerMetrics(registry))
    assert registry.get_sample_value("controller_runtime_reconcile_errors_total", {"controller": "test"}) == 0
    for result in ("success", "requeue_after", "requeue", "error"):
        labels = {"controller": "test", "result": result}
        assert registry.get_sample_value("controller_runtime_reconcile_total", labels) == 0


def test_a_controller_without_workers_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Controller("test", Passes(), WorkQueue(), workers=0)


async def test_a_drain_gives_the_running_pass_its_time_while_another_worker_is_idle(start, queue, passes, clock):
    gate = passes.script[A] = asyncio.Event()
    controller = await start(workers=2)
    queue.add(A)
    await clock.advance(0)
    draining = asyncio.create_task(controller.drain(25))
    await clock.advance(5)
    assert (controller.running, draining.done()) == ({A}, False)
    gate.set()
    await clock.advance(0)
    assert await draining is True


async def test_a_drain_of_an_idle_controller_ends_its_run_without_an_error(clock, passes, queue):
    controller = Controller("test", passes, queue, clock=clock)
    running = asyncio.create_task(controller.run())
    await clock.advance(0)
    assert await controller.drain(25) is True
    await asyncio.wait_for(running, 20)


AT_MOST = 10


class Leaving(Passes):
    """A reconciler whose passes over keys that begin with "a" leave their workers before they wait."""

    def __init__(self):
        super().__init__()
        self.left = []

    async def reconcile(self, key):
        if key.name.startswith("a"):
            self.left.append(leave_worker(at_most=AT_MOST))
        return await super().reconcile(key)


@pytest.fixture
def leaving():
    return Leaving()


@pytest.fixture
async def start_leaving(clock, leaving, queue):
    controller = Controller("test", leaving, queue, clock=clock)
    task = asyncio.create_task(controller.run())
    await clock.advance(0)
    yield controller
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    queue.shut_down()


async def test_a_pass_that_left_its_worker_goes_on_and_the_worker_takes_the_next_key(
    start_leaving, queue, leaving, clock
):
    gate = leaving.script[A] = asyncio.Event()
    queue.add(A)
    queue.add(B)
    await clock.advance(0)
    assert (leaving.calls, start_leaving.running) == ([A, B], {A})
    queue.add(A)
    queue.add(C)
    await clock.advance(0)
    assert leaving.calls == [A, B, C], "a key that is away is not given to a second worker"
    gate.set()
    await clock.advance(0)
    assert leaving.calls == [A, B, C, A]


async def test_no_more_passes_leave_than_the_bound_allows_and_workers_come_back_one_for_one(
    start_leaving, queue, leaving, clock
):
    keys = [ObjectKey("ns", f"a{number}") for number in range(AT_MOST + 3)]
    gates = {key: asyncio.Event() for key in keys}
    leaving.script.update(gates)
    for key in keys:
        queue.add(key)
    await clock.advance(0)
    assert leaving.left == [True] * AT_MOST + [False], "the next one kept the only worker"
    gates[keys[0]].set()
    await clock.advance(0)
    assert len(leaving.calls) == AT_MOST + 1, "one that is away holds no worker that it could give back"
    gates[keys[AT_MOST]].set()
    await clock.advance(0)
    assert leaving.left[AT_MOST:] == [False, True, False]
    assert leaving.active == AT_MOST + 1


async def test_a_lost_lease_and_a_drain_hold_for_passes_that_are_away(start_leaving, queue, leaving, clock):
    leaving.script[A] = asyncio.Event()
    queue.add(A)
    await clock.advance(0)
    start_leaving.pause()
    ending = asyncio.create_task(start_leaving.abandon(2))
    await clock.advance(2.1)
    assert await ending is False
    assert (leaving.active, len(queue)) == (0, 1)
    start_leaving.resume()
    await clock.advance(0)
    assert leaving.calls == [A, A], "there is exactly one worker again"
    draining = asyncio.create_task(start_leaving.drain(25))
    await clock.advance(5)
    assert not draining.done()
    leaving.script[A].set()
    await clock.advance(0)
    assert await draining is True


def test_outside_of_a_pass_there_is_no_worker_to_leave():
    assert leave_worker() is False

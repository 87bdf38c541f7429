"""An update that is cut off at any await leaves nothing behind: no lock, no held key, no half-told write."""

import asyncio
from collections import Counter
from typing import Any

from widget_shop import PHASES, WIDGETS, Shop, set_status

from kubernaut_status import ObjectKey, Outcome, OwnWrites, Request, Response, StatusManager
from kubernaut_testing.proxy import FaultProxy, Rule
from kubernaut_testing.proxy.actions import Delay
from kubernaut_testing.waiting import eventually_async


class Told(OwnWrites):
    """Counts the writes that began and those that ended."""

    def __init__(self) -> None:
        super().__init__()
        self.open: Counter[ObjectKey] = Counter()

    def write_started(self, key: ObjectKey) -> None:
        self.open[key] += 1

    def write_finished(self, key: ObjectKey, sent_status: Any, response: Any) -> None:
        self.open[key] -= 1
        super().write_finished(key, sent_status, response)


def widget(version: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": "w", "uid": "u", "resourceVersion": str(version)}, "status": {}}


class Moving:
    """An object that moves under the first two writes, and one lost answer."""

    def __init__(self) -> None:
        self.version = 3

    async def send(self, request: Request) -> Response:
        await asyncio.sleep(0)
        if request.method == "GET":
            return Response(200, widget(self.version))
        assert isinstance(request.body, dict)
        if request.body["metadata"]["resourceVersion"] != str(self.version):
            return Response(409, {})
        if self.version < 5:
            self.version += 1
            return Response(503, {})
        return Response(200, {**widget(6), "status": request.body["status"]})


async def test_cut_off_at_any_await_the_lock_is_free_and_no_write_is_open() -> None:
    async def pause(_: float) -> None:
        await asyncio.sleep(0)

    for steps in range(1, 200):
        told = Told()
        manager = StatusManager(Moving(), WIDGETS, phases=PHASES, writes=told, sleep=pause)
        task = asyncio.create_task(manager.atomic_status_update(widget(1), set_status(phase="Pending")))
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert set(told.open.values()) <= {0}
        async with asyncio.timeout(1):
            again = await manager.atomic_status_update(widget(1), set_status(phase="Pending"))
        assert again.ok
    assert task.result().outcome is Outcome.WRITTEN
    assert steps > 10, "the update must have been cut off at several awaits"


async def test_a_write_that_landed_after_its_update_was_cut_off_is_news(
    shop: Shop, fault_proxy: FaultProxy, faults: Any
) -> None:
    widget = shop.create("w")
    manager = shop.manager(client=faults.client)
    late = fault_proxy.add(Rule(Delay(2, after=True), verb="patch", first=1))
    task = asyncio.create_task(manager.atomic_status_update(widget, set_status(phase="Pending")))
    await eventually_async(lambda: late.hits == 1 and "status" in shop.get("w"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not manager.is_echo(shop.get("w"))
    commit = await manager.atomic_status_update(widget, set_status(phase="Pending"))
    assert commit.outcome is Outcome.UNCHANGED
    assert shop.requests("w") == ["patch 200", "patch 409", "get 200"]

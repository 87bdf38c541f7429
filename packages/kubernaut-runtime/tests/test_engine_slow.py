"""The watch engine on an API server that is slow, not broken (faults: seconds per call)."""

from kubernaut_runtime.queue import HIGH
from kubernaut_testing.proxy import Rule
from kubernaut_testing.proxy.actions import Delay
from kubernaut_testing.waiting import eventually_async


async def test_an_api_server_that_answers_late_is_waited_for(watching, shelf, fault_proxy, through_faults, ledger):
    """Discovery takes longer than the first sweep here; kopf must not be restarted for that, again and again."""
    shelf.create("old")
    sample = watching(via=through_faults)
    fault_proxy.add(Rule(Delay(0.9)))
    await sample.start()
    await eventually_async(lambda: ledger.entries(user_agent=sample.agent, verb="watch"), timeout=15)
    assert sample.engine.restarts == 0
    shelf.create("late")
    await eventually_async(lambda: ("late", HIGH) in sample.woken)

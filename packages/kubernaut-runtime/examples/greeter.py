"""A whole operator: greets each Greeting once, with one status write, and is asleep otherwise.

Run: `python greeter.py --kubeconfig FILE [--config FILE]`, after `kubectl apply -f greetings.yaml`.
"""

import sys
from typing import Any

from kubernaut_runtime import (
    ConfigModel,
    ControllerConfig,
    Operator,
    PositiveDuration,
    Result,
    Runtime,
    Store,
    run_operator,
)
from kubernaut_runtime.checked import watches
from kubernaut_status import ObjectKey, PhaseMachine, Resource

GREETINGS = Resource(group="hello.example.com", version="v1", plural="greetings", kind="Greeting")
PHASES = PhaseMachine({"": ["Greeted"]}, terminal=["Greeted"])


class Greeter(ConfigModel):
    salute: str = "Hello"
    patience: PositiveDuration = 0.1


class GreeterConfig(ControllerConfig):
    greeter: Greeter = Greeter()


class Greeting:
    def __init__(self, runtime: Runtime[GreeterConfig], store: Store) -> None:
        self._config = runtime.config.greeter
        self._store = store
        self._events = runtime.events("greeter", GREETINGS)
        self._manager = runtime.status_manager(store, phases=PHASES)

    async def reconcile(self, key: ObjectKey) -> Result:
        greeting = self._store.get(key)
        if greeting is None or (greeting.get("status") or {}).get("phase") == "Greeted":
            return Result()
        if not greeting["spec"].get("name"):
            return Result(requeue_after=self._config.patience)

        def greet(fresh: dict[str, Any]) -> None:
            fresh["status"] = {"phase": "Greeted", "text": f"{self._config.salute}, {fresh['spec']['name']}!"}

        await self._manager.atomic_status_update(dict(greeting), greet)
        self._events.normal(greeting, "Greeted", f"Greeted {greeting['spec']['name']}")
        return Result()


async def setup(runtime: Runtime[GreeterConfig]) -> None:
    runtime.add_kind(GREETINGS, lambda store: Greeting(runtime, store))


OPERATOR = Operator(
    name="greeter", version="1.0.0", config=GreeterConfig, setup=setup, facts=lambda config: [watches(GREETINGS)]
)

if __name__ == "__main__":
    sys.exit(run_operator(OPERATOR))

"""Fixtures: a made-up kind on the real API server, and a watch engine with all that it feeds."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.connection import Connection
from kubernaut_runtime.engine import WatchEngine, WatchTimes
from kubernaut_runtime.queue import HIGH, Priority
from kubernaut_runtime.store import Store
from kubernaut_runtime.sweep import Sweep
from kubernaut_status import ApiCalls, ObjectKey, Resource
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.proxy import FaultProxy
from kubernaut_testing.waiting import eventually_async

GADGETS = Resource("example.org", "v1", "gadgets", "Gadget")


def crd_of(resource: Resource) -> dict[str, Any]:
    """A CRD with a status subresource that takes any content."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {"plural": resource.plural, "kind": resource.kind, "singular": resource.kind.lower()},
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


class Shelf:
    """The gadgets of one namespace, as somebody else changes them."""

    def __init__(self, plane: ControlPlane, namespace: str, resource: Resource = GADGETS) -> None:
        self.plane = plane
        self.namespace = namespace
        self.resource = resource

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(self.namespace, name)

    def create(self, name: str, **metadata: Any) -> dict[str, Any]:
        return self.plane.api.create(
            {
                "apiVersion": self.resource.api_version,
                "kind": self.resource.kind,
                "metadata": {"name": name, "namespace": self.namespace, **metadata},
                "spec": {"size": 1},
            }
        )

    def change(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        path = self.resource.object_path(self.key(name))
        return self.plane.api.request("PATCH", path, body, content_type="application/merge-patch+json")

    def delete(self, name: str) -> None:
        self.plane.api.delete(self.resource.api_version, self.resource.kind, self.namespace, name)


class Watching:
    """A watch engine, its sweep and its stores, in a task of their own; `woken` are the keys that had news."""

    def __init__(
        self, connection: Connection, namespace: str, resources: list[Resource], options: dict[str, Any]
    ) -> None:
        self.agent = f"kubernaut-sample/{namespace}"
        self.woken: list[tuple[str, Priority]] = []
        self.registry = CollectorRegistry()
        self.calls = ApiCalls("sample", self.registry)
        self.client = connection.client(self.agent, self.calls)
        self.on_change: Callable[[ObjectKey, Priority], None] = lambda key, priority: self.woken.append(
            (key.name, priority)
        )
        scopes: dict[Resource, str] = options.pop("scopes", {})
        self.stores = [
            Store(resource, lambda *news: self.on_change(*news), namespace=scopes.get(resource))
            for resource in resources
        ]
        self.store = self.stores[0]
        times = {
            "server_timeout": 5.0,
            "inactivity": 7.0,
            "reopen": 0.1,
            "first_sweep": 10.0,  # on a busy machine kopf takes seconds until it lists
            "retry": Backoff(0.1, 0.5),
            "restart": Backoff(0.1, 0.5),
        }
        times |= options.pop("times", {})
        sweep = {"retry": Backoff(0.1, 0.5), "resync_period": 600.0} | options
        self.sweep = Sweep(self.client, self.stores, namespace=namespace, registry=self.registry, **sweep)
        self.engine = WatchEngine(
            connection,
            self.stores,
            self.sweep,
            namespace=namespace,
            user_agent=self.agent,
            calls=self.calls,
            times=WatchTimes(**times),
            registry=self.registry,
        )
        self.task: asyncio.Task[None] | None = None

    def _note(self, key: ObjectKey, priority: Priority) -> None:
        self.woken.append((key.name, priority))

    async def start(self, synced: bool = True) -> None:
        self.task = asyncio.create_task(self.engine.run())
        if synced:
            waiting = asyncio.create_task(self.engine.wait_synced())
            await asyncio.wait({self.task, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            if self.task.done():
                self.task.result()
            assert waiting.done(), "the stores should be synced within 30 s"

    async def assert_watched(self, shelf: Shelf, name: str) -> None:
        """Wait until the watch tells of a change; one that came before it was open is told by a list."""

        def heard() -> bool:
            shelf.change(name, {"metadata": {"labels": {"change": uuid.uuid4().hex}}})
            return (name, HIGH) in self.woken

        await eventually_async(heard, interval=0.2)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


@pytest.fixture(scope="session")
def gadgets(control_plane: ControlPlane) -> Resource:
    """The kind, installed."""
    control_plane.apply(crd_of(GADGETS))
    return GADGETS


@pytest.fixture
def shelf(control_plane: ControlPlane, gadgets: Resource, namespace: str) -> Shelf:
    return Shelf(control_plane, namespace)


@pytest.fixture
def connection(control_plane: ControlPlane) -> Connection:
    return Connection.from_kubeconfig(control_plane.kubeconfig)


@pytest.fixture
def through_faults(control_plane: ControlPlane, fault_proxy: FaultProxy) -> Connection:
    """The connection that goes through the fault proxy."""
    return Connection.from_kubeconfig(fault_proxy.kubeconfig_for(control_plane.kubeconfig))


@pytest.fixture
async def watching(
    control_plane: ControlPlane, connection: Connection, gadgets: Resource, namespace: str
) -> AsyncIterator[Callable[..., Watching]]:
    """Makes a `Watching`; options are those of `Sweep`, `times` those of `WatchTimes`, `via` another connection.

    `scopes` are the namespaces of kinds that have one of their own.
    """
    made: list[Watching] = []

    here = namespace

    def make(*resources: Resource, via: Connection = connection, namespace: str = here, **options: Any) -> Watching:
        made.append(Watching(via, namespace, list(resources) or [gadgets], options))
        return made[-1]

    yield make
    for one in made:
        await one.stop()
        await one.client.close()


@pytest.fixture
def shelf_on() -> Callable[[ControlPlane, str], Shelf]:
    """The gadgets of another control plane; installs the kind there."""

    def make(plane: ControlPlane, namespace: str) -> Shelf:
        plane.apply(crd_of(GADGETS))
        return Shelf(plane, plane.create_namespace(namespace))

    return make


@pytest.fixture
def install(control_plane: ControlPlane) -> Callable[[Resource], None]:
    """Installs the CRD of a kind."""
    return lambda resource: control_plane.apply(crd_of(resource)) and None


@pytest.fixture
def shelf_of(control_plane: ControlPlane, namespace: str) -> Callable[[Resource], Shelf]:
    return lambda resource: Shelf(control_plane, namespace, resource)

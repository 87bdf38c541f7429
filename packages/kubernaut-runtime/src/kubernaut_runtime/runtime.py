"""What a service gets while it is set up, and what it hands over: kinds, checks, files, tasks, last words.

`setup(runtime)` runs once, before anything is watched or reconciled. It builds the service from `runtime`'s parts and
registers what the process then runs. Nothing registered here starts before `setup` has returned.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry

from kubernaut_status import ApiCalls, Object, ObjectKey, PhaseMachine, Resource, StatusManager, StatusMetrics
from kubernaut_status.aiohttp_client import AiohttpClient

from .backoff import Backoff
from .clock import Clock, SystemClock
from .config import LoadedConfig, parse_config
from .connection import Connection
from .controller import Controller, ControllerMetrics, Reconciler, leave_worker
from .events import EventMetrics, EventRecorder, ObjectReference
from .logs import set_level
from .metrics import new_registry
from .probes import Check, Checks
from .queue import DEFAULT_BACKOFF, Priority, QueueMetrics, WorkQueue
from .reload import FileWatcher, ReloadCallback, ReloadMetrics
from .sections import ControllerConfig
from .store import Store, StoreMetrics

log = logging.getLogger(__name__)

_LONG_WAIT = 0.1

C = TypeVar("C", bound=ControllerConfig)

OnChange = Callable[[ObjectKey, Priority], None]
"""Hears which object changed, and how urgent that is."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something that runs as long as the process; its end before that is a fault."""

    name: str
    work: Callable[[], Coroutine[Any, Any, None]]


class Runtime(Generic[C]):
    """One operator process, as its service sees it.

    Public attributes: `config` and `config_path` (None without a file), `namespace` (whose objects are handled),
    `connection`, `client` (for all of the service's requests), `calls` and `status_metrics` (for other clients and for
    status managers), `registry`, `clock`, `identity` (unique per process), `user_agent`, `leader_election`,
    `acting_since` (when this process started, or became leader: what was announced for before may be another's doing).
    """

    def __init__(
        self,
        *,
        name: str,
        version: str,
        loaded: LoadedConfig[C],
        config_path: Path | None,
        namespace: str,
        connection: Connection,
        identity: str,
        clock: Clock | None = None,
    ) -> None:
        self.name, self.version = name, version
        self.config: C = loaded.config
        self.config_path = config_path
        self.namespace = namespace
        self.connection = connection
        self.identity = identity
        self.clock: Clock = clock or SystemClock()
        self.user_agent = f"kubernaut-{name}/{version}"
        self.leader_election = loaded.config.controller.leader_election
        self.registry: CollectorRegistry = new_registry(name, version)
        self.calls = ApiCalls(name, self.registry)
        self.status_metrics = StatusMetrics(name, self.registry)
        self.client: AiohttpClient = connection.client(self.user_agent, self.calls)
        self.liveness = Checks()
        self.readiness = Checks()
        self.stores: list[Store] = []
        self.controllers: list[Controller] = []
        self.recorders: list[EventRecorder] = []
        self.tasks: list[Task] = []
        self.watchers: list[FileWatcher] = []
        self.shutdown_callbacks: list[tuple[str, Callable[[], Awaitable[None] | None]]] = []
        self.acting_since = self.clock.now()
        self._is_leader: Callable[[], bool] = lambda: True
        self._loaded = loaded
        self._metrics = (StoreMetrics(self.registry), QueueMetrics(self.registry), ControllerMetrics(self.registry))
        self._event_metrics = EventMetrics(self.registry)
        self._reload_metrics = ReloadMetrics(self.registry)
        self._pod_events: EventRecorder | None = None

    def fence(self) -> bool:
        """Return whether this process may still begin something: until it is to end, with leader election only while
        its lease is sure."""
        return self._is_leader()

    def fence_by(self, is_leader: Callable[[], bool]) -> None:
        """Let `is_leader` answer `fence` from now on."""
        self._is_leader = is_leader

    def add_kind(
        self,
        resource: Resource,
        reconciler: Reconciler | Callable[[Store], Reconciler] | None = None,
        *,
        namespace: str | None = None,
        workers: int | None = None,
        backoff: Backoff = DEFAULT_BACKOFF,
        on_change: OnChange | None = None,
        priority: Callable[[Object], Priority] | None = None,
    ) -> Store:
        """Watch `resource`; return its store.

        Watched is `namespace` (default: the controller's; empty: all), or everything if the kind lives outside of
        namespaces.

        With a `reconciler` (or a function that makes it from the store) its keys are queued and reconciled by
        `workers` (default: `controller.maxConcurrentReconciles`), failures waiting by `backoff`. `on_change` hears of
        every change as well; a kind of children has only that, and queues the owner's key. `priority` says how urgent
        an object is (see `queue`); it is called often, with an object that it must not change, and must not raise.
        """
        listeners: list[OnChange] = [on_change] if on_change is not None else []
        stores, queues, controllers = self._metrics
        store = Store(
            resource, lambda key, priority: _tell(listeners, key, priority), namespace=namespace, metrics=stores
        )
        self.stores.append(store)
        if reconciler is None:
            return store
        made = reconciler(store) if callable(reconciler) else reconciler

        def urgency(key: ObjectKey) -> Priority:
            known = store.get(key)
            return Priority.MEDIUM if priority is None or known is None else priority(known)

        queue = WorkQueue(resource.plural, backoff=backoff, clock=self.clock, metrics=queues, priority=urgency)
        listeners.append(queue.add)
        self.controllers.append(
            Controller(
                resource.plural,
                made,
                queue,
                workers=workers or self.config.controller.max_concurrent_reconciles,
                clock=self.clock,
                fence=self.fence,
                metrics=controllers,
                leading=not self.leader_election,
            )
        )
        return store

    def status_manager(
        self, store: Store, *, phases: PhaseMachine, identities: Mapping[str, Sequence[str]] | None = None
    ) -> StatusManager:
        """Return the writer of the status of `store`'s kind, in the configured mode (`controller.statusUpdateMode`)."""
        return StatusManager(
            self.client,
            store.resource,
            phases=phases,
            identities=identities,
            writes=store,
            field_manager=f"kubernaut-{self.name}",
            mode=self.config.controller.status_update_mode,
            refetch=self.config.controller.status_refetch,
            metrics=self.status_metrics,
            sleep=self._wait_for_server,
        )

    async def _wait_for_server(self, seconds: float) -> None:
        """Wait before a status write is sent again; a long wait holds no worker, so that other objects go on."""
        if seconds >= _LONG_WAIT:
            leave_worker()
        await self.clock.sleep(seconds)

    def queue(self, resource: Resource) -> WorkQueue:
        """Return the queue of a kind that was added with a reconciler; KeyError if it was not."""
        for controller in self.controllers:
            if controller.name == resource.plural:
                return controller.queue
        raise KeyError(f"cannot queue {resource.plural}: add_kind was not called for it with a reconciler")

    def events(self, component: str, resource: Resource | None = None) -> EventRecorder:
        """Return a recorder of Events of `component`; `resource` names the kind of objects that do not."""
        recorder = EventRecorder(
            self.client,
            component=component,
            instance=self.identity,
            resource=resource,
            metrics=self._event_metrics,
            clock=self.clock,
        )
        self.recorders.append(recorder)
        return recorder

    def add_liveness(self, name: str, check: Check) -> None:
        """Have `/healthz` ask `check`. It is called from another thread and must not block."""
        self.liveness.add(name, check)

    def add_readiness(self, name: str, check: Check) -> None:
        """Have `/readyz` ask `check`. It is called from another thread and must not block."""
        self.readiness.add(name, check)

    def add_task(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work()` beside everything else until the process ends. If it ends earlier, the process does."""
        self.tasks.append(Task(name, work))

    async def watch_file(self, path: Path, callback: ReloadCallback, *, required: bool = True) -> FileWatcher:
        """Call `callback` with the file's content now and after each change (a folder: with b""); return the watcher.

        What it raises now ends the start, unless the file is not `required`; what it raises later leaves the last good
        content in force, and so does a file that cannot be read.
        """
        watcher = FileWatcher(path, callback, metrics=self._reload_metrics, on_failure=self._reload_failed)
        await watcher.load(required=required)
        self.watchers.append(watcher)
        return watcher

    def on_shutdown(self, callback: Callable[[], Awaitable[None] | None], name: str = "") -> None:
        """Call `callback` when all work has ended (flush audit); objects must not be written then: the lease is gone.

        If it raises, the process ends with exit code 1.
        """
        self.shutdown_callbacks.append((name or getattr(callback, "__qualname__", "callback"), callback))

    def watch_config(self, model: type[C]) -> None:
        """Watch the config file; called by the process."""
        if self.config_path is None:
            return
        path = self.config_path

        def changed(content: bytes) -> None:
            loaded = parse_config(content, path, model)
            for warning in loaded.warnings:
                log.warning(warning)
            before, self.config = self.config, loaded.config
            set_level(loaded.config.logging.level)
            same = before.model_copy(update={"logging": loaded.config.logging}) == loaded.config
            if not same:
                log.warning("the config file changed; only the log level applies now, the rest after a restart")

        self.watchers.append(
            FileWatcher(
                path,
                changed,
                metrics=self._reload_metrics,
                digest=self._loaded.digest,
                on_failure=self._reload_failed,
            )
        )
        if os.environ.get("POD_NAME"):
            self._pod_events = self.events(f"kubernaut-{self.name}")

    def _reload_failed(self, path: Path, reason: str) -> None:
        pod = os.environ.get("POD_NAME")
        if self._pod_events is None or not pod:
            return
        about = ObjectReference("v1", "Pod", self.namespace, pod, os.environ.get("POD_UID", ""))
        self._pod_events.warning(about, "ConfigReloadFailed", f"cannot reload {path}, the last good stays: {reason}")


async def call(callback: Callable[[], Awaitable[None] | None]) -> None:
    """Call a plain or an async callback."""
    result = callback()
    if inspect.isawaitable(result):
        await result


def _tell(listeners: list[OnChange], key: ObjectKey, priority: Priority) -> None:
    for listener in listeners:
        listener(key, priority)

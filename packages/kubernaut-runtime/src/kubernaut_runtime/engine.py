"""The watch engine: kopf, used for what it does best, in a thread of its own and under supervision.

kopf does login, discovery, listing, watching and reconnects. It gets `@kopf.on.event` handlers only: they
put the object into the store and return None, which costs no request, while its other handlers write
finalizers, annotations and progress to every object. Everything that could make it write is off: no
Events, no peering, a finalizer name that no object carries (kopf removes its own from any object that it
sees), a change store that stores nothing.

Known of kopf 1.45, and answered here:

* An ERROR frame other than 410, a 404 on a watch, or an error past `error_backoffs` end the whole
  `kopf.operator()`, and it cancels every task that was born in its loop. So it has its own thread and
  loop, which hold nothing of ours; it is started again with a growing wait however it ends; only
  `call_soon_threadsafe` crosses over. `error_backoffs` are endless. It may not kill the process
  (`ultimate_exiting_timeout`), and signals are ours: in a second thread it installs no handlers.
* After a 410 it lists again without telling what vanished, and never tells the end of a list: each list
  that it begins asks for a `Sweep`.
* It finds out at its start which kinds exist and (scanning being off) never again. A kind that is
  installed later is seen by the sweep, which has kopf started again.
* It watches all its kinds in all its namespaces; when one watch ends it, it leaves the others hanging and waits for
  them, seconds in which nothing is watched; and it takes every task of its loop for its own. So each kind has an
  operator of its own, in a thread and a loop of its own: what ends one is nothing to the others.
* It processes the events of one object (uid) one after the other and merges none: 1.45 has no batch
  window any more. What of several uids under one name is newer, the store decides.
* A watch that is silent for `inactivity` seconds is opened again. The server ends each one after
  `server_timeout`, so that a sign of life comes even if nothing changes and no bookmark is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import kopf
from prometheus_client import CollectorRegistry, Counter, Gauge

from kubernaut_status import ApiCalls, Resource

from .backoff import Backoff
from .clock import Clock, SystemClock
from .store import Store
from .sweep import Sweep
from .watch_session import Endpoint, WatchSession, WatchSigns

logger = logging.getLogger(__name__)

_STOP_TIMEOUT = 8.0
_STEADY = 60.0
_RELOGIN = Backoff(1.0, 30.0)
_SESSIONS = 4  # kopf remembers the last three that were refused, so that it does not take one of them again


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """The watch engine's times, in seconds.

    `server_timeout`: the server ends a watch; `inactivity`: a silent one is given up (must be longer);
    `request`, `connect`: lists and discovery; `unhealthy`: silence that fails liveness; `reopen`: least time
    between two openings of a watch; `first_sweep`: a kind that kopf does not list is swept nevertheless;
    `retry`: waits inside kopf; `restart`: waits between two runs of kopf. Raises ValueError if they cannot work.
    """

    server_timeout: float = 60.0
    inactivity: float = 68.0
    request: float = 60.0
    connect: float = 10.0
    unhealthy: float = 150.0
    reopen: float = 1.0
    first_sweep: float = 15.0
    retry: Backoff = field(default_factory=lambda: Backoff(0.5, 30.0))
    restart: Backoff = field(default_factory=lambda: Backoff(1.0, 30.0))

    def __post_init__(self) -> None:
        if self.inactivity <= self.server_timeout:
            raise ValueError(
                f"cannot use inactivity {self.inactivity:g} s with server_timeout {self.server_timeout:g} s: "
                "a healthy quiet watch, which gives a sign only when the server ends it, would always be given up"
            )


class WatchEngine:
    """Keeps `stores` fed with the objects of their kinds; those that name no namespace, with those in `namespace`.

    An empty namespace stands for all. A kind that lives outside of namespaces is watched whole.

    `endpoint` is the API server, `sweep` the one over the same stores; the engine runs it. `restarts`
    counts the ends of kopf; the metrics are `kubernaut_watch_restarts_total` and
    `kubernaut_watch_age_seconds{resource}`, in `registry`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        stores: Sequence[Store],
        sweep: Sweep,
        *,
        namespace: str = "",
        user_agent: str,
        calls: ApiCalls | None = None,
        clock: Clock | None = None,
        times: WatchTimes | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.restarts = 0
        self._stores = list(stores)
        self._sweep = sweep
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._times = times or WatchTimes()
        resources = [store.resource for store in stores]
        self._signs = WatchSigns(resources, self._clock)
        self._sessions = {
            store: WatchSession(
                endpoint,
                [store.resource],
                user_agent=user_agent,
                calls=calls,
                signs=self._signs,
                listed=partial(self._on_list, store),
                discovering=partial(self._on_discovery, store),
                reopen=self._times.reopen,
            )
            for store in stores
        }
        self._server = endpoint.server
        self._main: asyncio.AbstractEventLoop | None = None
        self._runs: dict[Store, _KopfRun] = {}
        self._ends = Counter("kubernaut_watch_restarts_total", "Ends of the watch engine.", registry=registry)
        ages = Gauge(
            "kubernaut_watch_age_seconds", "Time since a watch's last sign of life.", ("resource",), registry=registry
        )
        for resource in resources:
            ages.labels(resource.plural).set_function(partial(self.watch_age, resource))
        sweep.on_swept(self._on_swept)

    def watch_age(self, resource: Resource) -> float:
        """Seconds since the watch of `resource` last gave a sign of life. From any thread."""
        return self._signs.age(resource)

    def unhealthy(self) -> str | None:
        """Why this process should be restarted: a watch has been silent for too long. None if all is well.

        A kind whose CRD is missing has no watch and is not counted. From any thread.
        """
        silent = {
            store.resource.plural: age
            for store in self._stores
            if self._sweep.synced(store.resource) and (age := self.watch_age(store.resource)) > self._times.unhealthy
        }
        if not silent:
            return None
        return "no sign of life from the watch of " + ", ".join(
            f"{name} for {age:.0f} s" for name, age in silent.items()
        )

    def healthy(self) -> bool:
        """Whether no watch has been silent for too long. From any thread."""
        return self.unhealthy() is None

    def synced(self) -> bool:
        """Whether every kind was listed completely once."""
        return self._sweep.synced()

    async def wait_synced(self) -> None:
        """Wait until every kind was listed completely once: from then on an absent object does not exist."""
        await self._sweep.wait_synced()

    @property
    def running(self) -> bool:
        """Whether kopf runs for all kinds at this moment: not before `run`, nor between two runs of it."""
        return len(self._runs) == len(self._stores)

    async def run(self) -> None:
        """Watch until cancelled. Raises `HistoryRewoundError` when only a restart of the process helps."""
        _quieten_kopf()
        self._main = asyncio.get_running_loop()
        self._signs.reset()
        tasks = [
            *(
                asyncio.create_task(self._supervise(store), name=f"watch engine of {store.resource.plural}")
                for store in self._stores
            ),
            asyncio.create_task(self._sweep.run(), name="sweeps"),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def restart(self, why: str) -> None:
        """End the present runs of kopf, so that it begins anew."""
        logger.info("restarting the watch engine: %s", why)
        for run in self._runs.values():
            run.stop()

    async def _supervise(self, store: Store) -> None:
        fast = 0
        while True:
            self._sweep.request(store.resource, within=self._times.first_sweep)
            began = self._clock.monotonic()
            run = self._runs[store] = _KopfRun(partial(self._operator, store))
            try:
                error = await run.wait()
            finally:
                del self._runs[store]
                await run.end(_STOP_TIMEOUT)
            self.restarts += 1
            self._ends.inc()
            fast = 0 if self._clock.monotonic() - began > _STEADY else fast + 1
            wait = self._times.restart.wait(fast)
            kind = store.resource.plural
            logger.warning("the watch engine of %s ended (%s), again in %.1f s", kind, _brief(error), wait)
            logger.debug("how the watch engine ended", exc_info=error)
            await self._clock.sleep(wait)

    async def _operator(self, store: Store) -> None:
        """One operator of kopf over `store`, in its thread and loop; cancelled to end it.

        There is no `stop_flag`: kopf leaves its waiter for the flag hanging when it fails, and then waits for it
        for 5 seconds, in which nothing is watched.
        """
        registry = kopf.OperatorRegistry()
        sessions: list[Any] = []
        refused, logged_in = 0, 0.0

        async def login(**_: Any) -> kopf.AiohttpSession:
            # kopf logs in again at once after each 401; a token that stays bad must not become a storm.
            nonlocal refused, logged_in
            if sessions:
                refused = 1 if time.monotonic() - logged_in > _STEADY else refused + 1
                await asyncio.sleep(_RELOGIN.wait(refused))
            logged_in = time.monotonic()
            sessions.append(self._sessions[store].open())
            while len(sessions) > _SESSIONS:
                await sessions.pop(0).close()
            return kopf.AiohttpSession(server=self._server, aiohttp_session=sessions[-1])

        kopf.on.login(registry=registry, id="login")(login)
        r = store.resource
        kopf.on.event(r.group, r.version, r.plural, registry=registry, id=f"store-{r.plural}")(self._handler(store))
        default = store.namespace is None or not r.namespaced
        namespace = self._namespace if default else str(store.namespace)
        try:
            await kopf.operator(
                registry=registry,
                settings=self._settings(),
                standalone=True,
                clusterwide=not namespace,
                namespaces=[namespace] if namespace else [],
            )
        finally:
            for session in sessions:
                await session.close()

    def _settings(self) -> kopf.OperatorSettings:
        times, settings = self._times, kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.process.ultimate_exiting_timeout = None
        settings.persistence.finalizer = "watch.kubernaut.ai/never-set"
        settings.persistence.diffbase_storage = _NoChanges()
        settings.networking.error_backoffs = times.retry.endless()
        settings.networking.request_timeout = times.request
        settings.networking.connect_timeout = times.connect
        settings.watching.server_timeout = math.ceil(times.server_timeout)  # the API takes whole seconds only
        settings.watching.inactivity_timeout = times.inactivity
        settings.watching.reconnect_backoff = min(0.5, times.reopen)
        settings.watching.chunk_size = 500
        settings.queueing.idle_timeout = 1.0
        settings.queueing.exit_timeout = 0.5
        return settings

    def _handler(self, store: Store) -> Callable[..., Awaitable[None]]:
        async def put(event: Any, **_: Any) -> None:
            self._cross(store.observe, event["type"], event["object"])

        return put

    def _on_list(self, store: Store, resource: Resource) -> None:
        run = self._runs.get(store)
        if run is not None:
            run.listed = True
        self._cross(self._sweep.request, resource)

    def _on_discovery(self, store: Store, begins: bool) -> None:
        run = self._runs.get(store)
        if run is not None:
            run.discovery(begins)

    def _on_swept(self, store: Store) -> None:
        run = self._runs.get(store)
        if run is None or run.listed:
            return
        if run.quiet() > self._times.first_sweep / 2:
            logger.info("restarting: %s is served now, but was not when the watches began", store.resource.plural)
            run.stop()
        else:
            # It may be about to list, or have just found nothing: only a later sweep can tell.
            self._sweep.request(store.resource, within=self._times.first_sweep)

    def _cross(self, call: Callable[..., None], *args: Any) -> None:
        main = self._main
        if main is not None and not main.is_closed():
            main.call_soon_threadsafe(call, *args)


class _KopfRun:
    """One run of kopf in a thread; all methods but the thread's own are for the main loop."""

    def __init__(self, operate: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.listed = False
        """Whether kopf has begun to list the kind."""
        self._operate = operate
        self._main = asyncio.get_running_loop()
        self._discoveries = 0
        self._discovered = time.monotonic()
        self._ended: asyncio.Future[BaseException | None] = self._main.create_future()
        self._lock = threading.Lock()
        self._cancel: Callable[[], object] | None = None
        self._asked = False
        threading.Thread(target=self._thread, name="kopf", daemon=True).start()

    def discovery(self, begins: bool) -> None:
        """A request of kopf's discovery begins or has ended. From kopf's thread."""
        self._discoveries += 1 if begins else -1
        self._discovered = time.monotonic()

    def quiet(self) -> float:
        """Seconds since the start, or since the last request of the discovery; 0 while one is under way.

        A slow API server must not have kopf restarted before it has found out what is served.
        """
        return 0.0 if self._discoveries > 0 else time.monotonic() - self._discovered

    async def wait(self) -> BaseException | None:
        """Wait for the end; returns the error that was the cause, None if it was asked for."""
        return await asyncio.shield(self._ended)

    def stop(self) -> None:
        """Ask kopf to end; once, because a second cancellation would cut its ending short."""
        with self._lock:
            cancel = None if self._asked else self._cancel
            self._asked = True
        if cancel is not None and not self._ended.done():
            with contextlib.suppress(RuntimeError):  # its loop has just closed
                cancel()

    async def end(self, timeout: float) -> None:
        """Ask kopf to end and wait for it; after `timeout` seconds its (daemon) thread is left behind."""
        self.stop()
        _, late = await asyncio.wait({self._ended}, timeout=timeout)
        if late:
            logger.warning("the watch engine did not end within %g s and was left behind", timeout)

    def _thread(self) -> None:
        error: BaseException | None = None
        try:
            # Not the policy's loop: the main one may be uvloop, and kopf is content with asyncio's own.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._in_thread())
        except BaseException as caught:  # noqa: BLE001 - whatever ends kopf, the supervisor shall know it
            error = None if self._asked and isinstance(caught, asyncio.CancelledError) else caught
        if not self._main.is_closed():
            self._main.call_soon_threadsafe(self._tell, error)

    def _tell(self, error: BaseException | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    async def _in_thread(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.create_task(self._operate(), name="kopf")
        with self._lock:
            if self._asked:
                task.cancel()
            self._cancel = partial(loop.call_soon_threadsafe, task.cancel)
        await task


class _NoChanges(kopf.DiffBaseStorage):
    """kopf's memory of what it handled last: none. It saves the deep copy of each object, and any annotation."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """Nothing of an object is essential."""
        return {}

    def fetch(self, *, body: Any) -> Any:
        """Nothing was stored."""
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Store nothing."""


def _quieten_kopf() -> None:
    """Levels of kopf's loggers, unless somebody has set them.

    It logs each event's success at INFO, and an error that ends it thrice, with traces; the supervisor says it once.
    """
    for name, level in (("kopf", logging.WARNING), ("kopf._core.reactor", logging.CRITICAL)):
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(level)


def _brief(error: BaseException | None) -> str:
    """An error in one line, without what a server may have put into it."""
    return "it was asked to" if error is None else f"{type(error).__name__}: {str(error)[:200]}"

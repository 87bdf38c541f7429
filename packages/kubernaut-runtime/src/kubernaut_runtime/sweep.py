"""The sweep: now and then, one complete list per kind, against everything that a watch can miss.

kopf lists before it watches, but tells neither that its list has ended nor what has vanished since its
last one. So the sweep lists on its own, right after each list of kopf (a start, a restart, a 410) and
every resync period, and compares:

* an object that is newer in the list was missed: it goes into the store (its key is woken, LOW);
* an object of the store that is not in the list, and not newer than it, is gone: dropped, woken;
* a list whose version is below one that was already seen means that etcd was restored from a backup.
  Nothing this process knows can be trusted then: `HistoryRewoundError` ends it for a clean restart.

The first sweep of each kind is also the mark that the store is complete (`wait_synced`).

A sweep is a consistent read (no `resourceVersion`) in pages; a page token that has expired (410) starts
it anew. Errors are retried with a growing wait and are never fatal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from kubernaut_status import (
    ApiError,
    ObjectKey,
    Request,
    Resource,
    StatusClient,
    StatusError,
    raise_for_code,
    version_of,
)

from .backoff import Backoff
from .clock import Clock, SystemClock
from .store import Store

logger = logging.getLogger(__name__)

RESYNC_PERIOD = 600.0
"""Seconds between two sweeps of a kind."""

PAGE = 500
"""Objects per request of a list."""

_GONE = 410
_LEAST_INTERVAL = 2.0


class HistoryRewoundError(RuntimeError):
    """The API server is at an older version than it was: etcd was restored. Only a restart helps.

    `listed` and `seen` are resourceVersions.
    """

    def __init__(self, resource: Resource, listed: int, seen: int) -> None:
        self.resource = resource
        self.listed = listed
        self.seen = seen
        super().__init__(
            f"cannot go on: the list of {resource.plural} is at version {listed}, but {seen} was seen before; "
            "etcd was restored from a backup, so this process starts again with an empty view"
        )


class Sweep:
    """Sweeps the kinds of `stores`, when asked and every `resync_period`.

    `namespace` (empty: all) is for the stores that name none.

    `retry` are the waits after errors, in seconds. `kubernaut_sweeps_total{resource,result}` counts them
    in `registry`.
    """

    def __init__(
        self,
        client: StatusClient,
        stores: Sequence[Store],
        *,
        namespace: str = "",
        clock: Clock | None = None,
        resync_period: float = RESYNC_PERIOD,
        retry: Backoff | None = None,
        page: int = PAGE,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._resync_period = resync_period
        self._retry = retry or Backoff(1.0, 60.0)
        self._page_size = page
        self._kinds = {store.resource: _Kind(store) for store in stores}
        self._listeners: list[Callable[[Store], None]] = []
        self._results = Counter(
            "kubernaut_sweeps_total", "Complete lists by result.", ("resource", "result"), registry=registry
        )
        for store in stores:
            for result in ("success", "error", "rewound"):
                self._results.labels(store.resource.plural, result)  # from 0 on: the first is seen as an increase

    def request(self, resource: Resource, within: float = 0.0) -> None:
        """Have `resource` swept in `within` seconds at the latest."""
        kind = self._kinds[resource]
        kind.due = min(kind.due, self._clock.monotonic() + within)
        kind.poke.set()

    def on_swept(self, listener: Callable[[Store], None]) -> None:
        """Call `listener` after each sweep that succeeded."""
        self._listeners.append(listener)

    def synced(self, resource: Resource | None = None) -> bool:
        """Whether `resource` (all kinds, if None) was swept at least once: its store is complete."""
        kinds = self._kinds.values() if resource is None else [self._kinds[resource]]
        return all(kind.synced.is_set() for kind in kinds)

    async def wait_synced(self) -> None:
        """Wait until every kind was swept once."""
        for kind in self._kinds.values():
            await kind.synced.wait()

    async def run(self) -> None:
        """Sweep until cancelled. Raises `HistoryRewoundError`."""
        tasks = [
            asyncio.create_task(self._keep_swept(kind), name=f"sweep of {resource.plural}")
            for resource, kind in self._kinds.items()
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self, store: Store) -> None:
        """Make one complete list of the store's kind and compare.

        Raises `StatusError` if a request fails, `HistoryRewoundError` if the server went back in time.
        """
        listed: set[ObjectKey] = set()
        version, token = 0, ""
        while True:
            seen = store.newest_version
            page = await self._page(store, token)
            if page is None:
                listed.clear()
                token = ""
                continue
            if not token:
                version = version_of(page)
                if version < seen:
                    raise HistoryRewoundError(store.resource, version, seen)
            for item in page.get("items") or ():
                listed.add(self._feed(store, item))
            token = str(page["metadata"].get("continue") or "")
            if not token:
                store.prune(listed, version)
                return

    async def _page(self, store: Store, token: str) -> dict[str, Any] | None:
        """One page of the list; None if the token of the pages has expired."""
        query = {"limit": str(self._page_size)} | ({"continue": token} if token else {})
        path = store.resource.collection_path(self._namespace if store.namespace is None else store.namespace)
        request = Request("list", "GET", path, store.resource.plural, query=query)
        response = await self._client.send(request)
        if response.code == _GONE and token:
            return None
        body = raise_for_code(response, request).body
        if not version_of(body):
            raise ApiError(response.code, f"{path} answered with something else than a list")
        return body

    def _feed(self, store: Store, item: dict[str, Any]) -> ObjectKey:
        # Lists of built-in kinds leave out what is the same for every item.
        item.setdefault("apiVersion", store.resource.api_version)
        item.setdefault("kind", store.resource.kind)
        store.observe(None, item)
        return ObjectKey.of(item)

    async def _keep_swept(self, kind: _Kind) -> None:
        store, failures = kind.store, 0
        plural = store.resource.plural
        while True:
            await self._until_due(kind)
            kind.due = self._clock.monotonic() + self._resync_period
            before = store.counts.copy()
            try:
                await self.sweep(store)
            except HistoryRewoundError:
                self._results.labels(plural, "rewound").inc()
                raise
            except (StatusError, ValueError, KeyError) as error:
                failures += 1
                asked = error.retry_after if isinstance(error, ApiError) else None
                wait = max(self._retry.wait(failures), asked or 0.0)
                self._results.labels(plural, "error").inc()
                logger.warning("cannot list %s: %s; again in %.1f s", plural, error, wait)
                await self._clock.sleep(wait)
                kind.due = self._clock.monotonic()
                continue
            failures = 0
            self._results.labels(plural, "success").inc()
            missed = {name: store.counts[name] - before[name] for name in ("stored", "pruned")}
            if kind.synced.is_set() and any(missed.values()):
                logger.info("the sweep of %s changed the store: %s", plural, missed)
            kind.synced.set()
            for listener in self._listeners:
                listener(store)
            await self._clock.sleep(_LEAST_INTERVAL)

    async def _until_due(self, kind: _Kind) -> None:
        while (delay := kind.due - self._clock.monotonic()) > 0:
            kind.poke.clear()
            waits: list[asyncio.Task[Any]] = [asyncio.create_task(kind.poke.wait())]
            if delay != float("inf"):
                waits.append(asyncio.create_task(self._clock.sleep(delay)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)


class _Kind:
    """One kind's state: when it is due (monotonic seconds; never, until the first request)."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.due = float("inf")
        self.poke = asyncio.Event()
        self.synced = asyncio.Event()

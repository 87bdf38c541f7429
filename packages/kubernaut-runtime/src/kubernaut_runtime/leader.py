"""Leader election on a Lease: of several processes one reconciles, the others stand by with warm watches.

The rules are client-go's, with its defaults (15 s lease, 10 s deadline, 2 s between tries):

* One PUT with the Lease's resourceVersion renews it: one request per renewal while nobody interferes.
* A candidate never compares somebody else's wall clock with its own. It notes *when it saw* the record change, on its
  monotonic clock, and takes over once the record stood still for the lease's duration.
* The leader is sure of itself only until `renew_deadline` after it *sent* its last successful renewal. That is earlier
  than any candidate may take over, so `is_leader()` turns False first: also in a process that was stopped (SIGSTOP)
  and wakes up, before it has done anything. (A machine whose monotonic clock stood still with it, as when a VM is
  suspended, learns of it by its next renewal; until then the resourceVersions of its writes protect what was written.)
* On loss, `on_lost` runs to its end before this process is a candidate again: work is stopped first.

Give the elector a client of its own: renewals must not wait behind other requests.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from kubernaut_status import (
    ApiError,
    ObjectKey,
    Request,
    Resource,
    Response,
    StatusClient,
    TransportError,
    stored_object,
)

from .clock import Clock, SystemClock, format_time

log = logging.getLogger(__name__)

LEASE = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
"""The resource that leader election needs get, create and update on."""


class _Renewal(enum.Enum):
    DONE = "done"
    UNAVAILABLE = "unavailable"
    TAKEN = "taken"


async def _nothing() -> None:
    """No callback."""


class LeaderElector:
    """One candidate for the Lease `namespace/name`, known as `identity` (unique per process).

    Times are seconds: `lease_duration` > `renew_deadline` > `retry_period`. `on_acquired` must return quickly (it
    starts work); `on_lost` returns when work has stopped, within `lease_duration - renew_deadline`. If either raises,
    `run` does. `registry` gets `leader_election_master_status{name}`.
    """

    def __init__(
        self,
        client: StatusClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        clock: Clock | None = None,
        registry: CollectorRegistry | None = None,
        on_acquired: Callable[[], Awaitable[None]] = _nothing,
        on_lost: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        if not lease_duration > renew_deadline > retry_period > 0:
            raise ValueError("cannot elect a leader: lease_duration > renew_deadline > retry_period > 0 must hold")
        self.identity = identity
        self.key = ObjectKey(namespace, name)
        self._client = client
        self._lease_duration = lease_duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._clock: Clock = clock or SystemClock()
        self._on_acquired, self._on_lost = on_acquired, on_lost
        self._lease: dict[str, Any] = {}
        self._valid_until: float | None = None
        self._last_problem = ""
        gauge = Gauge("leader_election_master_status", "1 while this process leads.", ("name",), registry=registry)
        self._status = gauge.labels(name)
        self._status.set(0)

    def is_leader(self) -> bool:
        """Return whether this process may act now; answers by the clock, so it needs no running loop."""
        valid_until = self._valid_until
        return valid_until is not None and self._clock.monotonic() < valid_until

    async def run(self) -> None:
        """Stand, lead, lose, stand again, until cancelled. Cancel it only after work has stopped, then `release`."""
        while True:
            await self._stand()
            log.info("became leader", extra={"lease": str(self.key), "identity": self.identity})
            self._status.set(1)
            await self._on_acquired()
            reason = await self._lead()
            self._resign()
            log.warning("lost the lease, work stops", extra={"lease": str(self.key), "reason": reason})
            await self._on_lost()

    async def release(self) -> None:
        """Give the Lease back, so that a standby takes over at once. Never raises because of the API server."""
        held = self.is_leader()
        self._resign()
        if not held:
            return
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
        try:
            response = await self._put(self._lease, spec, timeout=2.0)
            if response.code == 409:  # a renewal that was cut short by the end of the process has landed
                lease = await self._get(2.0)
                if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self.identity:
                    return
                response = await self._put(lease, spec, timeout=2.0)
        except (TransportError, ApiError) as error:
            log.warning("cannot release the lease", extra={"lease": str(self.key), "error": str(error)})
            return
        if response.code >= 400:
            log.warning("cannot release the lease", extra={"lease": str(self.key), "code": response.code})

    def _resign(self) -> None:
        self._valid_until = None
        self._status.set(0)

    async def _stand(self) -> None:
        """Return once the Lease is ours."""
        seen: tuple[Any, ...] | None = None
        seen_at = 0.0
        while True:
            try:
                lease = await self._get()
                if lease is None:
                    if await self._create():
                        return
                else:
                    spec = lease.get("spec") or {}
                    holder = spec.get("holderIdentity") or ""
                    record = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
                    if record != seen:
                        seen, seen_at = record, self._clock.monotonic()
                    duration = float(spec.get("leaseDurationSeconds") or self._lease_duration)
                    free = holder in ("", self.identity)
                    if (free or self._clock.monotonic() >= seen_at + duration) and await self._take(lease, holder):
                        return
                self._problem("")
            except (TransportError, ApiError) as error:
                self._problem(str(error))
            # Spread, so that standbys do not ask all at the same moment.
            await self._clock.sleep(self._retry_period * (1 + 0.2 * random.random()))

    async def _lead(self) -> str:
        """Renew until the Lease is lost; return why."""
        while True:
            await self._clock.sleep(min(self._retry_period, self._left()))
            left = self._left()
            if left <= 0:
                return "it could not be renewed before the deadline"
            outcome = await self._before(left, self._renew(min(left, self._renew_deadline / 2)))
            if outcome is _Renewal.TAKEN:
                return "another process holds it"

    def _left(self) -> float:
        return 0.0 if self._valid_until is None else self._valid_until - self._clock.monotonic()

    async def _renew(self, timeout: float) -> _Renewal:
        try:
            for _ in range(2):
                began = self._clock.monotonic()
                request = self._put_request(self._lease, {"renewTime": self._now()}, timeout)
                response = await self._client.send(request)
                if response.code < 300:
                    self._hold(response, request, began)
                    self._problem("")
                    return _Renewal.DONE
                if response.code not in (404, 409):
                    self._problem(f"{response.code} {response.body.get('message', '')}".strip())
                    return _Renewal.UNAVAILABLE
                # Somebody wrote it, perhaps this process by a request whose answer was lost.
                lease = await self._get(timeout)
                if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self.identity:
                    return _Renewal.TAKEN
                self._lease = lease
            self._problem("conflicts while renewing")
        except (TransportError, ApiError) as error:
            self._problem(str(error))
        return _Renewal.UNAVAILABLE

    async def _before(self, seconds: float, work: Awaitable[_Renewal]) -> _Renewal:
        """Await `work` for at most `seconds` of the injected clock; an unfinished try is abandoned."""
        task = asyncio.ensure_future(work)
        limit = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else _Renewal.UNAVAILABLE
        finally:
            for unfinished in (task, limit):
                unfinished.cancel()
            await asyncio.gather(task, limit, return_exceptions=True)

    async def _create(self) -> bool:
        began = self._clock.monotonic()
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self.key.namespace, "name": self.key.name},
            "spec": self._fresh_spec(0),
        }
        path = LEASE.collection_path(self.key.namespace)
        request = Request("create", "POST", path, LEASE.plural, body=body, timeout=self._renew_deadline / 2)
        return self._won(await self._client.send(request), request, began)

    async def _take(self, lease: dict[str, Any], holder: str) -> bool:
        transitions = int((lease.get("spec") or {}).get("leaseTransitions") or 0)
        spec = self._fresh_spec(transitions + (holder != self.identity))
        began = self._clock.monotonic()
        request = self._put_request(lease, spec, self._renew_deadline / 2)
        return self._won(await self._client.send(request), request, began)

    def _won(self, response: Response, request: Request, began: float) -> bool:
        if response.code == 409:  # another candidate was faster
            return False
        self._hold(response, request, began)
        return self.is_leader()

    def _hold(self, response: Response, request: Request, began: float) -> None:
        """Lead on, if it is our Lease that came back: a success that something on the way invents renews nothing."""
        self._lease = self._ours(stored_object(response, request))
        self._valid_until = began + self._renew_deadline

    def _ours(self, lease: dict[str, Any]) -> dict[str, Any]:
        holder = (lease.get("spec") or {}).get("holderIdentity")
        if holder != self.identity:
            raise TransportError(f"the lease was stored for {holder!r} in place of {self.identity!r}")
        return lease

    def _fresh_spec(self, transitions: int) -> dict[str, Any]:
        now = self._now()
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._lease_duration),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    async def _get(self, timeout: float | None = None) -> dict[str, Any] | None:
        timeout = timeout or self._renew_deadline / 2
        request = Request("get", "GET", LEASE.object_path(self.key), LEASE.plural, timeout=timeout)
        response = await self._client.send(request)
        return None if response.code == 404 else stored_object(response, request)

    async def _put(self, lease: dict[str, Any], spec: dict[str, Any], *, timeout: float) -> Response:
        return await self._client.send(self._put_request(lease, spec, timeout))

    def _put_request(self, lease: dict[str, Any], spec: dict[str, Any], timeout: float) -> Request:
        # Whatever else stands on the Lease (labels, owner, strategy) stays; the resourceVersion is the precondition.
        body = {**lease, "spec": {**(lease.get("spec") or {}), **spec}}
        return Request("update", "PUT", LEASE.object_path(self.key), LEASE.plural, body=body, timeout=timeout)

    def _now(self) -> str:
        return format_time(self._clock.now(), micro=True)

    def _problem(self, text: str) -> None:
        if text and text != self._last_problem:
            log.warning("cannot reach or write the lease, trying on", extra={"lease": str(self.key), "error": text})
        self._last_problem = text

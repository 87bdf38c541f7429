"""Kubernetes Events without ever holding up a pass.

`normal` and `warning` put a record into a bounded buffer and return; a background task sends. It sends one at a time,
so that passes have the API server to themselves; a few side by side where the buffer fills, before any is dropped, and
at the end of the process. Those of one object are sent one after another all the same, in order. As client-go does:

* The same (object uid, type, reason, message) again is one PATCH of `count` and `lastTimestamp` on the first Event.
* Each object has 25 Events at once, then one per 300 s; what is over is dropped and counted.
* A busy, failing or silent API server is tried again for two minutes, at least as late as Retry-After says, and so is
  one that does not know us for now (401: a token is being rotated). Any other refusal is final.

The oldest record goes when the buffer is full: what happens now matters more. Nothing here raises into the caller.
Metric `kubernetes_events_total{component,result}` counts what became of them (`FATES`).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter

from kubernaut_status import ObjectKey, Request, Resource, Response, StatusClient, TransportError

from .clock import Clock, SystemClock, format_time

log = logging.getLogger(__name__)

EVENT = Resource(group="", version="v1", plural="events", kind="Event")
"""The resource that an `EventRecorder` needs create and patch on."""

FATES = ("created", "repeated", "rate_limited", "overflowed", "refused", "failed")
"""What may become of an Event."""

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 4
"""Events that are on their way at a time, at most, each of another object."""

_SHARE = 20
"""The part of the buffer, one of so many, that has to be filled for each further Event at a time."""

_MESSAGE_LIMIT = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_TRIES = 10
_LONGEST_WAIT = 30.0
_REMEMBERED = 4096


class EventMetrics:
    """`kubernetes_events_total{component,result}`, shared by all recorders of a process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.total = Counter(
            "kubernetes_events_total", "Kubernetes Events by fate.", ("component", "result"), registry=registry
        )

    def begin(self, component: str) -> None:
        """Show the counters of `component` from 0 on, so that the first of each fate is seen as an increase."""
        for fate in FATES:
            self.total.labels(component, fate)


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """What an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""

    @classmethod
    def of(cls, obj: Mapping[str, Any], resource: Resource | None = None) -> ObjectReference:
        """Return the reference to `obj`; `resource` names its kind where the object (from a list) does not."""
        metadata = obj.get("metadata") or {}
        return cls(
            str(obj.get("apiVersion") or (resource.api_version if resource else "")),
            str(obj.get("kind") or (resource.kind if resource else "")),
            str(metadata.get("namespace") or ""),
            str(metadata.get("name") or ""),
            str(metadata.get("uid") or ""),
            str(metadata.get("resourceVersion") or ""),
        )

    def as_dict(self) -> dict[str, str]:
        """Return it as `involvedObject` has it."""
        fields = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
            "resourceVersion": self.resource_version,
        }
        return {key: value for key, value in fields.items() if value}


@dataclass(slots=True)
class _Entry:
    about: ObjectReference
    type: str
    reason: str
    message: str
    at: str

    @property
    def object(self) -> str:
        about = self.about
        return about.uid or f"{about.kind}/{about.namespace}/{about.name}"

    @property
    def key(self) -> tuple[str, ...]:
        return (self.object, self.type, self.reason, self.message)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class EventRecorder:
    """Records Events of `component` (as in `source.component`), from the process `instance`.

    `resource` completes objects without apiVersion and kind. `buffer` is how many records may wait, `at_once` how many
    are sent at a time if many do; `burst` and `refill` (seconds per further Event) hold per object. Use from one event
    loop only.
    """

    def __init__(
        self,
        client: StatusClient,
        *,
        component: str,
        instance: str,
        resource: Resource | None = None,
        metrics: EventMetrics | None = None,
        clock: Clock | None = None,
        buffer: int = 10_000,
        at_once: int = AT_ONCE,
        burst: int = 25,
        refill: float = 300.0,
    ) -> None:
        self.component = component
        self._client = client
        self._instance = instance
        self._resource = resource
        self._clock: Clock = clock or SystemClock()
        metrics = metrics or EventMetrics(CollectorRegistry())
        metrics.begin(component)
        self._metrics = metrics.total
        self._limit, self._at_once, self._burst, self._refill = buffer, at_once, burst, refill
        self._waiting: deque[_Entry] = deque()
        self._sending: set[str] = set()
        self._flushing = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._made = 0
        self._sent: OrderedDict[tuple[str, ...], dict[str, Any]] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._once: OrderedDict[tuple[str, str], None] = OrderedDict()

    def normal(self, obj: Mapping[str, Any] | ObjectReference, reason: str, message: str) -> None:
        """Record something that went as it should."""
        self._record(obj, "Normal", reason, message)

    def warning(self, obj: Mapping[str, Any] | ObjectReference, reason: str, message: str) -> None:
        """Record something that somebody should look at."""
        self._record(obj, "Warning", reason, message)

    def once(
        self,
        obj: Mapping[str, Any] | ObjectReference,
        reason: str,
        message: str,
        *,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002
    ) -> bool:
        """Record `reason` at most once per object uid and process (ReconcileStarted); tell whether it was recorded."""
        about = self._about(obj)
        key = (about.uid or f"{about.namespace}/{about.name}", reason)
        if key in self._once:
            self._once.move_to_end(key)
            return False
        _remember(self._once, key, None, limit=5 * _REMEMBERED)
        self._record(about, type, reason, message)
        return True

    async def run(self) -> None:
        """Send what is recorded, until cancelled."""
        async with asyncio.TaskGroup() as senders:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (entry := self._next()) is not None:
                    self._sending.add(entry.object)
                    senders.create_task(self._deliver_alone(entry))

    async def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all is sent, at most `timeout` seconds; False if something is left. `run` must be running."""
        self._flushing = True
        self._wake.set()
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            left = len(self._waiting) + len(self._sending)
            log.warning("some Kubernetes Events were not sent", extra={"left": left})
            return False
        finally:
            self._flushing = False
        return True

    def _about(self, obj: Mapping[str, Any] | ObjectReference) -> ObjectReference:
        return obj if isinstance(obj, ObjectReference) else ObjectReference.of(obj, self._resource)

    def _record(self, obj: Mapping[str, Any] | ObjectReference, type_: str, reason: str, message: str) -> None:
        about = self._about(obj)
        if not (about.kind and about.name):
            self._count("refused")
            log.warning("cannot record an Event: the object has no kind or name", extra={"reason": reason})
            return
        if not self._allowed(about.uid or f"{about.namespace}/{about.name}"):
            self._count("rate_limited")
            return
        if len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self._count("overflowed")
        at = format_time(self._clock.now())
        self._waiting.append(_Entry(about, type_, _one_line(reason, 128), _one_line(message, _MESSAGE_LIMIT), at))
        self._idle.clear()
        self._wake.set()
        log.debug("recorded an Event", extra={"type": type_, "reason": reason, "object": about.name})

    def _allowed(self, uid: str) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.get(uid)
        if bucket is None:
            bucket = _remember(self._buckets, uid, _Bucket(self._burst, now), limit=_REMEMBERED)
        self._buckets.move_to_end(uid)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled_at) / self._refill)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _next(self) -> _Entry | None:
        """Take the oldest record of an object that none is on its way of; None if there is none, or no room."""
        further = len(self._waiting) * _SHARE // self._limit
        if len(self._sending) >= (self._at_once if self._flushing else min(self._at_once, 1 + further)):
            return None
        for position, entry in enumerate(self._waiting):
            if entry.object not in self._sending:
                del self._waiting[position]
                return entry
        return None

    async def _deliver_alone(self, entry: _Entry) -> None:
        try:
            await self._deliver(entry)
        finally:
            self._sending.discard(entry.object)
            self._wake.set()
            if not (self._waiting or self._sending):
                self._idle.set()

    async def _deliver(self, entry: _Entry) -> None:
        try:
            known = self._sent.get(entry.key)
            if known is not None:
                count = int(known["count"]) + 1
                response = await self._send(self._repeat(known, entry, count))
                if response is not None and response.code < 300:
                    known["count"] = count
                    # Those of other objects may have pushed it out meanwhile.
                    _remember(self._sent, entry.key, known, limit=_REMEMBERED)
                    self._sent.move_to_end(entry.key)
                    self._count("repeated")
                    return
                if response is None or response.code != 404:  # 404: it expired on the server, make a new one
                    self._refused(entry, response)
                    return
                self._sent.pop(entry.key, None)
            event = self._event(entry)
            response = await self._send(
                Request(
                    "create", "POST", EVENT.collection_path(event["metadata"]["namespace"]), EVENT.plural, body=event
                )
            )
            # 409: the first try landed and its answer was lost.
            if response is not None and (response.code < 300 or response.code == 409):
                _remember(self._sent, entry.key, {"count": 1, **event["metadata"]}, limit=_REMEMBERED)
                self._count("created")
            else:
                self._refused(entry, response)
        except Exception:
            self._count("failed")
            log.exception("cannot send a Kubernetes Event", extra={"reason": entry.reason})

    async def _send(self, request: Request) -> Response | None:
        """Send, and again if the server was busy or silent; None if it stayed so."""
        for n in range(_TRIES):
            wait = min(0.5 * 2**n, _LONGEST_WAIT)
            try:
                response = await self._client.send(request)
            except TransportError:
                pass
            else:
                if response.code not in (401, 429) and response.code < 500:
                    return response
                wait = max(wait, min(response.retry_after or 0.0, _LONGEST_WAIT))
            if n + 1 < _TRIES:
                await self._clock.sleep(wait)
        return None

    def _event(self, entry: _Entry) -> dict[str, Any]:
        about = entry.about
        stamp = int(self._clock.now().timestamp() * 1e9) + self._serial()
        # Events of cluster-scoped objects live in "default", as those of client-go do.
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name[:230]}.{stamp:x}", "namespace": about.namespace or "default"},
            "involvedObject": about.as_dict(),
            "type": entry.type,
            "reason": entry.reason,
            "message": entry.message,
            "source": {"component": self.component},
            "reportingComponent": self.component,
            "reportingInstance": self._instance[:128],
            "firstTimestamp": entry.at,
            "lastTimestamp": entry.at,
            "count": 1,
        }

    def _serial(self) -> int:
        """Return another number each time, so that names differ when the clock stands still."""
        self._made += 1
        return self._made

    def _repeat(self, known: Mapping[str, Any], entry: _Entry, count: int) -> Request:
        key = ObjectKey(known["namespace"], known["name"])
        body = {"count": count, "lastTimestamp": entry.at, "message": entry.message}
        path = EVENT.object_path(key)
        return Request("patch", "PATCH", path, EVENT.plural, body=body, content_type="application/merge-patch+json")

    def _refused(self, entry: _Entry, response: Response | None) -> None:
        self._count("failed" if response is None else "refused")
        why = "no answer" if response is None else f"{response.code} {response.body.get('message', '')}"
        log.debug("a Kubernetes Event was not stored", extra={"reason": entry.reason, "error": why})

    def _count(self, result: str) -> None:
        self._metrics.labels(self.component, result).inc()


def _remember(memory: OrderedDict[K, V], key: K, value: V, *, limit: int) -> V:
    memory[key] = value
    while len(memory) > limit:
        memory.popitem(last=False)
    return value


def _one_line(text: str, limit: int) -> str:
    """Cut `text` to `limit` characters of valid UTF-8 without control characters."""
    clean = _CONTROL.sub(" ", text[: 2 * limit].encode("utf-8", "replace").decode())
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."

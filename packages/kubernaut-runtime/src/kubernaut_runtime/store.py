"""The process's view of one kind's objects: the newest version of each, and whether it is news.

The view is fed by three sources and decides by uid and resourceVersion alone, so that duplicated,
reordered, replayed and late input is harmless:

| input | what happens |
|---|---|
| a watch event with a higher version | stored; its key is woken (HIGH) |
| the echo of an own write: same version as the write's response, status stored as sent | absorbed, nobody is woken |
| that echo, but admission changed what was sent | its key is woken once |
| that echo, after a conflict whose refetch showed what the watch had not | its key is woken once |
| an older version, or an object whose uid was seen to be gone | ignored |
| another uid under the same name, newer | replaces the old object; woken |
| DELETED of the object that is stored | removed; woken |
| an object of a list (type None) | stored and woken (LOW) when it is newer; never absorbed: a list hides steps |
| the response of an own write | stored when newer, without waking: the pass that wrote it goes on |

While a write of a key is in flight its events are held, because the echo may overtake the response; when
the write is over they are judged in their order. Held is also a sweep's verdict that an object is gone:
a delayed response must not bring it back.

Objects are shared, not copied: whoever reads one must not change it. Of `metadata.managedFields` only who
and when is kept: the field lists (`fieldsV1`) are often the larger half of an object, and nobody reads them.

All methods are called from one event loop.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as Metric

from kubernaut_status import Object, ObjectKey, OwnWrite, Resource, uid_of, version_of

from .queue import HIGH, LOW, Priority

EventType = Literal["ADDED", "MODIFIED", "DELETED"] | None
"""A watch event's type; None for an object of a list (as kopf has it)."""

_TOMBSTONES = 10_000


class StoreMetrics:
    """What became of the input of all stores of a process.

    `kubernaut_store_events_total{resource,outcome}`: stored, absorbed, duplicate, stale, held, deleted,
    pruned. `kubernaut_store_objects{resource}`: objects known.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.events = Metric(
            "kubernaut_store_events_total",
            "Observed objects by what became of them.",
            ("resource", "outcome"),
            registry=registry,
        )
        self.objects = Gauge("kubernaut_store_objects", "Objects known.", ("resource",), registry=registry)


class Store:
    """The newest version of every object of `resource`; `on_change(key, priority)` is told of news.

    `namespace` is whose objects are watched for it: None that of the engine, empty all. A kind that lives outside of
    namespaces is watched whole.

    It is the `Writes` of the status managers of its kind. `counts` are the outcomes so far, by the
    names in `StoreMetrics`; `newest_version` is the highest resourceVersion seen, of an object or a list.
    """

    def __init__(
        self,
        resource: Resource,
        on_change: Callable[[ObjectKey, Priority], None],
        *,
        namespace: str | None = None,
        metrics: StoreMetrics | None = None,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.counts: Counter[str] = Counter()
        self.newest_version = 0
        self._on_change = on_change
        self._metrics = metrics or StoreMetrics(CollectorRegistry())
        self._objects: dict[ObjectKey, Object] = {}
        self._own: dict[ObjectKey, OwnWrite] = {}
        self._writing: Counter[ObjectKey] = Counter()
        self._held: dict[ObjectKey, list[Callable[[], None]]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """How many objects are known."""
        return len(self._objects)

    def __contains__(self, key: ObjectKey) -> bool:
        """Whether an object is known at `key`."""
        return key in self._objects

    def keys(self) -> list[ObjectKey]:
        """The keys known now."""
        return list(self._objects)

    def objects(self) -> Iterator[Object]:
        """The objects known now. They must not be changed."""
        return iter(list(self._objects.values()))

    def get(self, key: ObjectKey) -> Object | None:
        """The newest version of the object at `key`, None if there is none. It must not be changed."""
        return self._objects.get(key)

    def newest(self, key: ObjectKey) -> Object | None:
        """The base of the next status write: the watch's version, or the last own write if that is newer."""
        return self._objects.get(key)

    def write_started(self, key: ObjectKey) -> None:
        """A write of `key` is in flight: its events are held until `write_finished`."""
        self._writing[key] += 1

    def write_finished(self, key: ObjectKey, sent_status: Mapping[str, Any] | None, response: Object | None) -> None:
        """The write is over. `response` is the object as stored by the server, None if no object came back.

        It may be told once more, without a start: when a write that seemed lost is found to have landed.
        """
        if response is not None:
            self._take(key, sent_status, response)
        self._writing[key] -= 1
        if self._writing[key] > 0:
            return
        del self._writing[key]
        for judge in self._held.pop(key, ()):
            judge()

    def observe(self, event_type: EventType, obj: Object) -> None:
        """Judge a watch event, or an object of a list (`event_type` None). Raises ValueError without a name."""
        key = ObjectKey.of(obj)
        self._judge(key, partial(self._delete if event_type == "DELETED" else self._upsert, key, event_type, obj))

    def prune(self, listed: Collection[ObjectKey], version: int) -> None:
        """Drop what a complete, consistent list at `version` does not have and would have if it existed."""
        self.saw_version(version)
        for key in [key for key in self._objects if key not in listed]:
            self._judge(key, partial(self._prune, key, version))

    def saw_version(self, version: int) -> None:
        """Remember that the server has reached `version`."""
        self.newest_version = max(self.newest_version, version)

    def _judge(self, key: ObjectKey, judge: Callable[[], None]) -> None:
        if key in self._writing:
            self._count("held")
            self._held.setdefault(key, []).append(judge)
        else:
            judge()

    def _take(self, key: ObjectKey, sent_status: Mapping[str, Any] | None, response: Object) -> None:
        known = self._objects.get(key)
        version = version_of(response)
        self.saw_version(version)
        if uid_of(response) in self._gone or (known is not None and version <= version_of(known)):
            return
        self._put(key, response)
        self._own[key] = OwnWrite.of(sent_status, self._objects[key])

    def _upsert(self, key: ObjectKey, event_type: EventType, obj: Object) -> None:
        version = version_of(obj)
        self.saw_version(version)
        known = self._objects.get(key)
        if uid_of(obj) in self._gone or (known is not None and version < version_of(known)):
            self._count("stale")
        elif known is not None and version == version_of(known):
            self._seen_again(key, event_type, obj)
        else:
            if known is not None and uid_of(known) != uid_of(obj):
                self._bury(uid_of(known))
            self._put(key, obj)
            self._own.pop(key, None)
            self._count("stored")
            self._on_change(key, LOW if event_type is None else HIGH)

    def _seen_again(self, key: ObjectKey, event_type: EventType, obj: Object) -> None:
        own = self._own.get(key)
        if own is None or version_of(own.obj) != version_of(obj):
            self._count("duplicate")
        elif own.is_echo(obj):
            if event_type is None:
                self._count("duplicate")
            else:
                del self._own[key]
                self._count("absorbed")
        else:
            del self._own[key]
            self._count("stored")
            self._on_change(key, LOW if event_type is None else HIGH)

    def _delete(self, key: ObjectKey, _: EventType, obj: Object) -> None:
        self.saw_version(version_of(obj))
        known = self._objects.get(key)
        self._bury(uid_of(obj))
        if known is None or uid_of(known) != uid_of(obj):
            self._count("stale")
        else:
            self._drop(key, "deleted", HIGH)

    def _prune(self, key: ObjectKey, version: int) -> None:
        known = self._objects.get(key)
        if known is not None and version_of(known) <= version:
            self._bury(uid_of(known))
            self._drop(key, "pruned", LOW)

    def _drop(self, key: ObjectKey, outcome: str, priority: Priority) -> None:
        del self._objects[key]
        self._own.pop(key, None)
        self._count(outcome)
        self._on_change(key, priority)

    def _put(self, key: ObjectKey, obj: Object) -> None:
        metadata = dict(obj["metadata"])
        if fields := metadata.get("managedFields"):
            metadata["managedFields"] = [
                {name: value for name, value in entry.items() if name != "fieldsV1"} for entry in fields
            ]
        self._objects[key] = {**obj, "metadata": metadata}

    def _bury(self, uid: str) -> None:
        # A uid never comes back, so whatever still arrives of it is old. Bounded: lateness is.
        if uid:
            self._gone[uid] = None
            while len(self._gone) > _TOMBSTONES:
                self._gone.popitem(last=False)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        self._metrics.events.labels(self.resource.plural, outcome).inc()
        self._metrics.objects.labels(self.resource.plural).set(len(self._objects))

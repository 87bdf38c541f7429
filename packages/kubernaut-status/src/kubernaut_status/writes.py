"""What a process knows of its own writes: read-your-writes, and not being woken by oneself.

A watch lags behind the process's own writes. Whoever takes its base from the watch alone meets a 409
of its own making; whoever is woken by its own write skips its own backoff. Both end here: the newest
version known is the watch's, overlaid with the answer to the last own write, and the watch event of
that very write is recognised by its resourceVersion.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .identity import Object, ObjectKey, status_of, uid_of, version_of


class Writes(Protocol):
    """The process's view of its objects, as the status manager uses it."""

    def newest(self, key: ObjectKey) -> Object | None:
        """The newest version known, None if none is."""
        ...

    def write_started(self, key: ObjectKey) -> None:
        """A write of `key` is under way: hold its watch events until it is over."""
        ...

    def write_finished(self, key: ObjectKey, sent_status: Mapping[str, Any] | None, response: Object | None) -> None:
        """The write is over; `response` is the object as stored, None if the server gave none.

        `sent_status` is None if `response` carries news: something that the process has not seen on its watch.
        A GET that brought a newer object is told as such a write, too.
        """
        ...


@dataclass(frozen=True, slots=True)
class OwnWrite:
    """The outcome of this process's last write of one object.

    `faithful` tells that the server stored the status as it was sent: no admission, default or
    pruning changed it, so its watch event carries no news.
    """

    obj: Object
    faithful: bool

    @classmethod
    def of(cls, sent_status: Mapping[str, Any] | None, response: Object) -> OwnWrite:
        """Compare what was sent with what was stored."""
        return cls(response, sent_status is not None and status_of(response) == dict(sent_status))

    def is_echo(self, obj: Object) -> bool:
        """Whether `obj`, from a watch, is this very write and says nothing new."""
        return self.faithful and uid_of(obj) == uid_of(self.obj) and version_of(obj) == version_of(self.obj)


class OwnWrites:
    """`Writes` for an operator without a store of its own: remembers the last write of each object.

    Bounded to `limit` objects, the least recently written forgotten first; a forgotten one costs at
    most one conflict.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._last: OrderedDict[ObjectKey, OwnWrite] = OrderedDict()

    def newest(self, key: ObjectKey) -> Object | None:
        """The answer to the last own write of `key`."""
        own = self._last.get(key)
        return own.obj if own else None

    def write_started(self, key: ObjectKey) -> None:
        """Nothing to hold: the caller awaits its write before it looks at the next event."""

    def write_finished(self, key: ObjectKey, sent_status: Mapping[str, Any] | None, response: Object | None) -> None:
        """Remember the stored object."""
        if response is not None:
            self._last[key] = OwnWrite.of(sent_status, response)
            self._last.move_to_end(key)
            while len(self._last) > self._limit:
                self._last.popitem(last=False)

    def is_echo(self, obj: Object) -> bool:
        """Whether a watched `obj` is the echo of the last own write, or older than it: nothing to do."""
        own = self._last.get(ObjectKey.of(obj))
        if own is None or uid_of(own.obj) != uid_of(obj):
            return False
        return own.is_echo(obj) or version_of(obj) < version_of(own.obj)

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._last.pop(key, None)

"""What a process knows of an object and the object's status does not say. Losing all of it must be safe.

Each controller says what it remembers (its `memory` room); here is what all of them need: one memory per object, which
goes when the object goes, and the news that wait for their write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from kubernaut_status import Object, ObjectKey

M = TypeVar("M")
T = TypeVar("T")


class Objects(Protocol):
    """Where the newest version of each object is (`Store`)."""

    def get(self, key: ObjectKey) -> Object | None:
        """Return the object at `key`, None if there is none. It must not be changed."""
        ...


class Identity(Protocol):
    """The metadata of an object, as far as it says which object it is."""

    name: str
    namespace: str
    uid: str


class Memories(Generic[M]):
    """One memory per object. `new` makes an empty one, `forgotten` is told the uid of each object that is gone.

    Objects are told apart by uid: a name that was created again starts anew.
    """

    def __init__(self, new: Callable[[], M], forgotten: Callable[[str], None]) -> None:
        self._new = new
        self._forgotten = forgotten
        self._of: dict[ObjectKey, tuple[str, M]] = {}

    def of(self, metadata: Identity) -> M:
        """Return the memory of the object with this metadata."""
        key = ObjectKey(metadata.namespace, metadata.name)
        found = self._of.get(key)
        if found is None or found[0] != metadata.uid:
            self.forget(key)
            found = self._of[key] = (metadata.uid, self._new())
        return found[1]

    def forget(self, key: ObjectKey) -> None:
        """The object at `key` is gone."""
        if found := self._of.pop(key, None):
            self._forgotten(found[0])


_AWAITED = 32
"""Writes of one object that may have landed, at most: only a server that gives no answer for hours makes so many."""


class News(Generic[T]):
    """What is to be told of a write once it is stored: once, and never before.

    A write that raised may have landed all the same. So what is to be told stays until somebody sees: the pass itself
    (`tell`), a later pass that finds the object as the write would have made it (`look`), or a later write that was
    not needed because of it (`not_needed`). Writes that follow one another without an answer are all made for the same
    version, so one of them has landed at most.
    """

    def __init__(self) -> None:
        self._awaited: deque[tuple[Callable[[T], bool], Callable[[T], None]]] = deque(maxlen=_AWAITED)

    def await_write(self, landed: Callable[[T], bool], told: Callable[[T], None]) -> None:
        """A write begins; `landed` says whether an object has it in it, `told` tells of it."""
        self._awaited.append((landed, told))

    def look(self, obj: T) -> None:
        """A pass begins with `obj`: tell of the write before that has landed, if one has."""
        for landed, told in reversed(self._awaited):
            if landed(obj):
                self._awaited.clear()
                told(obj)
                return

    def tell(self, obj: T) -> None:
        """The write is stored, and made `obj`. Without one that is awaited nothing is told."""
        if self._awaited:
            _, told = self._awaited.pop()
            self._awaited.clear()
            told(obj)

    def not_needed(self, obj: T) -> None:
        """The write was not made: `obj`, the newest version, says so already, perhaps by a write before."""
        if self._awaited:
            self._awaited.pop()
        self.look(obj)
        self._awaited.clear()

    def drop(self) -> None:
        """The write was not made, and could not be: there is nothing to tell."""
        self._awaited.clear()

"""The namespaces, kept in memory by a watch: a signal costs no request for its namespace.

The watch is behind by what an event takes to arrive, so labels are never older than that; a cache with a time to live
would classify signals by labels of minutes ago. What the watch does not know may just be too new for it: the API server
has the last word, by one read, before a namespace is called missing.
"""

from __future__ import annotations

from typing import Protocol

from kubernaut_api import ObjectMeta
from kubernaut_runtime import Store
from kubernaut_status import ObjectKey

from .kinds import NAMESPACES
from .reader import ClusterReader


class Namespaces(Protocol):
    """Knows the namespaces of the controller's own cluster."""

    async def get(self, name: str) -> ObjectMeta | None:
        """Return the namespace's metadata; None if there is none. Raises `EnrichmentError`s."""
        ...


class WatchedNamespaces:
    """`Namespaces` out of `store`, which a watch feeds; `reader` is asked for what is not in it."""

    def __init__(self, store: Store, reader: ClusterReader) -> None:
        self._store = store
        self._reader = reader

    async def get(self, name: str) -> ObjectMeta | None:
        """Return the namespace's metadata, without a request if it is known; None if it does not exist."""
        known = self._store.get(ObjectKey("", name))
        if known is not None:
            return ObjectMeta.model_validate(known["metadata"])
        return await self._reader.metadata(NAMESPACES, "", name)

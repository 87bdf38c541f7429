"""The doors to other clusters. The controller has no such connection of its own; whoever brings one implements these.

`ReaderFactory` gives a reader per cluster, `ClusterRegistry` knows the labels that clusters are registered with. They
are independent: labels of a cluster are useful even for a target that cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .reader import ClusterReader


class ReaderUnavailableError(Exception):
    """There is no way to read in a cluster just now; the message says why."""


class ReaderFactory(Protocol):
    """Gives readers of remote clusters."""

    async def reader(self, cluster_id: str) -> ClusterReader:
        """Return a reader of that cluster. Raises `ReaderUnavailableError`, and nothing else on purpose."""
        ...


class ClusterRegistry(Protocol):
    """What is known of the clusters of a fleet."""

    def labels(self, cluster_id: str) -> Mapping[str, str] | None:
        """Return the labels of the cluster's registration; None if it is not registered. From memory, at once."""
        ...

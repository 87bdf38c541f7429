"""The chain of controllers above a Pod: ReplicaSet, Deployment, ...

Each step follows the owner reference that has `controller: true`; there is at most one. An owner is taken from the
reference, so it is in the chain even if it cannot be read; it is read only to find its own owner. A read that fails,
the end of the time, or a kind that is not read ends the chain where it is: part of it is worth more than none, and the
enrichment as a whole has what it needs.

`api_version` is filled in, from the reference. It is in the resource's schema, and without it an owner of a kind that
several groups have (`Cluster`, `Workflow`) cannot be found again.
"""

from __future__ import annotations

import asyncio
import logging

from kubernaut_api import ObjectMeta, OwnerChainEntry, OwnerReference

from .errors import EnrichmentError
from .kinds import cluster_scoped, owner_resource
from .reader import ClusterReader

log = logging.getLogger(__name__)

MAX_DEPTH = 5
"""Entries of the longest chain. The last one is not read."""


def controller_of(metadata: ObjectMeta) -> OwnerReference | None:
    """Return the reference to the object's controller; None if it has none."""
    return next((owner for owner in metadata.owner_references if owner.controller), None)


async def owner_chain(
    reader: ClusterReader, target: ObjectMeta, namespace: str, *, deadline: float
) -> list[OwnerChainEntry]:
    """Return the controllers above `target`, nearest first; it lives in `namespace` and is not part of the chain.

    `deadline` is a time of the running loop. Never raises because of a read.
    """
    chain: list[OwnerChainEntry] = []
    try:
        async with asyncio.timeout_at(deadline):
            await _follow(reader, target, namespace, chain)
    except (EnrichmentError, TimeoutError) as error:
        last = chain[-1]
        log.warning(
            "the owner chain ends early",
            extra={"owner": f"{last.kind}/{last.name}", "error": str(error) or "the time for the enrichment is over"},
        )
    return chain


async def _follow(reader: ClusterReader, target: ObjectMeta, namespace: str, chain: list[OwnerChainEntry]) -> None:
    current: ObjectMeta | None = target
    while current is not None and (owner := controller_of(current)) is not None:
        if cluster_scoped(owner.api_version, owner.kind):
            namespace = ""
        chain.append(
            OwnerChainEntry(namespace=namespace, kind=owner.kind, name=owner.name, api_version=owner.api_version)
        )
        resource = owner_resource(owner.api_version, owner.kind)
        if resource is None or len(chain) == MAX_DEPTH:
            return
        if resource.namespaced and not namespace:
            return
        current = await reader.metadata(resource, namespace, owner.name)
        if current is not None and owner.uid and current.uid and current.uid != owner.uid:
            return  # another object of that name

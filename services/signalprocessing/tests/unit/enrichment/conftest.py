"""A made-up cluster to read in, and the enricher over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kubernaut_api import ObjectMeta, Signal
from kubernaut_signalprocessing.enrichment import Enricher
from kubernaut_signalprocessing.enrichment.kinds import NAMESPACES
from kubernaut_status import Resource


class Cluster:
    """A `ClusterReader` and `Namespaces` over objects in memory.

    `reads` are the reads so far, as `pods shop/web-1`. A read fails with what is in `failing` under the plural or under
    "*", and hangs if that is None. Namespaces are looked up without a read, as those of a watch are.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], ObjectMeta] = {}
        self.failing: dict[str, Exception | None] = {}
        self.reads: list[str] = []

    def add(self, plural: str, name: str, namespace: str = "", **metadata: Any) -> None:
        """Add an object; metadata as on the wire, `owner` is (apiVersion, kind, name) of its controller."""
        if owner := metadata.pop("owner", None):
            api_version, kind, owner_name = owner
            metadata["ownerReferences"] = [
                {"apiVersion": api_version, "kind": kind, "name": owner_name, "uid": "u", "controller": True}
            ]
        self.objects[plural, namespace, name] = ObjectMeta.model_validate(
            {"name": name, "namespace": namespace, **metadata}
        )

    async def metadata(self, resource: Resource, namespace: str, name: str) -> ObjectMeta | None:
        self.reads.append(f"{resource.plural} {namespace}/{name}" if namespace else f"{resource.plural} {name}")
        return await self._answer(resource.plural, namespace, name)

    async def get(self, name: str) -> ObjectMeta | None:
        return await self._answer(NAMESPACES.plural, "", name)

    async def _answer(self, plural: str, namespace: str, name: str) -> ObjectMeta | None:
        for key in (plural, "*"):
            if key in self.failing:
                error = self.failing[key]
                if error is None:
                    await asyncio.Event().wait()
                else:
                    raise error
        return self.objects.get((plural, namespace, name))


@pytest.fixture
def cluster() -> Cluster:
    """A cluster with namespace shop."""
    made = Cluster()
    made.add("namespaces", "shop", labels={"kubernaut.ai/environment": "staging"}, annotations={"contact": "shop"})
    return made


@pytest.fixture
def lacks() -> list[str]:
    """What the enricher has told to be lacking."""
    return []


@pytest.fixture
def make_enricher(cluster: Cluster, lacks: list[str]) -> Callable[..., Enricher]:
    """Makes an enricher over `cluster`; options are the enricher's."""

    def make(**options: Any) -> Enricher:
        return Enricher(**{"local": cluster, "namespaces": cluster, "timeout": 10.0, "lacking": lacks.append} | options)

    return make


@pytest.fixture
def enricher(make_enricher: Callable[..., Enricher]) -> Enricher:
    return make_enricher()


@pytest.fixture
def signal() -> Callable[..., Signal]:
    """Makes a signal about kind, name, namespace."""

    def make(kind: str, name: str, namespace: str = "shop", cluster_id: str = "") -> Signal:
        target = {"kind": kind, "name": name, "namespace": namespace}
        return Signal.model_validate({"clusterID": cluster_id, "targetResource": target})

    return make

"""One signal in, what the cluster knows about its target out.

| kind of the target | read | in the context |
|---|---|---|
| Pod | the Pod, its owners upward | namespace, workload, owner chain |
| Deployment, StatefulSet, DaemonSet, ReplicaSet, Service | the object | namespace, workload |
| Node | the Node | workload |
| any other, with a namespace | | namespace |
| any other, without a namespace | | nothing: degraded |

The namespace comes from a watch and costs no request (`namespaces`). A target that does not exist makes the context
degraded, which is a result: alerts outlive Pods. Everything else that goes wrong before the target is known is an error
(`errors`); behind it, only the owner chain gets shorter (`owners`).

A signal with a `clusterID` is read in that cluster, or not at all. There, unlike here, what is missing for good is no
error: the target makes the context degraded, the namespace is left out. What is missing for now is tried again in both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from kubernaut_api import (
    ClusterContext,
    KubernetesContext,
    NamespaceContext,
    ObjectMeta,
    Signal,
    TargetResource,
    WorkloadContext,
)
from kubernaut_runtime.text import cut, one_line
from kubernaut_signalprocessing.metrics import EnrichmentError as Lack
from kubernaut_status import Resource

from .errors import (
    EnrichmentError,
    InvalidTargetError,
    NamespaceMissingError,
    RemoteClusterError,
    TransientReadError,
)
from .kinds import NAMESPACES, PODS, TARGETS
from .namespaces import Namespaces
from .owners import owner_chain
from .reader import ClusterReader, possible_name
from .remote import ClusterRegistry, ReaderFactory, ReaderUnavailableError

log = logging.getLogger(__name__)

_MAX_DESCRIBED = 600


class Enricher:
    """Enriches signals.

    `local` reads in the own cluster and `namespaces` knows its namespaces; `timeout` bounds all reads for one signal
    together, in seconds; `lacking` is told what an enrichment lacks, for the metric. Without `remote` no signal of
    another cluster can be enriched; without `registry` no cluster has labels.
    """

    def __init__(
        self,
        *,
        local: ClusterReader,
        namespaces: Namespaces,
        timeout: float,
        lacking: Callable[[Lack], None],
        remote: ReaderFactory | None = None,
        registry: ClusterRegistry | None = None,
    ) -> None:
        self._local = local
        self._namespaces = namespaces
        self._timeout = timeout
        self._lacking = lacking
        self._remote = remote
        self._registry = registry

    async def enrich(self, signal: Signal) -> KubernetesContext:
        """Return what is known about the signal's target now, without custom labels. Raises `EnrichmentError`s."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        target = signal.target_resource
        if signal.cluster_id:
            context = await self._in_remote_cluster(signal.cluster_id, target, deadline)
        else:
            context = await self._in_own_cluster(target, deadline)
        labels = self._registry.labels(signal.cluster_id) if self._registry is not None and signal.cluster_id else None
        if labels is not None:
            context.cluster = ClusterContext(labels=dict(labels))
        return context

    async def _in_own_cluster(self, target: TargetResource, deadline: float) -> KubernetesContext:
        context = KubernetesContext()
        resource = TARGETS.get(target.kind)
        if _needs_namespace(target, resource):
            async with _in_time(deadline, target):
                namespace = await self._namespaces.get(target.namespace)
            if namespace is None:
                raise NamespaceMissingError(target.namespace, _described(target))
            context.namespace = _namespace_context(target.namespace, namespace)
        elif resource is None:
            context.degraded_mode = True
        if resource is None:
            return context
        try:
            async with _in_time(deadline, target):
                found = await _read(self._local, resource, target)
        except EnrichmentError:
            self._lacking("api_error")
            raise
        if found is None:
            self._lacking("not_found")
            context.degraded_mode = True
        else:
            await _add_workload(context, self._local, found, target, deadline)
        return context

    async def _in_remote_cluster(self, cluster_id: str, target: TargetResource, deadline: float) -> KubernetesContext:
        if self._remote is None:
            raise RemoteClusterError(cluster_id)
        context = KubernetesContext(cluster_id=cluster_id)
        resource = TARGETS.get(target.kind)
        named = _needs_namespace(target, resource)
        try:
            async with _in_time(deadline, target):
                reader = await self._remote.reader(cluster_id)
        except ReaderUnavailableError as error:
            log.warning("cannot read in a remote cluster", extra={"cluster_id": cluster_id, "error": str(error)})
            self._lacking("remote_reader_unavailable")
            context.degraded_mode = True
            return context
        if named:
            async with _in_time(deadline, target):
                namespace = await _unless_for_good(reader.metadata(NAMESPACES, "", target.namespace))
            context.namespace = None if namespace is None else _namespace_context(target.namespace, namespace)
        if resource is None:
            context.degraded_mode = not named
            return context
        async with _in_time(deadline, target):
            found = await _unless_for_good(_read(reader, resource, target))
        if found is None:
            self._lacking("remote_not_found")
            context.degraded_mode = True
        else:
            await _add_workload(context, reader, found, target, deadline)
        return context


def _needs_namespace(target: TargetResource, resource: Resource | None) -> bool:
    """Whether the target lives in a namespace that is to be told; raises `InvalidTargetError` if it cannot."""
    if resource is not None and not resource.namespaced:
        return False
    if not target.namespace:
        if resource is None:
            return False
        raise InvalidTargetError(
            f"cannot enrich {_described(target)}: targetResource.namespace is empty, but a {target.kind} lives in one"
        )
    if not possible_name(target.namespace):
        raise InvalidTargetError(f"cannot enrich {_described(target)}: its namespace cannot be the name of one")
    return True


async def _read(reader: ClusterReader, resource: Resource, target: TargetResource) -> ObjectMeta | None:
    return await reader.metadata(resource, target.namespace if resource.namespaced else "", target.name)


async def _unless_for_good(read: Awaitable[ObjectMeta | None]) -> ObjectMeta | None:
    """Await `read`; None if it fails in a way that time does not heal."""
    try:
        return await read
    except TransientReadError:
        raise
    except EnrichmentError as error:
        log.warning("cannot read in a remote cluster", extra={"error": str(error)})
        return None


async def _add_workload(
    context: KubernetesContext, reader: ClusterReader, found: ObjectMeta, target: TargetResource, deadline: float
) -> None:
    context.workload = WorkloadContext(
        kind=target.kind, name=target.name, labels=found.labels, annotations=found.annotations
    )
    if target.kind == PODS.kind:
        context.owner_chain = await owner_chain(reader, found, target.namespace, deadline=deadline)


def _namespace_context(name: str, found: ObjectMeta) -> NamespaceContext:
    return NamespaceContext(name=name, labels=found.labels, annotations=found.annotations)


@asynccontextmanager
async def _in_time(deadline: float, target: TargetResource) -> AsyncIterator[None]:
    """Make the end of the time an error of a read."""
    if asyncio.get_running_loop().time() >= deadline:
        raise _late(target)
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise _late(target) from None


def _late(target: TargetResource) -> TransientReadError:
    return TransientReadError(f"cannot enrich {_described(target)}: the reads did not end within enrichment.timeout")


def _described(target: TargetResource) -> str:
    name = f"{target.namespace}/{target.name}" if target.namespace else target.name
    return cut(one_line(f"{target.kind or 'a target'} {name}"), _MAX_DESCRIBED)

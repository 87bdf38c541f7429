"""Puts the enrichment into a process: the watch of namespaces, the reader, the enricher."""

from __future__ import annotations

from kubernaut_runtime import Runtime
from kubernaut_signalprocessing.config import SignalProcessingConfig
from kubernaut_signalprocessing.metrics import SignalProcessingMetrics

from .enricher import Enricher
from .kinds import NAMESPACES
from .namespaces import WatchedNamespaces
from .reader import LocalReader
from .remote import ClusterRegistry, ReaderFactory


def add_enricher(
    runtime: Runtime[SignalProcessingConfig],
    metrics: SignalProcessingMetrics,
    *,
    remote: ReaderFactory | None = None,
    registry: ClusterRegistry | None = None,
) -> Enricher:
    """Have `runtime` watch the namespaces and return the enricher of the process; call it once, while setting up."""
    local = LocalReader(runtime.client)
    return Enricher(
        local=local,
        namespaces=WatchedNamespaces(runtime.add_kind(NAMESPACES), local),
        timeout=runtime.config.enrichment.timeout,
        lacking=metrics.enrichment_error,
        remote=remote,
        registry=registry,
    )

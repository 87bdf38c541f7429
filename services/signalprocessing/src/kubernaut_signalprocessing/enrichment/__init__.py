"""What the cluster knows about a signal's target: namespace, target, owners, cluster.

| for | use |
|---|---|
| the wiring: watch what is needed, build | `add_enricher` |
| one signal | `Enricher.enrich`, which raises `EnrichmentError`s |
| labels that the rest of the processing works on | `labels` |
| remote clusters | `remote`: protocols to implement |
"""

from .enricher import Enricher
from .errors import (
    EnrichmentError,
    ForbiddenReadError,
    InvalidTargetError,
    NamespaceMissingError,
    RemoteClusterError,
    TransientReadError,
)
from .labels import custom_labels, label_source
from .reader import ClusterReader, LocalReader
from .remote import ClusterRegistry, ReaderFactory, ReaderUnavailableError
from .setup import add_enricher

__all__ = [
    "ClusterReader",
    "ClusterRegistry",
    "Enricher",
    "EnrichmentError",
    "ForbiddenReadError",
    "InvalidTargetError",
    "LocalReader",
    "NamespaceMissingError",
    "ReaderFactory",
    "ReaderUnavailableError",
    "RemoteClusterError",
    "TransientReadError",
    "add_enricher",
    "custom_labels",
    "label_source",
]

"""The policy's input: one JSON document, the same for all queries.

    {"namespace": {"name", "labels"?, "annotations"?}, "workload": {"kind", "name", "labels"?, "annotations"?},
     "signal": {"severity", "type", "source", "labels"?}, "cluster": {"labels"?}}

Names are always there and may be empty; a map is absent when it is empty, and nothing is ever null: policies in use
tell by `not input.namespace.labels` that there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernaut_api import KubernetesContext
from kubernaut_api.signalprocessing import Signal

Document = dict[str, Any]
"""JSON values only."""


def input_document(signal: Signal, context: KubernetesContext | None) -> Document:
    """Return what the policy is asked about; without a context all that it would tell is empty."""
    known = context or KubernetesContext()
    namespace, workload, cluster = known.namespace, known.workload, known.cluster
    return {
        "namespace": {
            "name": namespace.name,
            **_maps(labels=namespace.labels, annotations=namespace.annotations),
        }
        if namespace
        else {"name": ""},
        "workload": {
            "kind": workload.kind,
            "name": workload.name,
            **_maps(labels=workload.labels, annotations=workload.annotations),
        }
        if workload
        else {"kind": "", "name": ""},
        "signal": {
            "severity": signal.severity,
            "type": signal.type,
            "source": signal.source,
            **_maps(labels=signal.labels),
        },
        "cluster": _maps(labels=cluster.labels) if cluster else {},
    }


def _maps(**maps: Mapping[str, str]) -> Document:
    return {name: dict(entries) for name, entries in maps.items() if entries}

"""Labels as the rest of the processing takes them: the source of business facts, and the custom labels.

Where a fact is looked for in labels, the namespace's win key by key, and the target's fill in what is missing there. In
the Go controller a namespace with any label at all (every real one has) hides all labels of the target.

Custom labels are what the policy's rule gives, within limits. Which labels a limit keeps is decided by their order, and
a text is cut between code points, so that the same policy gives the same labels every time. If the rule gives none, a
few well-known labels stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernaut_api import KubernetesContext

MAX_LABELS = 10
MAX_VALUES = 5
"""Values of one custom label."""

MAX_KEY_BYTES = 63
MAX_VALUE_BYTES = 100

RESERVED_PREFIXES = ("kubernaut.ai/", "system/")
"""Keys that a policy cannot give: they are the system's own."""

FALLBACK_LABELS = {
    "kubernaut.ai/team": "team",
    "kubernaut.ai/tier": "tier",
    "kubernaut.ai/cost-center": "cost-center",
    "kubernaut.ai/region": "region",
}
"""Label of namespace or target -> custom label, for when the policy gives none."""


def label_source(context: KubernetesContext) -> dict[str, str]:
    """Return the labels of the namespace, and those of the target whose keys the namespace does not have."""
    workload = context.workload.labels if context.workload is not None else {}
    namespace = context.namespace.labels if context.namespace is not None else {}
    return {**workload, **namespace}


def custom_labels(context: KubernetesContext, answer: object) -> dict[str, list[str]]:
    """Return the custom labels: those in the rule's `answer` (None if it failed), else the well-known ones."""
    if given := sanitised(answer):
        return given
    labels = label_source(context)
    return {name: [labels[key]] for key, name in FALLBACK_LABELS.items() if labels.get(key)}


def sanitised(answer: object) -> dict[str, list[str]]:
    """Return what is usable in a label rule's answer: a mapping of names to texts or lists of texts.

    Everything else in it is dropped, and so are reserved keys. Keys are taken in the order of their code points; of
    two that are equal once cut the first stays.
    """
    labels: dict[str, list[str]] = {}
    if not isinstance(answer, Mapping):
        return labels
    for key, value in sorted(((key, value) for key, value in answer.items() if isinstance(key, str)), key=_key):
        values = [cut_bytes(item, MAX_VALUE_BYTES) for item in _texts(value)][:MAX_VALUES]
        if key and values and not key.startswith(RESERVED_PREFIXES):
            labels.setdefault(cut_bytes(key, MAX_KEY_BYTES), values)
        if len(labels) == MAX_LABELS:
            break
    return labels


def cut_bytes(text: str, limit: int) -> str:
    """Return the longest beginning of `text` that is whole code points and at most `limit` bytes of UTF-8."""
    return text.encode(errors="replace")[:limit].decode(errors="ignore")


def _key(item: tuple[str, Any]) -> str:
    return item[0]


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

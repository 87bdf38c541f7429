"""The downward API: what a pod may learn about itself, for environment variables and volumes alike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from kubernaut_testing.kubelet.api import Object

__all__ = ["NodeFacts", "field_value", "parse_quantity", "resource_value"]

_UNITS = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


class NodeFacts(dict[str, str]):
    """What a container that sets no limit gets for ``cpu``, ``memory`` and so on: the node's own quantity."""


def parse_quantity(text: str) -> float:
    """The number that a quantity such as ``500m`` or ``256Mi`` stands for; ValueError for anything else."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None or found.group(2) not in _UNITS:
        raise ValueError(f"cannot read the quantity {text!r}")
    return float(found.group(1)) * _UNITS[found.group(2)]


def field_value(path: str, pod: Object, address: str) -> str:
    """The value of a ``fieldRef``'s fieldPath; KeyError if the downward API knows no such field.

    ``metadata.labels`` and ``metadata.annotations`` as a whole come as lines ``key="value"``, as in a volume.
    """
    meta: Mapping[str, Any] = pod["metadata"]
    spec: Mapping[str, Any] = pod["spec"]
    simple = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
    }
    if path in simple:
        return str(simple[path])
    if found := re.fullmatch(r"metadata\.(labels|annotations)(?:\['(.+)'\])?", path):
        values: Mapping[str, str] = meta.get(found.group(1)) or {}
        if found.group(2):
            return values.get(found.group(2), "")
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(values.items()))
    raise KeyError(path)


def resource_value(reference: Mapping[str, Any], container: Mapping[str, Any], node: NodeFacts) -> str:
    """The value of a ``resourceFieldRef``: the limit or request over its divisor, rounded up."""
    group, _, name = str(reference["resource"]).partition(".")
    amount = (container.get("resources") or {}).get(group, {}).get(name, node.get(name, "0"))
    divisor = str(reference.get("divisor") or "1")
    return str(math.ceil(parse_quantity(str(amount)) / (parse_quantity(divisor) or 1.0)))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

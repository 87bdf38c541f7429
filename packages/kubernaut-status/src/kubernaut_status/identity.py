"""What an object is called: its resource (the API's noun) and its key (namespace and name).

A key says *where* an object is, its uid says *which* it is: a deleted and recreated object has the
same key and another uid, and state of the old one must never reach the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Object = Mapping[str, Any]
"""A Kubernetes object as the API server sends it: a JSON object with metadata, spec and status."""


class ObjectKey(NamedTuple):
    """Where an object is: its namespace (empty for cluster-scoped kinds) and its name."""

    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Object) -> ObjectKey:
        """The key of `obj`, from its metadata. Raises ValueError if it has no name."""
        metadata = obj.get("metadata") or {}
        if not metadata.get("name"):
            raise ValueError("cannot tell which object this is: metadata.name is missing; pass the whole object")
        return cls(metadata.get("namespace") or "", metadata["name"])

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object as the API serves it.

    `group` is empty for the core group; `plural` is the path segment and the RBAC name.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` alone in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection_path(self, namespace: str = "") -> str:
        """The path of the collection; without a namespace, of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}"

    def object_path(self, key: ObjectKey) -> str:
        """The path of one object. Raises ValueError if its namespace is missing: nothing would be found there."""
        if self.namespaced and not key.namespace:
            raise ValueError(
                f"cannot tell where {self.plural} {key.name!r} is: metadata.namespace is missing; pass the whole "
                "object, or say Resource(..., namespaced=False) if the kind lives outside of namespaces"
            )
        return f"{self.collection_path(key.namespace)}/{key.name}"


def uid_of(obj: Object) -> str:
    """The object's uid; empty if it has none (an object that was never stored)."""
    return str((obj.get("metadata") or {}).get("uid") or "")


def version_of(obj: Object) -> int:
    """The object's resourceVersion as the number it is; 0 if it has none.

    resourceVersions of one kind are ordered integers (Kubernetes 1.35, KEP-5504).
    """
    version = str((obj.get("metadata") or {}).get("resourceVersion") or "0")
    return int(version) if version.isdecimal() else 0


def precondition_of(obj: Object) -> str:
    """The resourceVersion that a write based on `obj` is conditional on. Raises ValueError if it has none."""
    version = str((obj.get("metadata") or {}).get("resourceVersion") or "0")
    if version == "0":
        raise ValueError(
            f"cannot write {ObjectKey.of(obj)} under a condition: metadata.resourceVersion is missing; pass the whole "
            "object, as the API server gave it"
        )
    return version


def status_of(obj: Object) -> dict[str, Any]:
    """The object's status; empty if it has none yet."""
    status = obj.get("status")
    return dict(status) if isinstance(status, Mapping) else {}

"""The kinds that can be read: by the name that an alert gives, or as the owner reference says.

An alert names a kind without its API group, so only kinds that are unmistakable are targets. An owner reference says
which API its kind is of, and that is honoured: a `Deployment` of another group than `apps` is not looked up there.
Kinds that are not in the table are not read. Their plural is unknown here, asking the server for it costs requests for
every kind that a cluster may have, and the controller's role does not cover them.
"""

from __future__ import annotations

from kubernaut_status import Resource

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")

_SERVICES = Resource("", "v1", "services", "Service")
_APPS = (
    Resource("apps", "v1", "deployments", "Deployment"),
    Resource("apps", "v1", "statefulsets", "StatefulSet"),
    Resource("apps", "v1", "daemonsets", "DaemonSet"),
    Resource("apps", "v1", "replicasets", "ReplicaSet"),
)
_BATCH = (Resource("batch", "v1", "jobs", "Job"), Resource("batch", "v1", "cronjobs", "CronJob"))

TARGETS = {resource.kind: resource for resource in (PODS, *_APPS, _SERVICES, NODES)}
"""Kind -> resource, for the kinds of targets that are read. Of any other kind only the namespace is."""

_OWNERS = {(r.group, r.kind): r for r in (PODS, NODES, NAMESPACES, _SERVICES, *_APPS, *_BATCH)}

_RBAC = "rbac.authorization.k8s.io"
_CLUSTER_SCOPED = {
    ("", "Node"),
    ("", "PersistentVolume"),
    ("", "Namespace"),
    (_RBAC, "ClusterRole"),
    (_RBAC, "ClusterRoleBinding"),
}


def group_of(api_version: str) -> str:
    """Return the group in `group/version`; empty for the core group's `v1`."""
    return api_version.rpartition("/")[0]


def owner_resource(api_version: str, kind: str) -> Resource | None:
    """Return how to read an owner; None if it is of a kind that is not read."""
    return _OWNERS.get((group_of(api_version), kind))


def cluster_scoped(api_version: str, kind: str) -> bool:
    """Whether a kind is known to live outside of namespaces."""
    return (group_of(api_version), kind) in _CLUSTER_SCOPED

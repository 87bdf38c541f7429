"""Why a signal could not be enriched, as types: what to do about it is another question for each.

    EnrichmentError
    ├── TransientReadError      the API server was busy, failing, slow or out of reach: try again, with growing waits
    ├── ForbiddenReadError      a permission is missing: goes on once somebody grants it
    ├── NamespaceMissingError   the target's namespace does not exist: goes on once it does
    ├── InvalidTargetError      permanent: no cluster could ever have such a target
    └── RemoteClusterError      permanent: the target is in a cluster that this process has no connection to

`permanent` errors cannot go away while the process runs and the spec, which is immutable, says what it says; all
others leave the object in its phase. A bare `EnrichmentError` is an answer that fits none of these. A target that does
not exist is no error: the context is degraded.

Messages are one line, name what was read, and hold nothing secret.
"""

from __future__ import annotations

from typing import ClassVar

from kubernaut_signalprocessing.metrics import FailureReason


class EnrichmentError(Exception):
    """The root; also what a read raises that no subclass fits (for example 400)."""

    permanent: ClassVar[bool] = False
    """Whether trying again is in vain."""

    reason: ClassVar[FailureReason] = "unreadable"
    """What a signal that ends of it is counted as."""


class TransientReadError(EnrichmentError):
    """429, 5xx, 401 (a token that is being rotated), a timeout, no connection, or an answer of some proxy.

    `retry_after` is in seconds, or None if the server did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class ForbiddenReadError(EnrichmentError):
    """403. The missing permission: `verb` on `resource` (`deployments.apps`) in `namespace` (empty: cluster-wide)."""

    reason = "forbidden"

    def __init__(self, *, verb: str, resource: str, namespace: str, detail: str = "") -> None:
        self.verb, self.resource, self.namespace = verb, resource, namespace
        where = f"in namespace {namespace}" if namespace else "at cluster scope"
        super().__init__(
            f"cannot {verb} {resource} {where}: forbidden; grant verb {verb} on {resource} "
            f"to the controller's service account{detail and f' ({detail})'}"
        )


class NamespaceMissingError(EnrichmentError):
    """The target's `namespace` does not exist."""

    reason = "namespace_missing"

    def __init__(self, namespace: str, target: str) -> None:
        self.namespace = namespace
        super().__init__(f"cannot enrich {target}: namespace {namespace} does not exist")


class InvalidTargetError(EnrichmentError):
    """The target names no namespace although its kind lives in one, or a namespace whose name cannot be one."""

    permanent = True
    reason = "invalid_target"


class RemoteClusterError(EnrichmentError):
    """The target is in the remote cluster `cluster_id`, and no connection to remote clusters is configured.

    The local cluster is never read in its place: an object of the same name there is another one.
    """

    permanent = True
    reason = "remote_cluster"

    def __init__(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id
        super().__init__(
            f"cannot enrich a target in cluster {cluster_id}: this controller has no connection to remote clusters; "
            "create the signal without clusterID if the target is in the controller's own cluster"
        )

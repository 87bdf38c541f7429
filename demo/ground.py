"""The ground that the chapters stand on: a cluster, how to reach it, where files go, whether helm can install there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kubernaut_runtime import Connection
from kubernaut_testing import ControlPlane
from kubernaut_testing.kubelet import LocalKubelet
from kubernaut_testing.ledger import RequestLedger

__all__ = ["DemoError", "Ground"]


class DemoError(Exception):
    """The demo cannot go on; the text begins with "cannot" and says what to do."""


class Ground:
    """What all chapters share.

    Attributes:
        cluster: the control plane, or an existing cluster.
        connection: the administrator's way to it.
        folder: for logs and deliveries.
        ledger: the audit log; None where it is out of reach.
        kubelet: runs pods, so that charts can be installed; None where operators are bare processes.
    """

    def __init__(
        self,
        cluster: ControlPlane,
        connection: Connection,
        folder: Path,
        prefix: str,
        *,
        ledger: RequestLedger | None = None,
        kubelet: LocalKubelet | None = None,
    ) -> None:
        self.cluster, self.connection, self.folder = cluster, connection, folder
        self.ledger, self.kubelet = ledger, kubelet
        self._prefix = prefix
        self._made: set[str] = set()

    def namespace(self, purpose: str, labels: Mapping[str, str] | None = None) -> str:
        """The namespace for this purpose; made, with these labels, when it is first asked for."""
        name = f"{self._prefix}{purpose}"
        if name not in self._made:
            self.cluster.create_namespace(name)
            self._made.add(name)
            if labels:
                self.cluster.api.patch("v1", "Namespace", None, name, {"metadata": {"labels": dict(labels)}})
        return name

"""A control plane with controller manager and local kubelet, in one object: what a chart is installed into."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Self

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.kubelet import Image, LocalKubelet, Settings
from kubernaut_testing.rest import RestClient

__all__ = ["Cluster"]


class Cluster:
    """Starts a ``ControlPlane`` and a ``LocalKubelet`` on it; a context manager.

    Args:
        images: see ``LocalKubelet``; more may be added to ``kubelet.images`` at any time.
        settings: see ``LocalKubelet``.
        folder: for the logs of the pods; default is temporary.
        control_plane: further keyword arguments of the ``ControlPlane``.
    """

    def __init__(
        self,
        images: MutableMapping[str, Image | Sequence[str]] | None = None,
        *,
        settings: Settings | None = None,
        folder: Path | None = None,
        control_plane: Mapping[str, Any] | None = None,
    ) -> None:
        self.control_plane = ControlPlane(**{"controller_manager": True, **(control_plane or {})})
        self.kubelet = LocalKubelet(self.control_plane, images, settings=settings, folder=folder)

    def __enter__(self) -> Self:
        self.control_plane.start()
        try:
            self.kubelet.start()
        except BaseException:
            self.control_plane.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kubelet.stop()
        self.control_plane.stop()

    @property
    def api(self) -> RestClient:
        """The administrator's client."""
        return self.control_plane.api

    def apply(self, manifest: Mapping[str, Any] | str | Path) -> list[dict[str, Any]]:
        """Server-side apply, see ``ControlPlane.apply``."""
        return self.control_plane.apply(manifest)

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig, for helm and kubectl."""
        return self.control_plane.kubeconfig

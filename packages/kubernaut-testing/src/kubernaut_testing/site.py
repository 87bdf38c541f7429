"""A namespace with an operator in it and the objects that it works on: what the tests of every operator ask of it.

A service's site says which kind it is about, how an object is made and what the operator's config file holds; looking
at objects, Events and requests is the same for all, so that a test which needs no more can be run for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.entries import Entry
from kubernaut_testing.invariants import Contract
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy

__all__ = ["OperatorSite"]


class OperatorSite:
    """One namespace with its operator; subclasses set the class attributes and say what differs.

    ``deployment`` is the operator; start it as a context manager. ``deployments`` are all replicas.

    Attributes:
        program: the operator's console script; its user agent begins so.
        api_version: of the kind that it works on.
        kind: that kind.
        plural: that kind as in URLs.
        terminal: the phases in which an object has ended.
        contract: what its status means.
        role: YAML file with the operator's Role, and its ClusterRole if it has one.
        account: name of its ServiceAccount.
    """

    program: ClassVar[str]
    api_version: ClassVar[str]
    kind: ClassVar[str]
    plural: ClassVar[str]
    terminal: ClassVar[frozenset[str]]
    contract: ClassVar[Contract]
    role: Path
    account: ClassVar[str] = "operator"

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        folder: Path,
        *,
        config: Mapping[str, Any] | None = None,
        proxy: FaultProxy | None = None,
        name: str = "operator",
    ) -> None:
        self.control_plane, self.namespace, self.folder, self.proxy = control_plane, namespace, folder, proxy
        self.deployments: list[OperatorDeployment] = []
        self.deployment = self.deploy(name, config=config, proxy=proxy)

    def deploy(
        self, name: str, *, config: Mapping[str, Any] | None = None, proxy: FaultProxy | None = None
    ) -> OperatorDeployment:
        """A replica with the site's files; it is not started."""
        deployment = OperatorDeployment(
            self.control_plane,
            self.namespace,
            self.program,
            self.folder / name,
            role=self.role,
            config=self.config(config or {}),
            env={"POD_NAME": name, **self.environment()},
            proxy=proxy,
            account=self.account,
        )
        self.deployments.append(deployment)
        return deployment

    def config(self, further: Mapping[str, Any]) -> dict[str, Any]:
        """The operator's config at this site; ``further`` overrides whole sections, or as the subclass says."""
        return dict(further)

    def environment(self) -> dict[str, str]:
        """The operator's environment at this site."""
        return {}

    def get(self, name: str) -> dict[str, Any]:
        """The stored object."""
        return self.control_plane.api.get(self.api_version, self.kind, self.namespace, name)

    def delete(self, name: str) -> None:
        """Delete the object."""
        self.control_plane.api.delete(self.api_version, self.kind, self.namespace, name)

    def write_status(self, name: str, status: Mapping[str, Any]) -> dict[str, Any]:
        """Merge ``status`` into that of the object, as another writer does; returns the object."""
        return self.control_plane.api.patch(
            self.api_version, self.kind, self.namespace, name, {"status": status}, subresource="status"
        )

    def status(self, name: str) -> dict[str, Any]:
        """Its status, empty if it has none."""
        return self.get(name).get("status") or {}

    def phase(self, name: str) -> str:
        """Its phase, empty if it has none."""
        return str(self.status(name).get(self.contract.phase_field, ""))

    def ended(self, name: str) -> bool:
        """Whether its phase is terminal."""
        return self.phase(name) in self.terminal

    def objects(self) -> list[dict[str, Any]]:
        """All objects of the namespace."""
        return self.control_plane.api.list(self.api_version, self.kind, self.namespace)

    def ref(self, name: str) -> str:
        """How the ledger calls the object."""
        return f"{self.plural}/{self.namespace}/{name}"

    def requests(self, ledger: RequestLedger, name: str) -> list[Entry]:
        """What the operator asked of the object; settles the ledger first."""
        ledger.settle()
        return ledger.requests(self.ref(name), user_agent=self.program)

    def events(self, name: str, reason: str = "") -> list[dict[str, Any]]:
        """The Events about the object; with ``reason`` only those."""
        return self.control_plane.api.events(self.namespace, name, reason)

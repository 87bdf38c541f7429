"""What a scene asks of a service: objects of several fates, and what the outside saw of each.

A site of a service is a `FaultSite`; all that scenes share beyond it is in `OperatorSite`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any, ClassVar

from kubernaut_api import load_crd
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.site import OperatorSite

__all__ = ["FaultSite"]

PARALLEL = 5
"""Pieces of work that are under way at once with the config `FaultSite.few`."""


class FaultSite(OperatorSite, ABC):
    """A site at which the scenes of faults are played.

    Attributes:
        life: the phases of an undisturbed object, "" first and the good end last; each is entered by one write.
        calls: the requests to the API server that such a life takes one after the other.
        waiting_writes: the writes of an object until it waits.
        effects_follow: whether an effect is made after the write that it belongs to, so that a process which ends
            between the two loses it; else it is made before, and told as unknown.
        late_write: how the operator counts a write that finds the object ended meanwhile.
        few: config with which `PARALLEL` pieces of work are under way at once, so that there is work for a while.
        patient: config with which failures of one object hold up no other.
        unhurried: config with which work may take as long as it takes.
        foreign_end: a status that ends an object from outside.
        lease_name: of the lease of the replicas.
    """

    life: ClassVar[tuple[str, ...]]
    calls: ClassVar[int]
    waiting_writes: ClassVar[int]
    effects_follow: ClassVar[bool]
    late_write: ClassVar[str]
    few: ClassVar[Mapping[str, Any]]
    patient: ClassVar[Mapping[str, Any]] = {}
    unhurried: ClassVar[Mapping[str, Any]] = {}
    foreign_end: ClassVar[Mapping[str, Any]]
    lease_name: ClassVar[str]

    @classmethod
    def install_crds(cls, control_plane: ControlPlane) -> None:
        """Apply the CRD that the models generate."""
        control_plane.apply(load_crd(cls.plural))

    @property
    def writes(self) -> int:
        """The status writes of an undisturbed life."""
        return len(self.life) - 1

    @property
    def goal(self) -> str:
        """The phase in which an undisturbed life ends."""
        return self.life[-1]

    @classmethod
    @abstractmethod
    def manifest(cls, namespace: str, name: str, /) -> dict[str, Any]:
        """An object that can be created anywhere."""

    @abstractmethod
    def create(self, name: str, /) -> dict[str, Any]:
        """Create an object that lives undisturbed."""

    @abstractmethod
    def create_other(self, name: str, /) -> dict[str, Any]:
        """Create an object that ends as well, and that `is_other` tells from those of `create`."""

    @abstractmethod
    def is_other(self, name: str) -> bool:
        """Whether the final status is that of an object of `create_other`, with nothing of another life in it."""

    @abstractmethod
    def create_waiting(self, name: str) -> dict[str, Any]:
        """Create an object whose work fails for now and is not tried again while a scene lasts."""

    @abstractmethod
    def waits(self, name: str) -> bool:
        """Whether an object of `create_waiting` has failed for now."""

    def prolong(self) -> None:
        """Let the objects that are created from now on live the longest life there is, if there are several."""

    @abstractmethod
    def slow(self, seconds: float) -> None:
        """Let the work of each object take so long from now on, if the site has what that needs (a proxy, say)."""

    @abstractmethod
    def begun(self) -> list[float]:
        """When each piece of work began since the site was made, in monotonic seconds."""

    @abstractmethod
    def effects(self, name: str) -> Sequence[Hashable]:
        """The effects that took place, repetitions included, by the identities of the contract's attempts."""

    def is_event(self, effect: Hashable) -> bool:
        """Whether an effect is a Kubernetes Event: one that the API server does not take in time is given up."""
        return False

    def told_unknown(self, name: str) -> Set[Hashable]:
        """The effects whose outcome was told as unknown."""
        return set()

    def lease(self) -> dict[str, Any]:
        """What the lease says that the replicas elect their leader by."""
        found = self.control_plane.api.get("coordination.k8s.io/v1", "Lease", self.namespace, self.lease_name)
        return dict(found["spec"])

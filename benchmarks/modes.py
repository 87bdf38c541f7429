"""The ways of writing status that are compared: the two config keys of every operator that choose them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Mode:
    """One way: `update` and `refetch` are `controller.statusUpdateMode` and `controller.statusRefetch`."""

    name: str
    update: Literal["atomic", "sequential"]
    refetch: Literal["on_conflict", "always"]
    meaning: str

    @property
    def config(self) -> dict[str, str]:
        """The operator's `controller` section."""
        return {"statusUpdateMode": self.update, "statusRefetch": self.refetch}


ATOMIC = Mode("atomic", "atomic", "on_conflict", "one conditional write per pass, no read before it; the default")
SEQUENTIAL = Mode("sequential", "sequential", "on_conflict", "one write per change, the phase last")
REFETCH = Mode("refetch=always", "atomic", "always", "one write per pass, and a read of the object before each")

MODES = (ATOMIC, SEQUENTIAL, REFETCH)
"""All modes; the first is what the others are compared with."""

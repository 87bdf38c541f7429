"""Requests on an object and for it, as numbers that can be added and compared."""

from __future__ import annotations

from dataclasses import astuple, dataclass

__all__ = ["Requests"]


@dataclass(frozen=True)
class Requests:
    """What an operator asked of the API server.

    Attributes:
        writes: status writes of the object.
        gets: reads of the object.
        conflicts: requests on the object that were refused as conflicts.
        others: anything else on the object.
        reads: reads of other objects for its sake.
        events: Events about it.
    """

    writes: int = 0
    gets: int = 0
    conflicts: int = 0
    others: int = 0
    reads: int = 0
    events: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        told = [f"{self.writes} PATCH", f"{self.gets} GET", f"{self.conflicts} conflicts"]
        told += [f"{self.others} others"] if self.others else []
        told += [f"{self.reads} reads of others"] if self.reads else []
        return ", ".join([*told, *([f"{self.events} Events"] if self.events else [])])

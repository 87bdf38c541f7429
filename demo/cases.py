"""What a sample of any chapter is: a manifest, the end that it must come to, and the requests that this may cost.

The number of status writes follows from what happens: in atomic mode one per pass, in sequential mode one per change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from demo.requests import Requests

__all__ = ["MODES", "Case"]

MODES = ("atomic", "sequential")
"""The values of `controller.statusUpdateMode` that are compared; the first is the default."""


@dataclass(frozen=True)
class Case:
    """One sample.

    Attributes:
        name: of the sample's file and of its object.
        phase: in which it must end; "" for a sample that the API server must reject.
        writes: status writes by mode.
        reads: reads of other objects.
        events: Events about it.
        complaint: what the API server's rejection must name.
    """

    name: str
    phase: str
    writes: Mapping[str, int] = field(default_factory=dict)
    reads: int = 0
    events: int = 0
    complaint: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the API server must accept it."""
        return bool(self.phase)

    def budget(self, mode: str) -> Requests:
        """What it may cost; to the request."""
        return Requests(self.writes[mode], reads=self.reads, events=self.events) if self.accepted else Requests()

"""The sample notifications, what Slack answers to each, and what must come of it.

Each goes to Slack, console and file. The number of status writes follows from what happens:

* atomic: one write per pass. Pending, Sending, and one for each pass that attempts something.
* sequential: one write per change. Such a pass writes once per attempt and once for phase and conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CASES", "CHANNELS", "MODES", "SAMPLES", "Case"]

SAMPLES = Path(__file__).with_name("samples")
"""The folder of the sample manifests, `<name>.yaml`."""

MODES = ("atomic", "sequential")
"""The values of `controller.statusUpdateMode` that are compared; the first is the default."""

CHANNELS = ("slack", "console", "file")
"""The channels of every sample."""


@dataclass(frozen=True)
class Case:
    """One sample.

    Attributes:
        name: of the sample's file and of its object.
        slack: status codes that Slack answers, in order; the last one is repeated. What is 2xx is delivered.
        phase: in which it must end; "" for a sample that the API server must reject.
        complaint: what the rejection must name.
        writes: status writes by mode.
    """

    name: str
    phase: str
    slack: tuple[int, ...] = ()
    complaint: str = ""
    writes: Mapping[str, int] | None = None

    @property
    def file(self) -> Path:
        """The manifest's file."""
        return SAMPLES / f"{self.name}.yaml"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest, without a namespace."""
        loaded: dict[str, Any] = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        return loaded

    @property
    def subject(self) -> str:
        """The subject, by which what arrived is recognised."""
        return str(self.manifest["spec"]["subject"])

    @property
    def accepted(self) -> bool:
        """Whether the API server must accept it."""
        return bool(self.phase)

    @property
    def attempts(self) -> int:
        """Delivery attempts that its status must show."""
        return len(self.slack) + len(CHANNELS) - 1


CASES = (
    Case("all-channels", "Sent", slack=(200,), writes={"atomic": 3, "sequential": 6}),
    Case("slack-recovers", "Sent", slack=(503, 503, 200), writes={"atomic": 5, "sequential": 10}),
    Case("slack-archived", "PartiallySent", slack=(410,), writes={"atomic": 3, "sequential": 6}),
    Case("unknown-priority", "", complaint="spec.priority"),
)
"""In the order in which they are applied and shown."""

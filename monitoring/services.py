"""What tells one controller's alerts and panels from another's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
LEAST_FAILED = 3
"""Objects that must have ended Failed before their share of all is told: one in a quiet half hour would be all."""


@dataclass(frozen=True)
class Service:
    """One controller.

    Attributes:
        name: of its chart, its Lease and its audit events.
        kind: as in titles and, behind `Kubernaut`, in the names of alerts.
        prefix: begins the names of its own metrics.
        plural: of its resource; also the name of its queue and controller.
        watched: regular expression for the resources that it watches.
        objects: what its objects are called in sentences, in the plural.
        done: the phase of those that ended well.
        idle: what does not happen while no replica works.
        unwritten: what it means that status cannot be written.
        failed: what it means that an object ended Failed.
        stuck_after: seconds after which an object without an end is told; `patience` says why then.
        pass_: what the time of a pass includes.
    """

    name: str
    kind: str
    prefix: str
    plural: str
    watched: str
    objects: str
    done: str
    idle: str
    unwritten: str
    failed: str
    stuck_after: int
    patience: str
    pass_: str

    @property
    def words(self) -> dict[str, str]:
        """Placeholder -> what stands for it in rules and dashboards."""
        return {
            "name": self.name,
            "Kind": self.kind,
            "alerts": f"Kubernaut{self.kind}",
            "anchor": f"kubernaut{self.kind.lower()}",
            "prefix": self.prefix,
            "plural": self.plural,
            "watched": self.watched,
            "objects": self.objects,
            "Objects": self.objects.capitalize(),
            "done": self.done,
            "idle": self.idle,
            "unwritten": self.unwritten,
            "failed": self.failed,
            "least_failed": str(LEAST_FAILED),
            "stuck_after": str(self.stuck_after),
            "patience": self.patience,
            "pass": self.pass_,
        }

    @property
    def sources(self) -> Path:
        """Its own alerts and panels."""
        return HERE / self.name

    @property
    def files(self) -> Path:
        """Where its chart has the results."""
        return ROOT / "charts" / self.name / "files"


SHARED = HERE / "shared"

SERVICES = (
    Service(
        name="notification",
        kind="Notification",
        prefix="kubernaut_notification",
        plural="notificationrequests",
        watched="notificationrequests",
        objects="notifications",
        done="Sent",
        idle="nothing is delivered",
        unwritten="what was delivered is not recorded yet",
        failed="no channel took them, and none will be tried again",
        stuck_after=1800,
        patience="five attempts under the default policy take 7.5 minutes",
        pass_="Deliveries included.",  # noqa: S106 (no password)
    ),
    Service(
        name="signalprocessing",
        kind="SignalProcessing",
        prefix="signalprocessing",
        plural="signalprocessings",
        watched="signalprocessings|namespaces",
        objects="signals",
        done="Completed",
        idle="no signal is processed",
        unwritten="signals stay in their phase",
        failed="their remediations end with them",
        stuck_after=900,
        patience="five attempts at what is missing take 7.5 minutes",
        pass_="Reads of the target and evaluations of the policy included.",  # noqa: S106 (no password)
    ),
)

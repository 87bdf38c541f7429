"""A pod's status, computed from its containers by the rules of the Kubernetes API ("Pod Lifecycle")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubernaut_testing.kubelet.api import Object
from kubernaut_testing.kubelet.container import Container
from kubernaut_testing.kubelet.context import now

__all__ = ["Conditions", "phase_of", "pod_conditions"]


def phase_of(initialized: bool, init_failed: bool, finished: bool, containers: Sequence[Container]) -> str:
    """The phase: Pending | Running | Succeeded | Failed.

    Args:
        initialized: whether all init containers have succeeded.
        init_failed: whether one has failed for good.
        finished: whether no container runs, or will run again.
        containers: the pod's containers proper.
    """
    if init_failed:
        return "Failed"
    if not initialized:
        return "Pending"
    if finished:
        return "Succeeded" if all(container.exit_code == 0 for container in containers) else "Failed"
    begun = all("waiting" not in container.state or container.last_state for container in containers)
    return "Running" if begun else "Pending"


def pod_conditions(phase: str, initialized: bool, containers: Sequence[Container]) -> list[dict[str, Any]]:
    """Initialized, ContainersReady and Ready, without times."""
    over = phase in ("Succeeded", "Failed")
    late = [container.name for container in containers if not container.ready]
    if over:
        unready = {"status": "False", "reason": "PodCompleted" if phase == "Succeeded" else "PodFailed"}
    elif late or not initialized:
        message = f"containers with unready status: [{' '.join(late)}]"
        unready = {"status": "False", "reason": "ContainersNotReady", "message": message}
    else:
        unready = {}
    ready = unready or {"status": "True"}
    first = {"status": "True"} if initialized else {"status": "False", "reason": "ContainersNotInitialized"}
    return [
        {"type": "Initialized", **first},
        {"type": "ContainersReady", **ready},
        {"type": "Ready", **ready},
    ]


class Conditions:
    """The pod's conditions with their transition times; those of others are left as they are."""

    def __init__(self) -> None:
        self._mine: dict[str, dict[str, Any]] = {}

    def merged(self, wanted: Sequence[dict[str, Any]], pod: Object) -> list[dict[str, Any]]:
        """The whole list to write: ``wanted``, then whatever else ``pod`` has."""
        for condition in wanted:
            known = self._mine.get(condition["type"])
            same = known is not None and known["status"] == condition["status"]
            since = known["lastTransitionTime"] if same and known else now()
            self._mine[condition["type"]] = {**condition, "lastTransitionTime": since}
        others = (pod.get("status") or {}).get("conditions") or []
        return [*self._mine.values(), *(other for other in others if other["type"] not in self._mine)]

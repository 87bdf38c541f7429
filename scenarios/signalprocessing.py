"""What a SignalProcessing is: its names, one to test with, and what its status means to the invariant checker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernaut_api import load_crd
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import Contract

PROGRAM = "kubernaut-signalprocessing"
API_VERSION, KIND, PLURAL = "kubernaut.ai/v1alpha1", "SignalProcessing", "signalprocessings"
TERMINAL = frozenset({"Completed", "Failed"})

SIGNAL: dict[str, Any] = {
    "fingerprint": "a1" * 32,
    "name": "OOMKilled",
    "severity": "Sev1",
    "type": "alert",
    "source": "prometheus",
    "targetType": "kubernetes",
    "targetResource": {"kind": "Pod", "name": "api-1", "namespace": "shop"},
    "receivedTime": "2026-03-01T10:00:00Z",
}


def signal_processing(
    namespace: str, name: str, /, *, times_out_at: str | None = None, parent: str = "rr-1", **signal: Any
) -> dict[str, Any]:
    """A SignalProcessing, ready to be created; keywords are fields of the signal as on the wire."""
    spec: dict[str, Any] = {"remediationRequestRef": {"name": parent}, "signal": SIGNAL | signal}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec | ({"timesOutAt": times_out_at} if times_out_at else {}),
    }


def _timeline(status: Mapping[str, Any]) -> list[list[str]]:
    environment = status.get("environmentClassification") or {}
    times = (status.get("startTime"), environment.get("classifiedAt"), status.get("completionTime"))
    return [[time for time in times if time]]


def _failure(status: Mapping[str, Any]) -> tuple[object, object]:
    info = status.get("failureInfo") or {}
    return info.get("consecutiveFailures"), info.get("lastFailureTime")


CONTRACT = Contract(
    transitions={
        "": {"Pending"},
        "Pending": {"Enriching", "Failed"},
        "Enriching": {"Classifying", "Failed"},
        "Classifying": {"Categorizing", "Failed"},
        "Categorizing": {"Completed", "Failed"},
        "Completed": set(),
        "Failed": set(),
    },
    writer=PROGRAM,
    timelines=_timeline,
    also_durable=lambda before, after: _failure(before) != _failure(after),
)
"""What a SignalProcessing's status means; written apart from the service's own tables."""


def install_crds(control_plane: ControlPlane) -> None:
    """Apply the CRD that the models generate."""
    control_plane.apply(load_crd(PLURAL))

"""A SignalProcessing operator in a namespace of its own, with the shipped policy; and what its status means."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from kubernaut_api import load_crd
from kubernaut_status import UpdateMode
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.invariants import Contract
from kubernaut_testing.proxy import FaultProxy

ROLE = Path(__file__).parents[1] / "services" / "signalprocessing" / "deploy" / "role.yaml"

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


class SignalProcessingSite:
    """One namespace with its operator, policy and mappings.

    `deployment` is the operator; start it as a context manager. `datastorage` stands for Data Storage (without it audit
    events are lines of the operator's output). The policy is the shipped one until `write_policy` says otherwise.
    `mode` is its mode of writing; `role` is the file with what it may do.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        folder: Path,
        *,
        mode: UpdateMode = "atomic",
        role: Path = ROLE,
        config: Mapping[str, Any] | None = None,
        proxy: FaultProxy | None = None,
        datastorage: DataStorage | None = None,
    ) -> None:
        self.role = role
        self.control_plane, self.namespace, self.datastorage = control_plane, namespace, datastorage
        self.folder = folder
        self.policies = folder / "policies"
        self.policies.mkdir(parents=True, exist_ok=True)
        self.mappings = folder / "mappings.yaml"
        self.mappings.write_text("proactive_signal_mappings:\n  PredictedOOMKill: OOMKilled\n")
        self.write_policy(files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_text())
        whole: dict[str, Any] = {"classifier": {"policyDir": str(self.policies)}, **(config or {})}
        whole["controller"] = {"statusUpdateMode": mode, **whole.get("controller", {})}
        if datastorage is not None:
            whole["datastorage"] = {"url": datastorage.url, "healthUrl": datastorage.health_url}
        self.deployment = self.deploy(whole, proxy)

    def deploy(self, config: Mapping[str, Any], proxy: FaultProxy | None) -> OperatorDeployment:
        """The operator with this config; it is not started."""
        return OperatorDeployment(
            self.control_plane,
            self.namespace,
            PROGRAM,
            self.folder / "operator",
            role=self.role,
            config=config,
            env={"SIGNAL_MODE_CONFIG_PATH": str(self.mappings)},
            proxy=proxy,
        )

    def write_policy(self, text: str) -> None:
        """Put another policy in place, as kubelet does: by one rename."""
        new = self.policies.with_name("policy.rego.new")
        new.write_text(text)
        new.rename(self.policies / "policy.rego")

    def create(self, name: str, /, **options: Any) -> dict[str, Any]:
        """Create a SignalProcessing; options as for `signal_processing`."""
        return self.control_plane.api.create(signal_processing(self.namespace, name, **options))

    def status(self, name: str) -> dict[str, Any]:
        """The status of an object."""
        found: dict[str, Any] = self.control_plane.api.get(API_VERSION, KIND, self.namespace, name)
        return found.get("status") or {}

    def phase(self, name: str) -> str:
        """The phase of an object, empty if it has none yet."""
        return str(self.status(name).get("phase", ""))

    def events(self, name: str, reason: str = "") -> list[dict[str, Any]]:
        """The Events about an object; with `reason` only those."""
        return self.control_plane.api.events(self.namespace, name, reason)

    def objects(self) -> list[dict[str, Any]]:
        """All objects of the namespace."""
        return self.control_plane.api.list(API_VERSION, KIND, self.namespace)

    def ref(self, name: str) -> str:
        """How the ledger calls the object."""
        return f"{PLURAL}/{self.namespace}/{name}"

"""A SignalProcessing operator in a namespace of its own, with the shipped policy; and what its status means."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from kubernaut_status import UpdateMode
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.files import replace_file
from kubernaut_testing.invariants import Contract
from kubernaut_testing.proxy import Delay, FaultProxy, Rule
from scenarios.faults.site import PARALLEL, FaultSite
from scenarios.workloads import create_workload

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


_FACTS = (
    "startTime",
    "kubernetesContext",
    "environmentClassification",
    "priorityAssignment",
    "signalClassification",
    "businessClassification",
    "failureInfo",
)


def _facts(status: Mapping[str, Any]) -> tuple[object, ...]:
    """What a pass found out; in sequential mode each of these is a write of its own."""
    conditions = [(c["type"], c["status"], c["reason"]) for c in status.get("conditions") or []]
    return (*(status.get(name) for name in _FACTS), conditions)


LIFE = ("", "Pending", "Enriching", "Classifying", "Categorizing", "Completed")


def _path(status: Mapping[str, Any]) -> tuple[str, ...]:
    """The phases that led to a status, "" first; those of a failed one are seen by what was found out."""
    phase = status.get("phase", "")
    if phase != "Failed":
        return LIFE[: LIFE.index(phase) + 1]
    if status.get("environmentClassification"):
        return (*LIFE[:5], phase)
    if status.get("kubernetesContext"):
        return (*LIFE[:4], phase)
    tried = any(condition["type"] == "EnrichmentComplete" for condition in status.get("conditions") or [])
    return (*LIFE[: 3 if tried else 2], phase)


def told_on(before: str, after: str) -> list[tuple[str, str]]:
    """What is told of a transition, as ("event" or "audit", what)."""
    found = [("audit", f"{before} → {after}")]
    if before and after != "Failed":
        found.append(("event", f"{before} → {after}"))
    return found + _TOLD_ON_ENTERING.get(after, [])


def _told(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [told for before, after in pairwise(_path(status)) for told in told_on(before, after)]


_TOLD_ON_ENTERING = {
    "Classifying": [("audit", "enrichment.completed"), ("event", "enriched")],
    "Categorizing": [("audit", "classification.decision")],
    "Completed": [("audit", "business.classified"), ("audit", "signal.processed"), ("event", "processed")],
    "Failed": [("audit", "signal.processed")],
}

_EVENTS = {"SignalEnriched": "enriched", "EnrichmentDegraded": "enriched", "SignalProcessed": "processed"}

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
    claims=_told,
    timelines=_timeline,
    also_durable=lambda before, after: _facts(before) != _facts(after),
)
"""What a SignalProcessing's status means; written apart from the service's own tables."""


class SignalProcessingSite(FaultSite):
    """One namespace with its operator, policy and mappings.

    `datastorage` stands for Data Storage (without it audit events are lines of the operator's output). The policy is
    the shipped one until `write_policy` says otherwise. `mode` is its mode of writing; `role` is the file with what it
    may do.
    """

    program, api_version, kind, plural, terminal = PROGRAM, API_VERSION, KIND, PLURAL, TERMINAL
    contract, lease_name = CONTRACT, "signalprocessing.kubernaut.ai"
    life, calls, waiting_writes = LIFE, 6, 3
    effects_follow, late_write = True, "unchanged"
    few: ClassVar = {"controller": {"maxConcurrentReconciles": PARALLEL}}
    unhurried: ClassVar = {"enrichment": {"timeout": "5m"}}
    foreign_end: ClassVar = {"phase": "Failed", "failureInfo": {"error": "ended by hand"}}

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
        name: str = "operator",
    ) -> None:
        self.mode, self.role, self.datastorage = mode, role, datastorage
        self.policies = folder / "policies"
        self.policies.mkdir(parents=True, exist_ok=True)
        self.mappings = folder / "mappings.yaml"
        self.mappings.write_text("proactive_signal_mappings:\n  PredictedOOMKill: OOMKilled\n")
        self.write_policy(files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_text())
        self._targets: dict[str, dict[str, str]] = {}
        self._slow: Rule | None = None
        super().__init__(control_plane, namespace, folder, config=config, proxy=proxy, name=name)

    def config(self, further: Mapping[str, Any]) -> dict[str, Any]:
        """The operator's config with this site's policy; `further` overrides sections, key by key in these two."""
        whole: dict[str, Any] = dict(further)
        whole["classifier"] = {"policyDir": str(self.policies), **whole.get("classifier", {})}
        whole["controller"] = {"statusUpdateMode": self.mode, **whole.get("controller", {})}
        return whole | ({"datastorage": self.datastorage.config} if self.datastorage else {})

    def environment(self) -> dict[str, str]:
        """Where the mappings are."""
        return {"SIGNAL_MODE_CONFIG_PATH": str(self.mappings)}

    def write_policy(self, text: str) -> None:
        """Put another policy in place, as kubelet does: by one rename."""
        replace_file(self.policies / "policy.rego", text)

    def create(self, name: str, /, **options: Any) -> dict[str, Any]:
        """Create a SignalProcessing, by default about a Deployment here; options as for `signal_processing`."""
        if "targetResource" not in options:
            options["targetResource"] = self.target
        return self.control_plane.api.create(signal_processing(self.namespace, name, **options))

    @property
    def target(self) -> dict[str, str]:
        """A Deployment in this namespace, made when it is asked for first."""
        if not self._targets:
            self._targets = create_workload(self.control_plane, self.namespace, "target")
        return self._targets["Deployment"]

    @classmethod
    def manifest(cls, namespace: str, name: str, /) -> dict[str, Any]:
        """A SignalProcessing."""
        return signal_processing(namespace, name)

    def create_other(self, name: str, /) -> dict[str, Any]:
        """Create one of the least severity."""
        return self.create(name, severity="Sev4")

    def is_other(self, name: str) -> bool:
        """Whether it was found to be of the least severity."""
        return bool(self.status(name)["signalClassification"]["severity"] == "info")

    def create_waiting(self, name: str) -> dict[str, Any]:
        """Create one whose namespace does not exist; it is looked for again after half a minute."""
        return self.create(name, targetResource=self.target | {"namespace": f"{self.namespace[:50]}-missing"})

    def waits(self, name: str) -> bool:
        """Whether its namespace was missed once."""
        return (self.status(name).get("failureInfo") or {}).get("consecutiveFailures") == 1

    def slow(self, seconds: float) -> None:
        """Let the API server take so long for the metadata of a target, if there is a proxy."""
        if self._slow is not None:
            self._slow.remove()
        if self.proxy is not None:
            self._slow = self.proxy.add(Rule(Delay(seconds), verb="get", resource="deployments"))

    def begun(self) -> list[float]:
        """When targets were asked for, if there is a proxy."""
        requests = self.proxy.requests if self.proxy is not None else []
        return [one.started for one in requests if (one.verb, one.resource) == ("get", "deployments")]

    def effects(self, name: str) -> list[tuple[str, str]]:
        """What was told of the object, as `CONTRACT` claims it; of attempts that failed nothing."""
        uid = self.get(name)["metadata"]["uid"]
        found = []
        for event in self.events(name):
            change = event["message"].removeprefix("Phase changed: ")
            what = change if event["reason"] == "PhaseTransition" else _EVENTS.get(event["reason"])
            if what is not None and event["involvedObject"]["uid"] == uid:
                found += [("event", what)] * event["count"]
        for event in self.audit(name):
            kind, data = event["event_type"].removeprefix("signalprocessing."), event["event_data"]
            if kind == "phase.transition":
                kind = f"{data['from_phase']} → {data['to_phase']}"
            if kind != "error.occurred":
                found.append(("audit", kind))
        return found

    def is_event(self, effect: Hashable) -> bool:
        """Whether an effect is a Kubernetes Event."""
        return isinstance(effect, tuple) and effect[0] == "event"

    def audit(self, name: str) -> list[dict[str, Any]]:
        """The audit events about an object: Data Storage's, else the lines of all replicas."""
        if self.datastorage is not None:
            return self.datastorage.events(resource_id=name, namespace=self.namespace)
        started = [deployment.process for deployment in self.deployments if deployment.process.starts]
        records = (record for process in started for record in process.records())
        return [record for record in records if record.get("resource_id") == name and "event_data" in record]

"""SignalProcessing's CRD on a real API server: what it takes and what it refuses, with which words."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from kubernaut_api import SIGNAL_PROCESSING, SignalProcessing, load_crd
from kubernaut_testing.binaries import find
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.rest import ApiError

API, KIND = SIGNAL_PROCESSING.api_version, SIGNAL_PROCESSING.kind
NAME = f"{SIGNAL_PROCESSING.plural}.kubernaut.ai"
Create = Callable[..., dict[str, Any]]

SIGNAL: dict[str, Any] = {
    "fingerprint": "a1" * 32,
    "name": "OOMKilled",
    "severity": "critical",
    "type": "alert",
    "targetType": "kubernetes",
    "targetResource": {"kind": "Pod", "name": "api-1", "namespace": "shop"},
    "receivedTime": "2026-03-01T10:00:00Z",
}
REF = {"name": "a"}


def without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    control_plane.apply(load_crd(SIGNAL_PROCESSING.plural))
    return control_plane


@pytest.fixture
def create(cluster: ControlPlane, namespace: str) -> Create:
    """Return a function that creates an object: keywords are fields of the signal; None leaves one out."""

    def make(object_name: str = "sp-a", /, *, spec: dict[str, Any] | None = None, **signal: Any) -> dict[str, Any]:
        whole = {"remediationRequestRef": REF, "signal": without_none(SIGNAL | signal)} | (spec or {})
        return cluster.api.create(
            {
                "apiVersion": API,
                "kind": KIND,
                "metadata": {"name": object_name, "namespace": namespace},
                "spec": without_none(whole),
            }
        )

    return make


def set_status(cluster: ControlPlane, namespace: str, status: dict[str, Any], name: str = "sp-a") -> dict[str, Any]:
    stored = cluster.api.patch(API, KIND, namespace, name, {"status": status}, subresource="status")
    found: dict[str, Any] = stored["status"]
    return found


def test_the_crd_is_accepted_without_complaint_and_stored_as_it_is_committed(cluster: ControlPlane) -> None:
    crd = cluster.api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, NAME)
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert (conditions.get("Established"), conditions.get("NamesAccepted")) == ("True", "True")
    assert conditions.get("NonStructuralSchema", "False") == "False"
    (stored,), (committed,) = crd["spec"]["versions"], load_crd(SIGNAL_PROCESSING.plural)["spec"]["versions"]
    assert stored["schema"] == committed["schema"]
    assert stored["selectableFields"] == committed["selectableFields"]


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.behaviour(10, "W24", service="signalprocessing")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"fingerprint": ""}, "spec.signal.fingerprint: Invalid value"),
        ({"fingerprint": "A1" * 32}, "spec.signal.fingerprint: Invalid value"),
        ({"fingerprint": "a1" * 31}, "spec.signal.fingerprint: Invalid value"),
        ({"fingerprint": "a1" * 33}, "spec.signal.fingerprint: Too long"),
        ({"fingerprint": None}, "spec.signal.fingerprint: Required value"),
        ({"name": "n" * 254}, "spec.signal.name: Too long"),
        ({"name": None}, "spec.signal.name: Required value"),
        ({"severity": None}, "spec.signal.severity: Required value"),
        ({"type": None}, "spec.signal.type: Required value"),
        ({"source": "s" * 64}, "spec.signal.source: Too long"),
        ({"clusterID": "c" * 254}, "spec.signal.clusterID: Too long"),
        ({"targetType": "openstack"}, 'spec.signal.targetType: Unsupported value: "openstack"'),
        ({"targetType": ""}, "spec.signal.targetType: Unsupported value"),
        ({"targetType": None}, "spec.signal.targetType: Required value"),
        ({"targetResource": None}, "spec.signal.targetResource: Required value"),
        ({"targetResource": {"kind": "Pod"}}, "spec.signal.targetResource.name: Required value"),
        ({"targetResource": {"name": "a"}}, "spec.signal.targetResource.kind: Required value"),
        ({"receivedTime": None}, "spec.signal.receivedTime: Required value"),
        ({"receivedTime": "yesterday"}, "spec.signal.receivedTime"),
        ({"labels": {"a": 1}}, "spec.signal.labels.a"),
        ({"spec": {"signal": None}}, "spec.signal: Required value"),
        ({"spec": {"remediationRequestRef": None}}, "spec.remediationRequestRef: Required value"),
        ({"spec": {"remediationRequestRef": {"uid": "u"}}}, "spec.remediationRequestRef.name: Required value"),
        ({"spec": {"remediationRequestRef": {"name": ""}}}, "remediationRequestRef.name is needed"),
        ({"spec": {"timesOutAt": "soon"}}, "spec.timesOutAt"),
    ],
)
def test_an_invalid_spec_is_refused_with_the_fields_name(create: Create, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError) as caught:
        create(**fields)
    assert caught.value.status == 422
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"signal": {"severity": "info"}},
        {"signal": {"labels": {"a": "b"}}},
        {"remediationRequestRef": {"uid": "u"}},
        {"timesOutAt": "2026-03-01T11:00:00Z"},
        {"enrichmentConfig": {"timeout": "1s"}},
    ],
)
def test_the_spec_cannot_be_changed(
    cluster: ControlPlane, namespace: str, create: Create, change: dict[str, Any]
) -> None:
    before = create()
    with pytest.raises(ApiError, match=r"spec is immutable after creation \(ADR-001\)"):
        cluster.api.patch(API, KIND, namespace, "sp-a", {"spec": change})
    assert cluster.api.get(API, KIND, namespace, "sp-a")["spec"] == before["spec"]


ENVIRONMENT = {"environment": "Production", "source": "default", "classifiedAt": "2026-03-01T10:00:00Z"}
PRIORITY = {"priority": "P0", "source": "rego-policy", "assignedAt": "2026-03-01T10:00:00Z"}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Done"}, "status.phase: Unsupported value"),
        ({"phase": ""}, "status.phase: Unsupported value"),
        (
            {"environmentClassification": ENVIRONMENT | {"environment": "qa"}},
            'status.environmentClassification.environment: Unsupported value: "qa"',
        ),
        (
            {"environmentClassification": ENVIRONMENT | {"environment": "production"}},
            "status.environmentClassification.environment: Unsupported value",
        ),
        ({"environmentClassification": {"environment": "Test"}}, "environmentClassification.source: Required value"),
        ({"priorityAssignment": PRIORITY | {"priority": "P4"}}, "priority: Unsupported value"),
        ({"priorityAssignment": PRIORITY | {"assignedAt": None}}, "priorityAssignment.assignedAt: Required value"),
        ({"signalClassification": {"severity": "Critical"}}, "signalClassification.severity: Unsupported value"),
        ({"signalClassification": {"signalMode": "predictive"}}, "signalClassification.signalMode: Unsupported value"),
        ({"businessClassification": {"criticality": "high"}}, "criticality: Unsupported value"),
        ({"businessClassification": {"slaRequirement": "Tin"}}, "slaRequirement: Unsupported value"),
        ({"kubernetesContext": {"namespace": {"labels": {}}}}, "kubernetesContext.namespace.name: Required value"),
        ({"kubernetesContext": {"workload": {"kind": "Pod"}}}, "kubernetesContext.workload.name: Required value"),
        ({"kubernetesContext": {"ownerChain": [{"name": "a"}]}}, "ownerChain[0].kind: Required value"),
        ({"kubernetesContext": {"customLabels": {"team": "a"}}}, "kubernetesContext.customLabels.team"),
        ({"failureInfo": {"consecutiveFailures": 2**31}}, "format int32 in failureInfo.consecutiveFailures"),
        ({"startTime": "now"}, "status.startTime"),
    ],
)
def test_an_invalid_status_is_refused_with_the_fields_name(
    cluster: ControlPlane, namespace: str, create: Create, status: dict[str, Any], words: str
) -> None:
    create()
    with pytest.raises(ApiError) as caught:
        set_status(cluster, namespace, status)
    assert caught.value.status == 422
    assert words in str(caught.value)


# --- what is taken ----------------------------------------------------------------------------------------------


def test_an_object_without_a_spec_is_taken_and_gets_its_spec_later_once(cluster: ControlPlane, namespace: str) -> None:
    """The schema does not require spec, and the immutability rule compares with a spec that is there."""
    bare = {"apiVersion": API, "kind": KIND, "metadata": {"name": "bare", "namespace": namespace}}
    stored = cluster.api.create(bare)
    assert "spec" not in stored
    assert SignalProcessing.model_validate(stored).spec.remediation_request_ref.name == ""
    assert set_status(cluster, namespace, {"phase": "Pending"}, "bare") == {"phase": "Pending"}

    spec = {"remediationRequestRef": REF, "signal": SIGNAL}
    nameless = spec | {"remediationRequestRef": {"name": ""}}
    with pytest.raises(ApiError, match=r"remediationRequestRef\.name is needed"):
        cluster.api.patch(API, KIND, namespace, "bare", {"spec": nameless})
    added = cluster.api.patch(API, KIND, namespace, "bare", {"spec": spec})
    assert (added["spec"], added["status"]) == (spec, {"phase": "Pending"})
    with pytest.raises(ApiError, match="spec is immutable"):
        cluster.api.patch(API, KIND, namespace, "bare", {"spec": {"signal": {"severity": "info"}}})


@pytest.mark.behaviour(20, service="signalprocessing")
def test_nothing_is_filled_in(create: Create) -> None:
    assert create()["spec"] == {"remediationRequestRef": REF, "signal": SIGNAL}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "n" * 253, "source": "s" * 63, "clusterID": "c" * 253},
        {"name": "", "severity": "", "type": "", "source": "", "clusterID": "", "labels": {}},
        {"targetResource": {"kind": "", "name": "", "namespace": "shop"}},
        {"severity": "Sev1 / P0 – beliebig"},
        *({"targetType": word} for word in ("kubernetes", "aws", "azure", "gcp", "datadog")),
    ],
)
def test_the_edges_of_what_is_allowed_are_stored_as_they_are_written(create: Create, fields: dict[str, Any]) -> None:
    signal = create(**fields)["spec"]["signal"]
    assert {key: signal[key] for key in fields} == fields


ODD_TIMES = {
    "2026-03-01t10:00:00.123456789z": "2026-03-01T10:00:00.123456Z",
    "2026-03-01T10:00:00,5Z": "2026-03-01T10:00:00.500000Z",
    "2026-03-01T10:00:00 5+01:00": "2026-03-01T09:00:00.500000Z",
    "2026-03-01T10:00:0012Z": "2026-03-01T10:00:00.200000Z",
    "2026-03-01T10:00:00-23:60": "2026-03-02T10:00:00Z",
    "2026-03-01T10:00:00ZTomorrow": "2026-03-01T10:00:00Z",
    "0000-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
}


def test_every_time_that_is_taken_can_be_read(create: Create) -> None:
    """A controller that cannot read an object can never end it."""
    for number, (written, read) in enumerate(ODD_TIMES.items()):
        stored = create(f"odd-{number}", spec={"timesOutAt": written}, firingTime=written)
        assert stored["spec"]["timesOutAt"] == written
        spec = SignalProcessing.model_validate(stored).to_wire()["spec"]
        assert (spec["timesOutAt"], spec["signal"]["firingTime"]) == (read, read)


def test_nothing_of_a_full_object_is_pruned(
    cluster: ControlPlane, namespace: str, full_signal_processing: dict[str, Any]
) -> None:
    full = deepcopy(full_signal_processing)
    full["metadata"]["namespace"] = namespace
    status = full.pop("status")
    stored = cluster.api.create(full)
    assert stored["spec"] == full["spec"]
    assert set_status(cluster, namespace, status) == status
    after = cluster.api.get(API, KIND, namespace, "sp-a")
    assert (after["spec"], after["metadata"]["generation"]) == (full["spec"], 1)
    assert SignalProcessing.model_validate(after).to_wire() == after


WORDS: dict[str, tuple[Callable[[str], dict[str, Any]], tuple[str, ...]]] = {
    "phase": (
        lambda word: {"phase": word},
        ("Pending", "Enriching", "Classifying", "Categorizing", "Completed", "Failed"),
    ),
    "environment": (
        lambda word: {"environmentClassification": ENVIRONMENT | {"environment": word}},
        ("Production", "Staging", "Development", "Test", "Unknown"),
    ),
    "priority": (
        lambda word: {"priorityAssignment": PRIORITY | {"priority": word}},
        ("P0", "P1", "P2", "P3"),
    ),
    "severity": (
        lambda word: {"signalClassification": {"severity": word}},
        ("critical", "high", "warning", "info", "unknown"),
    ),
    "mode": (lambda word: {"signalClassification": {"signalMode": word}}, ("reactive", "proactive")),
    "criticality": (
        lambda word: {"businessClassification": {"criticality": word}},
        ("Critical", "High", "Medium", "Low"),
    ),
    "sla": (
        lambda word: {"businessClassification": {"slaRequirement": word}},
        ("Platinum", "Gold", "Silver", "Bronze"),
    ),
}


@pytest.mark.parametrize("enum", sorted(WORDS))
def test_every_word_of_an_enum_can_be_stored(cluster: ControlPlane, namespace: str, create: Create, enum: str) -> None:
    create()
    status_of, words = WORDS[enum]
    for word in words:
        stored = set_status(cluster, namespace, status_of(word))
        assert {key: stored[key] for key in status_of(word)} == status_of(word)


def test_objects_can_be_selected_by_the_name_of_their_parent(
    cluster: ControlPlane, namespace: str, create: Create
) -> None:
    create("sp-a")
    create("sp-b", spec={"remediationRequestRef": {"name": "b"}})
    path = SIGNAL_PROCESSING.collection_path(namespace)
    found = cluster.api.request("GET", f"{path}?fieldSelector=spec.remediationRequestRef.name%3Db")
    assert [item["metadata"]["name"] for item in found["items"]] == ["sp-b"]


def test_kubectl_shows_the_columns_under_the_short_name(
    cluster: ControlPlane, namespace: str, create: Create, full_signal_processing: dict[str, Any]
) -> None:
    create()
    set_status(cluster, namespace, full_signal_processing["status"])
    header, row = kubectl(cluster, "get", "sp", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "PHASE", "SEVERITY", "ENVIRONMENT", "PRIORITY", "AGE"]
    assert row.split()[:5] == ["sp-a", "Completed", "critical", "Production", "P0"]
    header, row = kubectl(cluster, "get", "signalprocessings", "-o", "wide", "-n", namespace).splitlines()
    assert (header.split()[5], row.split()[5]) == ("REASON", "Ready")


def kubectl(cluster: ControlPlane, *arguments: str) -> str:
    command = [str(find("kubectl")), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

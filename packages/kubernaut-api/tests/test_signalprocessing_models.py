"""SignalProcessing is read generously and written exactly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubernaut_api import KubernetesContext, SignalProcessing
from kubernaut_api.signalprocessing import SignalProcessingStatus

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_an_object_passes_through_the_model_unchanged(full_signal_processing: dict[str, Any]) -> None:
    assert SignalProcessing.model_validate(full_signal_processing).to_wire() == full_signal_processing


@given(unknown=st.dictionaries(st.text(min_size=1).map(lambda key: f"x-{key}"), JSON, max_size=4))
def test_unknown_fields_survive_a_round_trip(full_signal_processing: dict[str, Any], unknown: dict[str, Any]) -> None:
    spec, status = full_signal_processing["spec"], full_signal_processing["status"]
    signal, context = spec["signal"] | unknown, status["kubernetesContext"] | unknown
    stored = full_signal_processing | {
        "spec": {**spec, **unknown, "signal": signal},
        "status": {**status, **unknown, "kubernetesContext": context},
    }
    assert SignalProcessing.model_validate(stored).to_wire() == stored


def test_an_object_without_spec_and_status_can_be_read() -> None:
    bare = {"apiVersion": "kubernaut.ai/v1alpha1", "kind": "SignalProcessing", "metadata": {"name": "a"}}
    sp = SignalProcessing.model_validate(bare)
    assert (sp.spec.remediation_request_ref.name, sp.spec.signal.target_resource.kind, sp.status.phase) == ("", "", "")
    assert (sp.spec.times_out_at, sp.status.kubernetes_context) == (None, None)
    assert sp.to_wire() == bare


def test_a_value_outside_an_enum_can_be_read() -> None:
    status = {"phase": "Archived", "environmentClassification": {"environment": "qa"}}
    sp = SignalProcessing.model_validate({"spec": {"signal": {"targetType": "openstack"}}, "status": status})
    assert sp.status.environment_classification is not None
    assert (sp.status.phase, sp.status.environment_classification.environment) == ("Archived", "qa")
    assert sp.spec.signal.target_type == "openstack"


def test_what_is_empty_is_not_written() -> None:
    context = {"degradedMode": False, "ownerChain": [], "customLabels": {}, "clusterID": ""}
    status = SignalProcessingStatus.model_validate(
        {"phase": "", "observedGeneration": 0, "kubernetesContext": context, "failureInfo": {"consecutiveFailures": 0}}
    )
    assert status.to_wire() == {"kubernetesContext": {}, "failureInfo": {}}


def test_required_fields_are_written_even_when_they_are_empty() -> None:
    context = {"workload": {"labels": {}}, "ownerChain": [{}], "namespace": {}}
    assert KubernetesContext.model_validate(context).to_wire() == {
        "namespace": {"name": ""},
        "workload": {"kind": "", "name": ""},
        "ownerChain": [{"kind": "", "name": ""}],
    }


def test_the_version_of_an_owner_keeps_its_underscore_on_the_wire() -> None:
    wire = {"ownerChain": [{"kind": "Rollout", "name": "a", "api_version": "argoproj.io/v1alpha1"}]}
    context = KubernetesContext.model_validate(wire)
    assert context.owner_chain[0].api_version == "argoproj.io/v1alpha1"
    assert context.to_wire() == wire


def test_results_can_be_set_by_their_python_names() -> None:
    sp = SignalProcessing.model_validate({"metadata": {"name": "a"}})
    sp.status.phase = "Classifying"
    sp.status.start_time = datetime(2026, 3, 1, 10, tzinfo=UTC)
    sp.status.kubernetes_context = KubernetesContext(degraded_mode=True, cluster_id="east")
    assert sp.to_wire()["status"] == {
        "phase": "Classifying",
        "startTime": "2026-03-01T10:00:00Z",
        "kubernetesContext": {"clusterID": "east", "degradedMode": True},
    }

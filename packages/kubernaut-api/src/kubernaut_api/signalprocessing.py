"""SignalProcessing: one signal that is enriched with what the cluster knows and then classified by policy.

The spec is a copy of the signal, made by the RemediationRequest's controller, and never changes (ADR-001). The status
is written by the SignalProcessing controller, phase by phase; its results are what the AIAnalysis starts from. When the
parent ends early, its controller sets phase Failed and `failureInfo.error` here.

The schema has no defaults: what is absent was not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kubernaut_api.enrichment import BusinessClassification, KubernetesContext
from kubernaut_api.meta import Condition, KubernetesObject
from kubernaut_api.references import RemediationRequestReference, TargetResource
from kubernaut_api.schema import INT32, INT64, ApiModel, Rule, Time

TARGET_TYPES = ("kubernetes", "aws", "azure", "gcp", "datadog")
PHASES = ("Pending", "Enriching", "Classifying", "Categorizing", "Completed", "Failed")
ENVIRONMENTS = ("Production", "Staging", "Development", "Test", "Unknown")
PRIORITIES = ("P0", "P1", "P2", "P3")
SEVERITIES = ("critical", "high", "warning", "info", "unknown")
SIGNAL_MODES = ("reactive", "proactive")


class Signal(ApiModel):
    """The signal as it came in."""

    fingerprint: Annotated[str, Rule(required=True, max_length=64, pattern="^[a-f0-9]{64}$")] = Field(
        default="", description="Hash that tells duplicates: 64 hexadecimal digits, lower case."
    )
    name: Annotated[str, Rule(required=True, max_length=253)] = Field(
        default="", description="Name of the signal, for example OOMKilled."
    )
    severity: Annotated[str, Rule(required=True)] = Field(
        default="", description="Severity in the words of the monitoring system."
    )
    type: Annotated[str, Rule(required=True)] = Field(default="", description="Type of the signal, normally alert.")
    source: Annotated[str, Rule(max_length=63)] = Field(default="", description="Adapter that took the signal in.")
    cluster_id: Annotated[str, Rule(max_length=253)] = Field(
        default="", alias="clusterID", description="Remote cluster of the target; empty for the cluster itself."
    )
    target_type: Annotated[str, Rule(required=True, enum=TARGET_TYPES)] = Field(
        default="", description="Platform of the target."
    )
    target_resource: Annotated[TargetResource, Rule(required=True)] = Field(
        default_factory=TargetResource, description="What the signal is about."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the signal.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations of the signal.")
    firing_time: Time | None = Field(default=None, description="When the signal first fired.")
    received_time: Annotated[Time | None, Rule(required=True)] = Field(
        default=None, description="When the signal was received."
    )
    provider_data: str = Field(default="", description="Further facts of the provider: JSON, as text.")


class EnrichmentConfig(ApiModel):
    """Wishes for the enrichment of this signal. Reserved: the controller does not read them."""

    enable_cluster_state: bool = Field(default=False, description="Reserved; has no effect.")
    enable_metrics: bool = Field(default=False, description="Reserved; has no effect.")
    enable_historical: bool = Field(default=False, description="Reserved; has no effect.")
    timeout: str = Field(default="", description="Reserved; has no effect.")


class SignalProcessingSpec(ApiModel):
    """The signal and what it belongs to. Immutable."""

    crd_extensions: ClassVar[Mapping[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "message": "remediationRequestRef.name is needed: it correlates the audit events of a remediation",
                "rule": "self.remediationRequestRef.name != ''",
            },
            {"message": "spec is immutable after creation (ADR-001)", "rule": "self == oldSelf"},
        ]
    }

    remediation_request_ref: Annotated[RemediationRequestReference, Rule(required=True)] = Field(
        default_factory=RemediationRequestReference, description="RemediationRequest that the signal belongs to."
    )
    signal: Annotated[Signal, Rule(required=True)] = Field(
        default_factory=Signal, description="The signal, copied from the RemediationRequest."
    )
    enrichment_config: EnrichmentConfig | None = Field(
        default=None, description="Reserved; the controller does not read it."
    )
    times_out_at: Time | None = Field(
        default=None, description="Deadline of the processing; absent if there is none. The controller keeps it itself."
    )


class EnvironmentClassification(ApiModel):
    """The environment that the target runs in."""

    environment: Annotated[str, Rule(required=True, enum=ENVIRONMENTS)] = Field(default="", description="Environment.")
    source: Annotated[str, Rule(required=True)] = Field(
        default="", description="What the policy took the environment from."
    )
    classified_at: Annotated[Time | None, Rule(required=True)] = Field(
        default=None, description="When the environment was decided."
    )


class PriorityAssignment(ApiModel):
    """How urgent the signal is."""

    priority: Annotated[str, Rule(required=True, enum=PRIORITIES)] = Field(
        default="", description="Priority; P0 is the most urgent."
    )
    source: Annotated[str, Rule(required=True)] = Field(default="", description="What assigned the priority.")
    assigned_at: Annotated[Time | None, Rule(required=True)] = Field(
        default=None, description="When the priority was assigned."
    )
    policy_name: str = Field(default="", description="Name that the policy gave to the rule that matched.")


class SignalClassification(ApiModel):
    """What kind of signal it is, in words that every monitoring system's severities map to."""

    severity: Annotated[str, Rule(enum=SEVERITIES)] = Field(default="", description="Severity, normalised by policy.")
    policy_hash: str = Field(default="", description="SHA-256 of the policy that decided, in hexadecimal digits.")
    cluster_classification: str = Field(
        default="", description="Class of the cluster that the signal came from, by policy."
    )
    signal_mode: Annotated[str, Rule(enum=SIGNAL_MODES)] = Field(
        default="", description="Whether the signal tells of something that happened or that is predicted."
    )
    signal_name: str = Field(default="", description="Name of the signal; that of the base signal if it is proactive.")
    source_signal_name: str = Field(default="", description="Name that a proactive signal came with.")


class FailureInfo(ApiModel):
    """The last failure, and how many there were in a row."""

    error: str = Field(default="", description="What went wrong; empty once the processing has recovered.")
    consecutive_failures: Annotated[int, INT32] = Field(
        default=0, description="Failures since the last success; they make the waits grow."
    )
    last_failure_time: Time | None = Field(default=None, description="When the last failure was recorded.")


class SignalProcessingStatus(ApiModel):
    """What the SignalProcessing controller has found out so far."""

    observed_generation: Annotated[int, INT64] = Field(
        default=0, description="metadata.generation at the end of the processing; absent before."
    )
    phase: Annotated[str, Rule(enum=PHASES)] = Field(default="", description="Phase of the processing.")
    start_time: Time | None = Field(default=None, description="When the controller accepted the signal.")
    completion_time: Time | None = Field(default=None, description="When the processing was completed.")
    kubernetes_context: KubernetesContext | None = Field(
        default=None, description="What the cluster says about the target."
    )
    environment_classification: EnvironmentClassification | None = Field(
        default=None, description="Environment of the target."
    )
    priority_assignment: PriorityAssignment | None = Field(default=None, description="Priority of the signal.")
    business_classification: BusinessClassification | None = Field(
        default=None, description="Whom the target belongs to and what it is worth."
    )
    signal_classification: SignalClassification | None = Field(
        default=None, description="Severity, mode and names of the signal."
    )
    conditions: list[Condition] = Field(default_factory=list, description="Observations of the processing's state.")
    failure_info: FailureInfo | None = Field(default=None, description="The last failure; absent until there is one.")


class SignalProcessing(KubernetesObject):
    """A signal on its way from an alert to an analysis: enriched, classified, categorized."""

    api_version: str = "kubernaut.ai/v1alpha1"
    kind: str = "SignalProcessing"
    spec: SignalProcessingSpec = Field(
        default_factory=SignalProcessingSpec, description="The signal. Immutable after creation."
    )
    status: SignalProcessingStatus = Field(
        default_factory=SignalProcessingStatus, description="Results of the processing, written by the controller."
    )

"""NotificationRequest: one message to be delivered to whatever channels the routing file picks for it.

The spec never changes after creation (DD-NOT-005) and names no channel or recipient. The status is written by the
Notification controller alone: the phase, one entry per delivery attempt, counters derived from those entries, and
conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kubernaut_api.meta import Condition, KubernetesObject
from kubernaut_api.notification_context import NotificationContext
from kubernaut_api.references import ObjectReference
from kubernaut_api.schema import INT64, ApiModel, Rule, Time

NOTIFICATION_TYPES = ("Escalation", "Simple", "StatusUpdate", "Approval", "ManualReview", "Completion")
PRIORITIES = ("Critical", "High", "Medium", "Low")
REVIEW_SOURCES = ("AIAnalysis", "WorkflowExecution", "RoutingEngine")
PHASES = ("Pending", "Sending", "Retrying", "Sent", "PartiallySent", "Failed")
ATTEMPT_STATUSES = ("success", "failed", "timeout", "invalid")


class RetryPolicy(ApiModel):
    """How often and at what distance a failing channel is tried again."""

    max_attempts: Annotated[int, Rule(minimum=1, maximum=10, default=5)] = Field(
        default=0, description="Attempts per channel, the first one included."
    )
    initial_backoff_seconds: Annotated[int, Rule(minimum=1, maximum=300, default=30)] = Field(
        default=0, description="Seconds between the first failed attempt and the second attempt."
    )
    backoff_multiplier: Annotated[int, Rule(minimum=1, maximum=10, default=2)] = Field(
        default=0, description="Factor by which each further wait grows."
    )
    max_backoff_seconds: Annotated[int, Rule(minimum=60, maximum=3600, default=480)] = Field(
        default=0, description="Longest wait between two attempts, in seconds."
    )


class ActionLink(ApiModel):
    """A link that helps the reader to act, for example a dashboard or a runbook."""

    service: Annotated[str, Rule(required=True)] = Field(
        default="", description="Service that the link leads to, for example grafana or prometheus."
    )
    url: Annotated[str, Rule(required=True)] = Field(default="", description="Address of the link.")
    label: Annotated[str, Rule(required=True)] = Field(default="", description="Text shown for the link.")


class NotificationRequestSpec(ApiModel):
    """The message and what routing may match on. Immutable."""

    crd_extensions: ClassVar[Mapping[str, Any]] = {
        "x-kubernetes-validations": [
            {"message": "spec is immutable after creation (DD-NOT-005)", "rule": "self == oldSelf"}
        ]
    }

    type: Annotated[str, Rule(required=True, enum=NOTIFICATION_TYPES)] = Field(
        default="", description="Kind of notification."
    )
    priority: Annotated[str, Rule(required=True, enum=PRIORITIES, default="Medium")] = Field(
        default="", description="Urgency of the notification."
    )
    subject: Annotated[str, Rule(required=True, min_length=1, max_length=500)] = Field(
        default="", description="Title line."
    )
    body: Annotated[str, Rule(required=True, min_length=1)] = Field(default="", description="Text, in Markdown.")
    remediation_request_ref: ObjectReference | None = Field(
        default=None,
        description="RemediationRequest that the notification belongs to; its name correlates audit events.",
    )
    cluster_id: str = Field(
        default="", alias="clusterID", description="Cluster that the signal came from; copied into audit events."
    )
    severity: str = Field(default="", description="Severity of the signal; routing may match on it.")
    phase: str = Field(default="", description="Remediation phase that timed out; routing may match on it.")
    review_source: Annotated[str, Rule(enum=REVIEW_SOURCES)] = Field(
        default="", description="Component that asked for a manual review."
    )
    context: NotificationContext | None = Field(default=None, description="Facts behind the notification, by topic.")
    extensions: dict[str, str] = Field(default_factory=dict, description="Further keys that routing may match on.")
    action_links: list[ActionLink] = Field(default_factory=list, description="Links that help the reader to act.")
    retry_policy: RetryPolicy | None = Field(default=None, description="Retry settings of this notification.")
    retention_days: Annotated[int, Rule(minimum=1, maximum=90, default=7)] = Field(
        default=0, description="Days for which the object is meant to be kept after completion."
    )


class DeliveryAttempt(ApiModel):
    """One call to one channel and how it ended."""

    channel: Annotated[str, Rule(required=True)] = Field(
        default="", description="Channel key, with its receiver where it has one, for example slack:sre-critical."
    )
    attempt: Annotated[int, Rule(required=True)] = Field(
        default=0, description="Number of the attempt for this channel, counted from 1."
    )
    timestamp: Annotated[Time | None, Rule(required=True)] = Field(default=None, description="When the attempt ended.")
    status: Annotated[str, Rule(required=True, enum=ATTEMPT_STATUSES)] = Field(
        default="", description="How the attempt ended."
    )
    error: str = Field(default="", description="Why the attempt failed.")
    duration_seconds: float = Field(default=0.0, description="How long the call took, in seconds.")


class NotificationRequestStatus(ApiModel):
    """What the Notification controller has done so far."""

    phase: Annotated[str, Rule(enum=PHASES)] = Field(default="", description="Phase of the delivery.")
    conditions: list[Condition] = Field(default_factory=list, description="Observations of the delivery's state.")
    delivery_attempts: list[DeliveryAttempt] = Field(
        default_factory=list, description="Every recorded attempt, oldest first; entries are only added."
    )
    total_attempts: int = Field(default=0, description="Number of recorded attempts.")
    successful_deliveries: int = Field(default=0, description="Number of channels that have received the message.")
    failed_deliveries: int = Field(
        default=0, description="Number of channels that have failed and not received the message so far."
    )
    queued_at: Time | None = Field(default=None, description="When the controller accepted the notification.")
    processing_started_at: Time | None = Field(default=None, description="When delivery began.")
    completion_time: Time | None = Field(default=None, description="When the notification reached a final phase.")
    observed_generation: Annotated[int, INT64] = Field(
        default=0, description="metadata.generation that the status was written for."
    )
    reason: str = Field(default="", description="Word for why the phase was last changed.")
    message: str = Field(default="", description="Sentence on why the phase was last changed.")


class NotificationRequest(KubernetesObject):
    """A request to notify people; the routing file decides whom and through which channels."""

    api_version: str = "kubernaut.ai/v1alpha1"
    kind: str = "NotificationRequest"
    spec: NotificationRequestSpec = Field(
        default_factory=NotificationRequestSpec, description="The message. Immutable after creation."
    )
    status: NotificationRequestStatus = Field(
        default_factory=NotificationRequestStatus, description="State of the delivery, written by the controller."
    )

"""Pydantic models of the kubernaut.ai resources and the CRDs generated from them.

| for | use |
|---|---|
| reading and writing objects | `NotificationRequest.model_validate(obj)`, `.to_wire()`; `SignalProcessing` alike |
| naming the kind to a client or store | `NOTIFICATION_REQUEST`, `SIGNAL_PROCESSING` |
| installing the CRD | `load_crd("notificationrequests")` |
| routing and audit keys of a context | `flatten_context` |
"""

from kubernaut_api.crds import load_crd
from kubernaut_api.enrichment import (
    BusinessClassification,
    ClusterContext,
    KubernetesContext,
    NamespaceContext,
    OwnerChainEntry,
    WorkloadContext,
)
from kubernaut_api.meta import Condition, KubernetesObject, ObjectMeta, OwnerReference
from kubernaut_api.notification import (
    ActionLink,
    DeliveryAttempt,
    NotificationRequest,
    NotificationRequestSpec,
    NotificationRequestStatus,
    RetryPolicy,
)
from kubernaut_api.notification_context import NotificationContext, flatten_context
from kubernaut_api.references import ObjectReference, RemediationRequestReference, TargetResource
from kubernaut_api.resources import GROUP, KINDS, NOTIFICATION_REQUEST, SIGNAL_PROCESSING, VERSION
from kubernaut_api.schema import ApiModel, Rule, format_time
from kubernaut_api.signalprocessing import (
    EnrichmentConfig,
    EnvironmentClassification,
    FailureInfo,
    PriorityAssignment,
    Signal,
    SignalClassification,
    SignalProcessing,
    SignalProcessingSpec,
    SignalProcessingStatus,
)

__all__ = [
    "GROUP",
    "KINDS",
    "NOTIFICATION_REQUEST",
    "SIGNAL_PROCESSING",
    "VERSION",
    "ActionLink",
    "ApiModel",
    "BusinessClassification",
    "ClusterContext",
    "Condition",
    "DeliveryAttempt",
    "EnrichmentConfig",
    "EnvironmentClassification",
    "FailureInfo",
    "KubernetesContext",
    "KubernetesObject",
    "NamespaceContext",
    "NotificationContext",
    "NotificationRequest",
    "NotificationRequestSpec",
    "NotificationRequestStatus",
    "ObjectMeta",
    "ObjectReference",
    "OwnerChainEntry",
    "OwnerReference",
    "PriorityAssignment",
    "RemediationRequestReference",
    "RetryPolicy",
    "Rule",
    "Signal",
    "SignalClassification",
    "SignalProcessing",
    "SignalProcessingSpec",
    "SignalProcessingStatus",
    "TargetResource",
    "WorkloadContext",
    "flatten_context",
    "format_time",
    "load_crd",
]

"""Pydantic models of the kubernaut.ai resources and the CRDs generated from them.

| for | use |
|---|---|
| reading and writing objects | `NotificationRequest.model_validate(obj)`, `.to_wire()` |
| naming the kind to a client or store | `NOTIFICATION_REQUEST` |
| installing the CRD | `load_crd("notificationrequests")` |
| routing and audit keys of a context | `flatten_context` |
"""

from kubernaut_api.crds import load_crd
from kubernaut_api.meta import Condition, ObjectMeta, ObjectReference, OwnerReference
from kubernaut_api.notification import (
    ActionLink,
    DeliveryAttempt,
    NotificationRequest,
    NotificationRequestSpec,
    NotificationRequestStatus,
    RetryPolicy,
)
from kubernaut_api.notification_context import NotificationContext, flatten_context
from kubernaut_api.resources import GROUP, KINDS, NOTIFICATION_REQUEST, VERSION
from kubernaut_api.schema import ApiModel, Rule, format_time

__all__ = [
    "GROUP",
    "KINDS",
    "NOTIFICATION_REQUEST",
    "VERSION",
    "ActionLink",
    "ApiModel",
    "Condition",
    "DeliveryAttempt",
    "NotificationContext",
    "NotificationRequest",
    "NotificationRequestSpec",
    "NotificationRequestStatus",
    "ObjectMeta",
    "ObjectReference",
    "OwnerReference",
    "RetryPolicy",
    "Rule",
    "flatten_context",
    "format_time",
    "load_crd",
]

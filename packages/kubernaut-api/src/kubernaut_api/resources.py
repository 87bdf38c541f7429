"""The kinds of kubernaut.ai: the constants that name them and the CRD facts beside their models."""

from __future__ import annotations

from kubernaut_api.crd import CustomResource, PrinterColumn
from kubernaut_api.notification import NotificationRequest
from kubernaut_api.signalprocessing import SignalProcessing
from kubernaut_status import Resource

GROUP = "kubernaut.ai"
VERSION = "v1alpha1"

NOTIFICATION_REQUEST = Resource(
    group=GROUP, version=VERSION, plural="notificationrequests", kind="NotificationRequest", namespaced=True
)

NOTIFICATION_REQUEST_KIND = CustomResource(
    resource=NOTIFICATION_REQUEST,
    model=NotificationRequest,
    short_names=("notif", "notifs"),
    columns=(
        PrinterColumn("Type", "string", ".spec.type"),
        PrinterColumn("Priority", "string", ".spec.priority"),
        PrinterColumn("Phase", "string", ".status.phase"),
        PrinterColumn("Attempts", "integer", ".status.totalAttempts"),
        PrinterColumn("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        PrinterColumn("Age", "date", ".metadata.creationTimestamp"),
    ),
    selectable_fields=(".spec.remediationRequestRef.name", ".spec.type", ".spec.severity"),
)

SIGNAL_PROCESSING = Resource(
    group=GROUP, version=VERSION, plural="signalprocessings", kind="SignalProcessing", namespaced=True
)

SIGNAL_PROCESSING_KIND = CustomResource(
    resource=SIGNAL_PROCESSING,
    model=SignalProcessing,
    short_names=("sp",),
    columns=(
        PrinterColumn("Phase", "string", ".status.phase"),
        PrinterColumn("Severity", "string", ".status.signalClassification.severity"),
        PrinterColumn("Environment", "string", ".status.environmentClassification.environment"),
        PrinterColumn("Priority", "string", ".status.priorityAssignment.priority"),
        PrinterColumn("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        PrinterColumn("Age", "date", ".metadata.creationTimestamp"),
    ),
    selectable_fields=(".spec.remediationRequestRef.name",),
)

KINDS: tuple[CustomResource, ...] = (NOTIFICATION_REQUEST_KIND, SIGNAL_PROCESSING_KIND)
"""Every kind that has a CRD here."""

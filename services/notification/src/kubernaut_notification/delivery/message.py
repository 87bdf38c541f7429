"""What channels get: the notification enriched, then redacted (BR-NOT-054, BR-NOT-058).

`prepare` works on a copy; the stored object never changes. It goes further than the Go controller, which redacts
subject and body alone: context, extensions, link labels and annotations reach receivers too, so they are redacted
with the same rules. The `last-applied-configuration` annotation holds the whole unredacted spec and is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubernaut_api import NotificationContext, NotificationRequest, flatten_context
from kubernaut_notification.delivery.redaction import redact, redact_link, redact_value

_DROPPED_ANNOTATIONS = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


def enrich(nr: NotificationRequest) -> str:
    """Return the body with every occurrence of the workflow's ID replaced by its name, where both are known."""
    workflow = nr.spec.context.workflow if nr.spec.context else None
    if workflow is None:
        return nr.spec.body
    identifier = workflow.workflow_id or workflow.selected_workflow
    if not identifier or not workflow.workflow_name:
        return nr.spec.body
    return nr.spec.body.replace(identifier, workflow.workflow_name)


def _redact_texts(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        return redact_value(key, value)
    if isinstance(value, dict):
        return {name: _redact_texts(item, name) for name, item in value.items()}
    return [_redact_texts(item, key) for item in value] if isinstance(value, list) else value


def prepare(nr: NotificationRequest) -> NotificationRequest:
    """Return a copy of `nr` that may leave the cluster: enriched, then redacted, without managed fields."""
    copy = nr.model_copy(deep=True)
    spec, meta = copy.spec, copy.metadata
    spec.subject = redact(spec.subject)
    spec.body = redact(enrich(nr))
    if spec.context is not None:
        # Through the wire form, so that context fields of a newer schema are redacted too.
        spec.context = NotificationContext.model_validate(_redact_texts(spec.context.to_wire()))
    spec.severity, spec.phase, spec.cluster_id = redact(spec.severity), redact(spec.phase), redact(spec.cluster_id)
    spec.extensions = {key: redact_value(key, value) for key, value in spec.extensions.items()}
    for link in spec.action_links:
        link.service, link.label, link.url = redact(link.service), redact(link.label), redact_link(link.url)
    meta.annotations = {
        key: redact_value(key, value) for key, value in meta.annotations.items() if key not in _DROPPED_ANNOTATIONS
    }
    if meta.model_extra:
        meta.model_extra.pop("managedFields", None)
    return copy


def flat_metadata(nr: NotificationRequest) -> dict[str, str]:
    """Return context and extensions as flat keys, extensions winning; for channels and audit, not for routing."""
    return {**flatten_context(nr.spec.context), **nr.spec.extensions}


def chat_command(nr: NotificationRequest) -> str:
    """Return the command that opens the chat about an approval, empty without a RemediationRequest in the lineage."""
    lineage = nr.spec.context.lineage if nr.spec.context else None
    if lineage is None or not lineage.remediation_request:
        return ""
    return f"kubectl kubernaut chat rar/{lineage.remediation_request} -n {nr.metadata.namespace}"


@dataclass(frozen=True, slots=True)
class Message:
    """One attempt's message. `nr` is a prepared copy; `due` is the announced time of this attempt (aware)."""

    nr: NotificationRequest
    channel: str
    attempt: int
    due: datetime

    @property
    def idempotency_key(self) -> str:
        """The same for every call of this attempt, also after a restart: for receivers that can tell a repetition."""
        return f"{self.nr.metadata.uid}/{self.channel}/{self.attempt}"

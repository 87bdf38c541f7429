"""What a notification offers to the matchers of the routing file.

Spec fields first, then the flat keys of the context, then the extensions; on a clash the earlier wins. Labels are never
consulted: they can be changed after creation, the spec cannot.
"""

from __future__ import annotations

from kubernaut_api import NotificationRequest, flatten_context


def attributes_of(nr: NotificationRequest) -> dict[str, str]:
    """Return the attributes of `nr`; a field without a value gives none."""
    spec = nr.spec
    from_spec = {
        "type": spec.type,
        "severity": spec.severity,
        "phase": spec.phase,
        "review-source": spec.review_source,
        "priority": spec.priority,
    }
    attributes = {key: value for key, value in from_spec.items() if value}
    for source in (flatten_context(spec.context), spec.extensions):
        for key, value in source.items():
            attributes.setdefault(key, value)
    return attributes

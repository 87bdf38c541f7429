"""The only place that builds requests for an object and its status.

A commit is one JSON merge patch of the difference, to the status subresource, with the
resourceVersion of its base inside the patch: the API server answers 409 when the object has moved on
(DD-PERF-001; a merge patch without it is last-writer-wins and replaces lists whole). A JSON patch
with a `test` would answer 422, which is also the code of a schema error.
"""

from __future__ import annotations

from typing import Any

from .identity import ObjectKey, Resource
from .transport import MERGE_PATCH, Request


def get_object(resource: Resource, key: ObjectKey) -> Request:
    """Read one object, status included."""
    return Request("get", "GET", resource.object_path(key), resource.plural)


def patch_status(
    resource: Resource, key: ObjectKey, patch: dict[str, Any], *, resource_version: str, field_manager: str = ""
) -> Request:
    """Write the difference `patch` of the status, on the condition that the object is at `resource_version`."""
    return Request(
        "patch",
        "PATCH",
        f"{resource.object_path(key)}/status",
        resource.plural,
        subresource="status",
        query={"fieldManager": field_manager} if field_manager else {},
        body={"metadata": {"resourceVersion": resource_version}, "status": patch},
        content_type=MERGE_PATCH,
    )

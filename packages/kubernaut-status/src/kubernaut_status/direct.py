"""The primitives for code that writes without a manager (DD-PERF-001, direct loop).

async def attempt():
    fresh = await fetch(client, WIDGETS, key)
    changed = build_status(fresh)              # in memory, nothing else
    return await write_status(client, WIDGETS, fresh, changed)

await retry_on_conflict(DEFAULT_RETRY, attempt)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import stored_object
from .identity import Object, ObjectKey, Resource, precondition_of, status_of
from .patch import diff, normalize
from .phases import PhaseMachine
from .transport import StatusClient
from .wire import get_object, patch_status


async def fetch(client: StatusClient, resource: Resource, key: ObjectKey) -> dict[str, Any]:
    """Read one object. Raises `NotFoundError` and the other `ApiError`s, `TransportError`."""
    request = get_object(resource, key)
    return stored_object(await client.send(request), request)


async def write_status(
    client: StatusClient,
    resource: Resource,
    base: Object,
    status: Mapping[str, Any],
    *,
    phases: PhaseMachine | None = None,
    field_manager: str = "",
) -> Object:
    """Write `status` on the condition that the object is still at `base`; one PATCH, or none if they agree.

    Returns the object as stored. Raises `ConflictError` when the object has moved on, `InvalidTransitionError` and
    ValueError before anything is sent, and the other `ApiError`s. After `TransportError` or `ServerError` the write may
    have been stored: look at the object before it is built again (`StatusManager` does that).
    """
    before, after = normalize(status_of(base)), normalize(status)
    patch = diff(before, after)
    if not patch:
        return base
    if phases is not None:
        phases.check(before, after)
    version = precondition_of(base)
    request = patch_status(resource, ObjectKey.of(base), patch, resource_version=version, field_manager=field_manager)
    return stored_object(await client.send(request), request)

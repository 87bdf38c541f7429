"""Write Kubernetes status atomically: one conditional, validated write per reconcile pass.

| for | use |
|---|---|
| a controller that changes status in a callback | `StatusManager.atomic_status_update(obj, mutate)` |
| code with a loop of its own | `retry_on_conflict(DEFAULT_RETRY, attempt)`, `fetch`, `write_status` |
| which phase may follow which | `PhaseMachine` |
| conditions | `with_conditions`, `set_condition`, `merge_conditions`, `in_progress` |
| HTTP | `AiohttpClient`, `SyncKubernetesClient`, `AsyncKubernetesClient`, or your own `StatusClient` |

Knows nothing of any operator framework. The errors are drawn as a tree in `kubernaut_status.errors`.
"""

from .conditions import (
    KSTATUS_TYPES,
    READY,
    RECONCILING,
    STALLED,
    Condition,
    ConditionTemplate,
    find_condition,
    in_progress,
    is_true,
    merge_conditions,
    new_condition,
    remove_condition,
    set_condition,
    with_conditions,
)
from .direct import fetch, write_status
from .errors import (
    RETRY_AFTER_LIMIT,
    ApiError,
    ConflictError,
    ConflictsExhaustedError,
    ForbiddenError,
    InvalidError,
    InvalidTransitionError,
    NotFoundError,
    OutcomeUnknownError,
    OutsideStatusError,
    ServerError,
    StatusError,
    TooLargeError,
    TooManyRequestsError,
    TransportError,
    UnauthorizedError,
    api_error,
    raise_for_code,
    stored_object,
)
from .identity import Object, ObjectKey, Resource, status_of, uid_of, version_of
from .manager import Commit, Mutation, Outcome, Refetch, StatusManager, UpdateMode
from .metrics import ApiCalls, StatusMetrics
from .phases import PhaseMachine
from .retry import DEFAULT_RETRY, ConflictRetry, Unavailable, retry_on_conflict
from .transport import Request, Response, StatusClient
from .writes import OwnWrite, OwnWrites, Writes

__all__ = [
    "DEFAULT_RETRY",
    "KSTATUS_TYPES",
    "READY",
    "RECONCILING",
    "RETRY_AFTER_LIMIT",
    "STALLED",
    "ApiCalls",
    "ApiError",
    "Commit",
    "Condition",
    "ConditionTemplate",
    "ConflictError",
    "ConflictRetry",
    "ConflictsExhaustedError",
    "ForbiddenError",
    "InvalidError",
    "InvalidTransitionError",
    "Mutation",
    "NotFoundError",
    "Object",
    "ObjectKey",
    "Outcome",
    "OutcomeUnknownError",
    "OutsideStatusError",
    "OwnWrite",
    "OwnWrites",
    "PhaseMachine",
    "Refetch",
    "Request",
    "Resource",
    "Response",
    "ServerError",
    "StatusClient",
    "StatusError",
    "StatusManager",
    "StatusMetrics",
    "TooLargeError",
    "TooManyRequestsError",
    "TransportError",
    "UnauthorizedError",
    "Unavailable",
    "UpdateMode",
    "Writes",
    "api_error",
    "fetch",
    "find_condition",
    "in_progress",
    "is_true",
    "merge_conditions",
    "new_condition",
    "raise_for_code",
    "remove_condition",
    "retry_on_conflict",
    "set_condition",
    "status_of",
    "stored_object",
    "uid_of",
    "version_of",
    "with_conditions",
    "write_status",
]

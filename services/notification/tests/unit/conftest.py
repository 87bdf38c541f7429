"""A notification to test with, and times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kubernaut_api import NotificationRequest

MakeNR = Callable[..., NotificationRequest]


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)


@pytest.fixture
def make_nr() -> MakeNR:
    """Return a function that makes a notification; keywords are spec fields as on the wire, or metadata and status."""

    def make(*, metadata: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **spec: Any) -> Any:
        return NotificationRequest.model_validate(
            {
                "metadata": {"name": "nr-a", "namespace": "kubernaut-system", "uid": "u-1", "generation": 1}
                | (metadata or {}),
                "spec": {"type": "Simple", "priority": "Medium", "subject": "hello", "body": "world"} | spec,
                "status": status or {},
            }
        )

    return make

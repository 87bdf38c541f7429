"""A signal to test with, and a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kubernaut_api import SignalProcessing

MakeSP = Callable[..., SignalProcessing]


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)


@pytest.fixture
def make_sp() -> MakeSP:
    """Return a function that makes an object; keywords are parts of the object as on the wire."""

    def make(
        *, metadata: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **spec: Any
    ) -> SignalProcessing:
        return SignalProcessing.model_validate(
            {
                "metadata": {"name": "sp-a", "namespace": "kubernaut-system", "uid": "u-1", "generation": 1}
                | (metadata or {}),
                "spec": {"remediationRequestRef": {"name": "a"}, "signal": {"name": "OOMKilled"}} | spec,
                "status": status or {},
            }
        )

    return make

"""A real Kubernetes control plane, a request ledger and a fault proxy for operator tests.

The public names are imported on first use, because the pytest plugin loads this package into every pytest run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernaut_testing.controlplane import ControlPlane as ControlPlane
    from kubernaut_testing.ledger import RequestLedger as RequestLedger

_HOME = {
    "ControlPlane": "controlplane",
    "RequestLedger": "ledger",
}

__all__ = ["ControlPlane", "RequestLedger"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

"""A real Kubernetes control plane, a request ledger and a fault proxy for operator tests.

The public names are imported on first use, because the pytest plugin loads this package into every pytest run.
Faults (``ResetAfter``, ``Status`` ...) are in ``kubernaut_testing.proxy``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernaut_testing.clock import FakeClock as FakeClock
    from kubernaut_testing.cluster import Cluster as Cluster
    from kubernaut_testing.controlplane import ControlPlane as ControlPlane
    from kubernaut_testing.crash import CrashSweep as CrashSweep
    from kubernaut_testing.datastorage import DataStorage as DataStorage
    from kubernaut_testing.faultsweep import Fault as Fault
    from kubernaut_testing.faultsweep import FaultSweep as FaultSweep
    from kubernaut_testing.histories import assert_same_history as assert_same_history
    from kubernaut_testing.histories import history_of as history_of
    from kubernaut_testing.invariants import Contract as Contract
    from kubernaut_testing.invariants import assert_invariants as assert_invariants
    from kubernaut_testing.invariants import assert_quiet as assert_quiet
    from kubernaut_testing.invariants import assert_survived as assert_survived
    from kubernaut_testing.kubelet import LocalKubelet as LocalKubelet
    from kubernaut_testing.ledger import RequestLedger as RequestLedger
    from kubernaut_testing.process import OperatorProcess as OperatorProcess
    from kubernaut_testing.proxy import FaultProxy as FaultProxy
    from kubernaut_testing.proxy import Rule as Rule
    from kubernaut_testing.receivers import Answer as Answer
    from kubernaut_testing.receivers import WebhookReceiver as WebhookReceiver
    from kubernaut_testing.site import OperatorSite as OperatorSite
    from kubernaut_testing.smtp import SmtpReceiver as SmtpReceiver
    from kubernaut_testing.waiting import eventually as eventually
    from kubernaut_testing.waiting import eventually_async as eventually_async
    from kubernaut_testing.waiting import stays as stays
    from kubernaut_testing.waiting import stays_async as stays_async
    from kubernaut_testing.writes import Writes as Writes

_HOME = {
    "Answer": "receivers",
    "Cluster": "cluster",
    "Contract": "invariants",
    "ControlPlane": "controlplane",
    "CrashSweep": "crash",
    "DataStorage": "datastorage",
    "FakeClock": "clock",
    "Fault": "faultsweep",
    "FaultProxy": "proxy",
    "FaultSweep": "faultsweep",
    "LocalKubelet": "kubelet",
    "OperatorProcess": "process",
    "OperatorSite": "site",
    "RequestLedger": "ledger",
    "Rule": "proxy",
    "SmtpReceiver": "smtp",
    "WebhookReceiver": "receivers",
    "Writes": "writes",
    "assert_invariants": "invariants",
    "assert_quiet": "invariants",
    "assert_same_history": "histories",
    "assert_survived": "invariants",
    "eventually": "waiting",
    "eventually_async": "waiting",
    "history_of": "histories",
    "stays": "waiting",
    "stays_async": "waiting",
}

__all__ = [
    "Answer",
    "Cluster",
    "Contract",
    "ControlPlane",
    "CrashSweep",
    "DataStorage",
    "FakeClock",
    "Fault",
    "FaultProxy",
    "FaultSweep",
    "LocalKubelet",
    "OperatorProcess",
    "OperatorSite",
    "RequestLedger",
    "Rule",
    "SmtpReceiver",
    "WebhookReceiver",
    "Writes",
    "assert_invariants",
    "assert_quiet",
    "assert_same_history",
    "assert_survived",
    "eventually",
    "eventually_async",
    "history_of",
    "stays",
    "stays_async",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

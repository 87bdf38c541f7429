"""The fault proxy: between an operator and a real API server, it does what networks and servers do.

    with FaultProxy(control_plane) as proxy:
        operator = start(kubeconfig=proxy.kubeconfig_for(control_plane.kubeconfig_for("ns", "operator")))
        rule = proxy.add(Rule(ResetAfter(), verb="patch", subresource="status", nth=2))
        ...
        assert rule.hits == 1

A ``Rule`` is actions plus what they are for (verb, resource, object, user agent, n-th time ...). Rules compose:
all that match a request wrap it, the one added first on the outside. Without rules everything passes unchanged,
watches byte by byte as they come.
"""

from kubernaut_testing.proxy.actions import (
    Action,
    After,
    Before,
    Delay,
    Reply,
    Reset,
    ResetAfter,
    ResetBefore,
    StaleList,
    Status,
)
from kubernaut_testing.proxy.requests import ProxiedRequest
from kubernaut_testing.proxy.rules import Rule
from kubernaut_testing.proxy.server import FaultProxy
from kubernaut_testing.proxy.watching import BlackHole, DropWatch, Duplicate, ErrorFrame, Reorder, Replay, Swallow

__all__ = [
    "Action",
    "After",
    "Before",
    "BlackHole",
    "Delay",
    "DropWatch",
    "Duplicate",
    "ErrorFrame",
    "FaultProxy",
    "ProxiedRequest",
    "Reorder",
    "Replay",
    "Reply",
    "Reset",
    "ResetAfter",
    "ResetBefore",
    "Rule",
    "StaleList",
    "Status",
    "Swallow",
]

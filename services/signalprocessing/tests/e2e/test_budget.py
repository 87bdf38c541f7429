"""The README's budget table, run row by row in both modes of writing, and counted in the API server's audit log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from scenarios.budgets import read_budgets
from scenarios.shop import PRODUCTION, Shop
from scenarios.signalprocessing import CONTRACT, PLURAL, PROGRAM, SignalProcessingSite

from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

BUDGETS = read_budgets("signalprocessing")
TWO_SEVERITIES = """
severity := "info" if input.signal.severity == "both"
severity := "high" if input.signal.severity == "both"
"""


class Path(NamedTuple):
    """What a signal is about, how it ends, and what else is special about it."""

    kind: str
    name: str
    phase: str = "Completed"
    namespaced: bool = True
    options: Mapping[str, Any] = MappingProxyType({})


PATHS = {
    "Pod of a Deployment": Path("Pod", "web-pod"),
    "Pod of a StatefulSet or DaemonSet": Path("Pod", "db-0"),
    "Pod without a controller": Path("Pod", "bare"),
    "Deployment": Path("Deployment", "web-deployment"),
    "Node": Path("Node", "", namespaced=False),
    "any other kind": Path("ConfigMap", "settings"),
    "Pod that is gone (degraded)": Path("Pod", "gone"),
    "a rule fails": Path("Deployment", "web-deployment", "Failed", options={"severity": "both"}),
    "a remote cluster (Failed)": Path("Pod", "web-pod", "Failed", options={"clusterID": "east"}),
    "the deadline has passed at creation": Path(
        "Pod", "web-pod", "Failed", options={"times_out_at": "2026-03-01T10:00:00Z"}
    ),
}


@pytest.fixture(scope="module")
def shop(open_shop: Any) -> Shop:
    made: Shop = open_shop("shop", PRODUCTION)
    return made


@pytest.fixture(scope="module")
def site(open_site: Any, update_mode: str) -> SignalProcessingSite:
    """One operator for a mode of writing, which knows the namespaces."""
    made: SignalProcessingSite = open_site(mode=update_mode, policy=TWO_SEVERITIES)
    eventually(lambda: made.deployment.metric("kubernaut_store_objects", resource="namespaces") > 0)
    return made


@pytest.fixture(scope="module")
def ends() -> dict[str, Any]:
    """Path -> how it ended in the mode that was run first."""
    return {}


def timeless(value: Any) -> Any:
    """A status without times, whose messages tell no seconds either."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if not key.endswith(("Time", "At"))}
    if isinstance(value, list):
        return [timeless(each) for each in value]
    return re.sub(r"[\d.]+s\b", "(seconds)", value) if isinstance(value, str) else value


def test_every_row_of_the_table_has_a_path() -> None:
    assert set(BUDGETS) == set(PATHS)


@pytest.mark.behaviour("W2")
@pytest.mark.parametrize("path", PATHS)
def test_each_path_costs_what_the_readme_says_and_ends_the_same_in_both_modes(
    path: str,
    site: SignalProcessingSite,
    shop: Shop,
    update_mode: str,
    ledger: RequestLedger,
    ends: dict[str, Any],
) -> None:
    kind, name, phase, namespaced, options = PATHS[path]
    target = shop.target(kind, name) if namespaced else {"kind": kind, "name": shop.node}
    signal = f"path-{list(PATHS).index(path)}"
    budget = BUDGETS[path]
    site.create(signal, targetResource=target, **options)
    eventually(lambda: site.phase(signal) == phase)
    eventually(lambda: len(ledger.events_about(site.ref(signal))) >= budget["Events"])
    writes = {"patch/status": budget[f"PATCH, {update_mode}"], "get": budget["GET"]}
    ledger.assert_requests(site.ref(signal), writes, user_agent=PROGRAM, only=True)
    reads = ledger.entries(user_agent=PROGRAM, verb="get", where=lambda entry: entry.resource != PLURAL)
    assert len(reads) == budget["reads"], [f"{entry.resource} {entry.name}" for entry in reads]
    assert len(ledger.events_about(site.ref(signal))) == budget["Events"]
    assert_invariants(ledger, site.ref(signal), CONTRACT)
    status = timeless(site.status(signal))
    assert ends.setdefault(path, status) == status

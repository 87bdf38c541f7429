"""An operator whose role lacks rules: what it needs them for, and what goes on without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from scenarios.shop import PRODUCTION, Shop
from scenarios.signalprocessing import ROLE, SignalProcessingSite

from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e


def without(roles: list[dict[str, Any]], *resources: str) -> list[dict[str, Any]]:
    """The roles without what they grant on these resources."""
    for role in roles:
        for rule in role["rules"]:
            rule["resources"] = [name for name in rule["resources"] if name not in resources]
        role["rules"] = [rule for rule in role["rules"] if rule["resources"]]
    return roles


@pytest.fixture(scope="module")
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop("shop", PRODUCTION)


@pytest.fixture(scope="module")
def site(
    open_site: Callable[..., SignalProcessingSite], tmp_path_factory: pytest.TempPathFactory
) -> SignalProcessingSite:
    """An operator that may read no Pods and no Jobs and write no Events, and tries everything once."""
    role: Path = tmp_path_factory.mktemp("role") / "role.yaml"
    roles = without(list(yaml.safe_load_all(ROLE.read_text())), "pods", "jobs", "events")
    role.write_text(yaml.safe_dump_all(roles))
    return open_site(role=role, config={"enrichment": {"maxAttempts": 1}})


@pytest.mark.behaviour("W6")
def test_a_missing_permission_ends_the_signal_and_says_what_to_grant(site: SignalProcessingSite, shop: Shop) -> None:
    site.create("forbidden", targetResource=shop.target("Pod", "bare"))
    eventually(lambda: site.phase("forbidden") == "Failed")
    error = site.status("forbidden")["failureInfo"]["error"]
    assert f"cannot get pods in namespace {shop.namespace}: forbidden; grant verb get on pods" in error


@pytest.mark.behaviour(35, "W6")
def test_a_missing_namespace_ends_the_signal_with_its_name(site: SignalProcessingSite) -> None:
    site.create("nowhere", targetResource={"kind": "Deployment", "name": "web", "namespace": "no-such-namespace"})
    eventually(lambda: site.phase("nowhere") == "Failed")
    assert "namespace no-such-namespace does not exist" in site.status("nowhere")["failureInfo"]["error"]


@pytest.mark.behaviour(98)
def test_events_that_nobody_takes_disturb_nothing(site: SignalProcessingSite, shop: Shop) -> None:
    site.create("untold", parent="rr-untold", targetResource=shop.target("Deployment", "web-deployment"))
    eventually(lambda: site.phase("untold") == "Completed")
    eventually(lambda: site.deployment.metric("kubernetes_events_total", result="refused") >= 6)
    assert site.events("untold") == []
    assert site.datastorage is not None
    assert len(site.datastorage.wait_for_events(9, correlation_id="rr-untold")) == 9

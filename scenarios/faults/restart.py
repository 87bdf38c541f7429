"""The API server, etcd and the CRD go away and come back, or come back as others, on a control plane of their own.

Whoever plays these scenes imports the fixtures, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubernaut_api import load_crd
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants, assert_quiet, assert_survived, check_effects
from kubernaut_testing.waiting import eventually
from scenarios.faults.site import FaultSite
from scenarios.faults.verdicts import all_ended, assert_done_once, settle_effects

MakeSite = Callable[..., FaultSite]
Schema = dict[str, Any]
ChangeCrd = Callable[[Callable[[Schema], object]], None]


@pytest.fixture(scope="module")
def own_control_plane(site_type: type[FaultSite]) -> Iterator[ControlPlane]:
    """A control plane with the CRD, for the tests of one file."""
    with ControlPlane() as plane:
        site_type.install_crds(plane)
        yield plane


FAULTS: dict[str, Callable[[ControlPlane], None]] = {
    "apiserver": lambda plane: plane.restart_apiserver(),
    "apiserver-killed": lambda plane: plane.restart_apiserver(graceful=False, down=1),
    "etcd": lambda plane: plane.restart_etcd(down=1),
}


@pytest.mark.parametrize(
    "what",
    # A server that ends in order takes its time.
    ["apiserver-killed", "etcd", pytest.param("apiserver", marks=pytest.mark.faults_full, id="apiserver-full")],
)
def test_a_restart_of_the_servers_loses_no_object_and_repeats_none(
    what: str, own_control_plane: ControlPlane, make_site: MakeSite
) -> None:
    """Fault 20: the operator lives on, and ends right what it was doing."""
    plane = own_control_plane
    ledger = plane.ledger().fresh()
    config = {"controller": {"maxConcurrentReconciles": 3}}
    site = make_site(control_plane=plane, namespace=plane.create_namespace(f"restart-{what}"), config=config)
    site.slow(0.2)
    pid = site.deployment.process.pid
    names = [f"n-{number}" for number in range(30)]
    for name in names[:15]:
        site.create(name)
    eventually(lambda: sum(site.ended(name) for name in names[:15]) >= 3)
    # The fault comes while it is working: it has not even begun with these.
    site.deployment.process.pause()
    for name in names[15:]:
        site.create(name)
    site.deployment.process.resume()
    FAULTS[what](plane)
    names.append("afterwards")
    site.create("afterwards")
    eventually(lambda: all_ended(site, names), timeout=120)
    assert site.deployment.process.pid == pid
    assert site.deployment.process.running
    for name in names:
        status = site.status(name)
        assert status["phase"] == site.goal
        effects = site.effects(name)
        assert len(set(effects)) == len(effects), name
        counters = site.contract.counters(status)
        assert {counter: status[counter] for counter in counters} == counters
        events = [effect for effect in site.contract.claimed(status) if site.is_event(effect)]
        if what == "apiserver-killed":  # a killed server may have committed what it did not log
            settle_effects(site, name, lost=events)
            assert check_effects(status, site.effects(name), site.contract, lost=events) == []
        else:
            assert_done_once(site, ledger, name, lost=events)
    eventually(lambda: site.deployment.probe("/readyz")[0] == 200)
    assert site.deployment.probe("/healthz")[0] == 200
    assert_quiet(site.objects, seconds=2)
    assert_survived(site.deployment.process)


# The CRD ------------------------------------------------------------------------------------------------------


@pytest.fixture
def change_crd(own_control_plane: ControlPlane, site_type: type[FaultSite]) -> Iterator[ChangeCrd]:
    """Changes the schema of the status, and waits until the API server goes by it; the real CRD is back at the end."""
    plane = own_control_plane
    elsewhere = plane.create_namespace("crd-probe")
    plane.api.create(site_type.manifest(elsewhere, "probe"))
    changes: list[str] = []

    def change(edit: Callable[[Schema], object]) -> None:
        crd = copy.deepcopy(load_crd(site_type.plural))
        (version,) = crd["spec"]["versions"]
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
        edit(status["properties"])
        # A mark by which this version of the schema is told from the one before, which drops it.
        changes.append(f"change{len(changes)}")
        status["properties"][changes[-1]] = {"type": "string"}
        plane.apply(crd)

        def in_force() -> bool:
            kind = (site_type.api_version, site_type.kind)
            body = {"status": {changes[-1]: "in force"}}
            found = plane.api.patch(*kind, elsewhere, "probe", body, subresource="status")
            return changes[-1] in (found.get("status") or {})

        eventually(in_force)

    yield change
    site_type.install_crds(plane)


def test_a_crd_that_is_deleted_and_installed_again_is_watched_again(
    own_control_plane: ControlPlane, site_type: type[FaultSite], make_site: MakeSite
) -> None:
    """Fault 25: the objects are gone with it; new ones are worked on by the same process."""
    plane = own_control_plane
    ledger = plane.ledger().fresh()
    site = make_site(control_plane=plane, namespace=plane.create_namespace("crd-deleted"))
    crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, f"{site.plural}.kubernaut.ai")
    site.create_waiting("gone")
    eventually(lambda: site.waits("gone"))
    plane.api.delete(*crd)
    eventually(lambda: plane.api.find(*crd) is None)
    eventually(lambda: site.deployment.metric("kubernaut_store_objects", resource=site.plural) == 0, timeout=60)
    site_type.install_crds(plane)
    site.create("new")
    eventually(lambda: site.ended("new"), timeout=60)
    assert_done_once(site, ledger, "new")
    assert_invariants(ledger, site.ref("gone"), site.contract)
    assert_survived(site.deployment.process)

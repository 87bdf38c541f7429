"""The API server and etcd go away and come back while notifications are delivered; they have a control plane here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scenarios.notification import CONTRACT, NotificationSite, install_crds

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants, assert_quiet, check_effects
from kubernaut_testing.receivers import Answer, WebhookReceiver
from kubernaut_testing.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own_control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        install_crds(plane)
        yield plane


FAULTS: dict[str, Callable[[ControlPlane], None]] = {
    "apiserver": lambda plane: plane.restart_apiserver(),
    "apiserver-killed": lambda plane: plane.restart_apiserver(graceful=False, down=1),
    "etcd": lambda plane: plane.restart_etcd(down=1),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_restart_of_the_servers_loses_no_notification_and_repeats_none(
    what: str, own_control_plane: ControlPlane, tmp_path: Path, receiver: WebhookReceiver
) -> None:
    """Fault 20: the operator lives on, and ends right what it was doing."""
    plane = own_control_plane
    config = {"controller": {"maxConcurrentReconciles": 3}}
    ledger = plane.ledger().fresh()
    site = NotificationSite(plane, plane.create_namespace(f"restart-{what}"), tmp_path, receiver, config=config)
    receiver.default = Answer(delay=0.2)
    with site.deployment:
        pid = site.deployment.process.pid
        names = [f"n-{number}" for number in range(30)]
        for name in names:
            site.create(name)
        assert len(receiver.wait_for(8)) < len(names), "the fault comes while it is delivering"
        FAULTS[what](plane)
        names.append("afterwards")
        site.create("afterwards")
        eventually(
            lambda: all((found.get("status") or {}).get("phase") == "Sent" for found in site.objects()), timeout=60
        )
        assert site.deployment.process.pid == pid
        assert site.deployment.process.running
        for name in names:
            assert len(site.slack_messages(name)) == 1, name
            status = site.status(name)
            assert check_effects(status, site.effects(name), CONTRACT) == []
            assert {counter: status[counter] for counter in CONTRACT.counters(status)} == CONTRACT.counters(status)
            if what != "apiserver-killed":  # a killed server may have committed what it did not log
                assert_invariants(ledger, site.ref(name), CONTRACT)
        eventually(lambda: site.deployment.probe("/readyz")[0] == 200)
        assert site.deployment.probe("/healthz")[0] == 200
        assert_quiet(lambda: site.objects(), seconds=2)

"""The API server, etcd and the CRD go away and come back, or come back as others, on a control plane of their own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, NotificationSite, install_crds, notification

from kubernaut_api import load_crd
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants, assert_quiet, assert_survived, check_effects
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import Answer, WebhookReceiver
from kubernaut_testing.rest import ApiError
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


@pytest.mark.parametrize(
    "what",
    # A server that ends in order takes its time.
    ["apiserver-killed", "etcd", pytest.param("apiserver", marks=pytest.mark.faults_full, id="apiserver-full")],
)
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
        assert_survived(site.deployment.process)


# The CRD ------------------------------------------------------------------------------------------------------

Schema = dict[str, Any]


@pytest.fixture
def change_crd(own_control_plane: ControlPlane) -> Iterator[Callable[[Callable[[Schema], object]], None]]:
    """Changes the schema of the status, and waits until the API server goes by it; the real CRD is back at the end."""
    plane = own_control_plane
    elsewhere = plane.create_namespace("crd-probe")
    plane.api.create(notification(elsewhere, "probe"))

    def change(edit: Callable[[Schema], object]) -> None:
        crd = copy.deepcopy(load_crd(PLURAL))
        (version,) = crd["spec"]["versions"]
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
        edit(status["properties"])
        # A mark by which this version of the schema is told from the one before.
        changes.append(f"change-{len(changes)}")
        status["properties"]["message"]["enum"] = ["", *MESSAGES, changes[-1]]
        plane.apply(crd)

        def in_force() -> bool:
            body = {"status": {"message": changes[-1]}}
            try:
                plane.api.patch(API_VERSION, KIND, elsewhere, "probe", body, subresource="status")
            except ApiError:
                return False
            return True

        eventually(in_force)

    changes: list[str] = []
    yield change
    install_crds(plane)


MESSAGES = [
    "Notification request received",
    "Processing delivery channels",
    "Successfully delivered to 1 channel(s)",
    "Successfully delivered to 3 channel(s)",
]


def writes(ledger: RequestLedger, site: NotificationSite, name: str) -> list[int]:
    ledger.settle()
    return [entry.code for entry in ledger.entries(site.ref(name), verb="patch", subresource="status")]


def test_a_crd_that_is_older_or_stricter_is_told_and_makes_no_loop_and_the_right_one_ends_everything(
    own_control_plane: ControlPlane,
    change_crd: Callable[[Callable[[Schema], object]], None],
    tmp_path: Path,
    receiver: WebhookReceiver,
) -> None:
    """Faults 25 and 26: fields that are dropped, and values that are refused (422)."""
    plane = own_control_plane
    ledger = plane.ledger().fresh()
    site = NotificationSite(plane, plane.create_namespace("crd-changes"), tmp_path, receiver)
    with site.deployment as deployment:
        change_crd(lambda status: status.pop("reason"))
        site.create("without-reason")
        eventually(lambda: site.ended("without-reason"))
        assert writes(ledger, site, "without-reason") == [200] * 3
        assert deployment.metric("k8s_status_pruned_fields_total", field="reason") >= 1
        assert_invariants(ledger, site.ref("without-reason"), CONTRACT, effects=site.effects("without-reason"))

        change_crd(lambda status: status.pop("conditions"))
        site.create("without-conditions")
        eventually(lambda: "cannot announce" in deployment.process.log.read_text())
        assert "update the CRD notificationrequests.kubernaut.ai" in deployment.process.log.read_text()
        assert deployment.metric("k8s_status_pruned_fields_total", field="conditions") >= 1

        change_crd(lambda status: status["phase"]["enum"].remove("Sending"))
        site.create("refused")
        eventually(lambda: 422 in writes(ledger, site, "refused"))
        record = eventually(lambda: [r for r in deployment.process.records() if "status.phase" in str(r.get("msg"))])
        assert "refused" in record[0]["msg"], "object and field are named"

        before = len(writes(ledger, site, "refused")), len(writes(ledger, site, "without-conditions"))
        assert site.slack_messages("without-conditions") == [], "nothing is sent unannounced"
        assert before[0] < 12, "tried again with growing waits"
        assert before[1] < 12
        change_crd(lambda status: None)
        eventually(lambda: all(site.phase(name) == "Sent" for name in ("refused", "without-conditions")), timeout=40)
        assert_invariants(ledger, site.ref("refused"), CONTRACT, effects=site.effects("refused"))
        status = site.status("without-conditions")
        assert check_effects(status, site.effects("without-conditions"), CONTRACT) == []
        assert_survived(deployment.process)


def test_a_crd_that_is_deleted_and_installed_again_is_watched_again(
    own_control_plane: ControlPlane, tmp_path: Path, receiver: WebhookReceiver
) -> None:
    """Fault 25: the objects are gone with it; new ones are delivered by the same process."""
    plane = own_control_plane
    ledger = plane.ledger().fresh()
    site = NotificationSite(plane, plane.create_namespace("crd-deleted"), tmp_path, receiver)
    crd = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, f"{PLURAL}.kubernaut.ai")
    with site.deployment as deployment:
        receiver.script(503)
        policy = {"maxAttempts": 3, "initialBackoffSeconds": 300, "backoffMultiplier": 1, "maxBackoffSeconds": 300}
        site.create("gone", "slack", retryPolicy=policy)
        eventually(lambda: site.status("gone").get("totalAttempts") == 1)
        plane.api.delete(*crd)
        eventually(lambda: plane.api.find(*crd) is None)
        eventually(lambda: deployment.metric("kubernaut_store_objects") == 0, timeout=30)
        install_crds(plane)
        site.create("new")
        eventually(lambda: site.ended("new"), timeout=60)
        assert_invariants(ledger, site.ref("new"), CONTRACT, effects=site.effects("new"))
        assert_invariants(ledger, site.ref("gone"), CONTRACT)
        assert_survived(deployment.process)

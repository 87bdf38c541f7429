"""The API server, etcd and the CRD go away and come back, or come back as others, on a control plane of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenarios.faults.restart import (
    ChangeCrd,
    change_crd,
    own_control_plane,
    test_a_crd_that_is_deleted_and_installed_again_is_watched_again,
    test_a_restart_of_the_servers_loses_no_object_and_repeats_none,
)
from scenarios.notification import CONTRACT, NotificationSite

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants, assert_survived, check_effects
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MakeSite = Callable[..., NotificationSite]


def writes(ledger: RequestLedger, site: NotificationSite, name: str) -> list[int]:
    ledger.settle()
    return [entry.code for entry in ledger.entries(site.ref(name), verb="patch", subresource="status")]


def test_a_crd_that_is_older_or_stricter_is_told_and_makes_no_loop_and_the_right_one_ends_everything(
    own_control_plane: ControlPlane, change_crd: ChangeCrd, make_site: MakeSite
) -> None:
    """Faults 25 and 26: fields that are dropped, and values that are refused (422)."""
    plane = own_control_plane
    ledger = plane.ledger().fresh()
    site = make_site(start=False, control_plane=plane, namespace=plane.create_namespace("crd-changes"))
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
        # With the next schema it has its conditions again.
        assert site.slack_messages("without-conditions") == [], "nothing is sent unannounced"
        assert len(writes(ledger, site, "without-conditions")) < 12, "tried again with growing waits"

        change_crd(lambda status: status["phase"]["enum"].remove("Sending"))
        site.create("refused")
        eventually(lambda: 422 in writes(ledger, site, "refused"))
        record = eventually(lambda: [r for r in deployment.process.records() if "status.phase" in str(r.get("msg"))])
        assert "refused" in record[0]["msg"], "object and field are named"

        assert len(writes(ledger, site, "refused")) < 12, "tried again with growing waits"
        change_crd(lambda status: None)
        eventually(lambda: all(site.phase(name) == "Sent" for name in ("refused", "without-conditions")), timeout=60)
        assert_invariants(ledger, site.ref("refused"), CONTRACT, effects=site.effects("refused"))
        status = site.status("without-conditions")
        assert check_effects(status, site.effects("without-conditions"), CONTRACT) == []
        assert_survived(deployment.process)

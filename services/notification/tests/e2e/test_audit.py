"""The audit trail of whole lives, as Data Storage gets it from the operator's process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scenarios.notification import NotificationSite

from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.receivers import WebhookReceiver
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]


def told(storage: DataStorage, correlation_id: str) -> list[tuple[str, str, str]]:
    """Type, outcome and channel of the events of one correlation."""
    return sorted(
        (
            event["event_type"].removeprefix("notification.message."),
            event["event_outcome"],
            event["event_data"].get("channel", "").partition(":")[0],
        )
        for event in storage.events(correlation_id=correlation_id)
    )


SENT_TO_ALL = [
    ("acknowledged", "success", ""),
    ("sent", "success", "console"),
    ("sent", "success", "file"),
    ("sent", "success", "slack"),
]


def reference(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "RemediationRequest",
        "name": name,
        "namespace": "default",
        "uid": "1",
    }


@pytest.mark.behaviour(15, 81, 82, 83, 85)
def test_every_life_is_told_once_correlated_through_an_outage_and_to_the_end(
    make_site: MakeSite, datastorage: DataStorage, receiver: WebhookReceiver
) -> None:
    section = {**datastorage.config, "buffer": {"flushInterval": "2s"}}
    site = make_site(datastorage=datastorage, config={"datastorage": section})
    assert "[+]datastorage ok" in site.deployment.probe("/readyz")[1]

    # One remediation, all channels; a standalone notification that is refused.
    site.create("all", remediationRequestRef=reference("rr-1"), clusterID="east")
    eventually(lambda: site.ended("all"))
    receiver.script(404)
    site.create("refused", to="slack", body="password: hunter2")
    eventually(lambda: site.ended("refused"))
    uid = site.get("refused")["metadata"]["uid"]
    datastorage.wait_for_events(4, correlation_id="rr-1")
    datastorage.wait_for_events(2, correlation_id=uid)
    assert told(datastorage, "rr-1") == SENT_TO_ALL
    assert told(datastorage, uid) == [("escalated", "success", ""), ("failed", "failure", "slack")]
    (failed,) = datastorage.events(correlation_id=uid, event_type="notification.message.failed")
    assert failed["event_data"]["error_type"] == "permanent"
    assert "404" in failed["event_data"]["error"]
    assert {event["cluster_id"] for event in datastorage.events()} == {"east", ""}
    assert "hunter2" not in str(datastorage.events())

    # Data Storage is away: notifications are delivered, events wait.
    receiver.clear()
    datastorage.stop()
    site.create("away", remediationRequestRef=reference("rr-2"))
    eventually(lambda: site.phase("away") == "Sent")
    eventually(lambda: site.deployment.metric("audit_requests_total", code="none") > 0)
    eventually(lambda: site.deployment.metric("audit_events_buffered") == 4)
    datastorage.start()
    datastorage.wait_for_events(4, correlation_id="rr-2")

    # The end: what waits is sent.
    assert site.deployment.metric("audit_events_dropped_total", service="notification-controller") == 0
    site.create("last", remediationRequestRef=reference("rr-3"))
    eventually(lambda: site.phase("last") == "Sent")
    assert site.deployment.process.terminate() == 0
    assert [told(datastorage, f"rr-{number}") for number in (1, 2, 3)] == [SENT_TO_ALL] * 3
    assert not datastorage.refusals
    assert "event_data" not in site.deployment.process.log.read_text()

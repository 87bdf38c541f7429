"""Notification delivers while its receiver fails, recovers and refuses, and dies once while it sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from scenarios.notification import NotificationSite
from tests.observability.stories.story import ELECTION, HEALTHY, Story

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.prometheus import Prometheus
from kubernaut_testing.proxy import FaultProxy
from kubernaut_testing.receivers import Answer, WebhookReceiver
from kubernaut_testing.waiting import eventually

ONCE_MORE = {"maxAttempts": 2, "initialBackoffSeconds": 1, "backoffMultiplier": 1, "maxBackoffSeconds": 60}


class NotificationStory(Story):
    """The story."""

    expected: ClassVar = {
        "OutcomeUnknown": "firing",
        "Failed": "firing",
        "ReloadFailed": "pending",
        "StatusConflicts": "pending",
        "StatusWritesFailing": "pending",
    }
    healthy: ClassVar = HEALTHY | {"Forbidden"}
    site: NotificationSite

    def begin(self) -> None:
        """Kill the operator while Slack has the message and nobody knows, and start it again."""
        self.site.receiver.script(Answer(delay=30))
        self.site.create("unknown", "slack")
        self.site.receiver.wait_for(1)
        self.deployment.process.restart()
        eventually(lambda: self.site.ended("unknown"))

    def go_on(self, prometheus: Prometheus) -> None:
        """Deliver while Slack fails, recovers and refuses, and while status writes meet conflicts and a busy server.

        In two waves with a scrape between them: what is counted first in the second one has increased. At last a wrong
        routing file is put in place and left there.
        """
        self.disturb_writes()
        self.site.receiver.script(503, 200, *[503] * 6)
        self._deliver(range(2), "all", "slack", "slack-and-console", "console")
        prometheus.wait_scraped()
        self.site.receiver.default = 404  # refused for good: Failed where there is no other channel
        self._deliver(range(2, 5), "slack", "slack-and-console", "file")
        self.site.replace_routing("route: [")
        eventually(lambda: self.deployment.metric("config_last_reload_successful", file=str(self.site.routing)) == 0)

    def _deliver(self, numbers: range, *receivers: str) -> None:
        names = [f"{to}-{number}" for number in numbers for to in receivers]
        for name in names:
            self.site.create(name, name.rpartition("-")[0], retryPolicy=ONCE_MORE)
        eventually(lambda: all(self.site.ended(name) for name in names), timeout=60)


@contextmanager
def notification(control_plane: ControlPlane, folder: Path) -> Iterator[NotificationStory]:
    """An operator of its own, started."""
    NotificationSite.install_crds(control_plane)
    namespace = control_plane.create_namespace("observability-notification")
    with WebhookReceiver() as receiver, FaultProxy(control_plane) as proxy:
        config = {"controller": ELECTION}
        site = NotificationSite(control_plane, namespace, folder, receiver, config=config, proxy=proxy)
        with site.deployment:
            yield NotificationStory(site, proxy)

"""Two operators side by side over the same notifications: one in atomic, one in sequential mode.

Each has a namespace, a process, a ServiceAccount with the service's Role, an output folder and a receiver in
Slack's place of its own, so that whatever is counted belongs to one of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from scenarios.installed import IMAGE, InstalledSite
from scenarios.notification import PROGRAM, TERMINAL, NotificationSite

from demo.cases import CASES, MODES
from demo.clusters import DemoError
from demo.following import Follower
from kubernaut_runtime import Connection
from kubernaut_testing import Answer, ControlPlane, WebhookReceiver
from kubernaut_testing.kubelet import Image, LocalKubelet
from kubernaut_testing.receivers import Received
from kubernaut_testing.rest import ApiError

__all__ = ["IMAGES", "SiteMaker", "SlackStandIn", "Stage", "bare_site", "installed_site", "staged"]

_BODIES = {200: "ok", 410: "channel_is_archived", 503: "service_unavailable"}


class SlackStandIn:
    """Answers as the cases say and writes every request to a file, one JSON object a line."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> Answer:
        """The answer to one request; anything that is no sample's message is welcome."""
        title = subject_of(received)
        case = next((case for case in CASES if case.slack and title.endswith(case.subject)), None)
        with self._lock:
            answers = case.slack if case else (200,)
            code = answers[min(self._seen[title], len(answers) - 1)]
            self._seen[title] += 1
            record = {"time": received.time.isoformat(), "answer": code, "message": received.json}
            with self.file.open("a", encoding="utf-8") as log:
                log.write(json.dumps(record, ensure_ascii=False) + "\n")
        return Answer(code, body=_BODIES[code])


def subject_of(received: Received) -> str:
    """The header of a Slack message: an emoji and the subject."""
    return str(received.json["blocks"][0]["text"]["text"])


def complaint_of(error: ApiError) -> str:
    """What the API server has against an object, field by field, without remarks on how it validates."""
    causes = (error.body.get("details") or {}).get("causes") or []
    told = [f"{cause['field']}: {cause['message']}" for cause in causes if cause.get("field", "<nil>") != "<nil>"]
    return "; ".join(told) or str(error.body.get("message") or error)


class Stage:
    """The two sites, running.

    `sites` are keyed by mode; `rejections` are the API server's messages by case and mode; `begun` is
    `time.monotonic()` when the first sample was applied.
    """

    def __init__(self, cluster: ControlPlane, sites: Mapping[str, NotificationSite], follower: Follower) -> None:
        self.cluster = cluster
        self.sites = sites
        self.follower = follower
        self.rejections: dict[tuple[str, str], str] = {}
        self.begun = 0.0

    def mode_of(self, namespace: str) -> str:
        """Which mode works in the namespace."""
        return next(mode for mode, site in self.sites.items() if site.namespace == namespace)

    def phase(self, name: str, mode: str) -> str:
        """The phase that the watch saw last."""
        return self.follower.phase(self.sites[mode].namespace, name)

    def apply_samples(self) -> None:
        """Create every sample in both namespaces; what the API server rejects goes to `rejections`."""
        self.begun = time.monotonic()
        for case in CASES:
            for mode, site in self.sites.items():
                manifest = case.manifest
                try:
                    site.control_plane.api.create(
                        {**manifest, "metadata": {**manifest["metadata"], "namespace": site.namespace}}
                    )
                except ApiError as error:
                    if error.status != 422:
                        raise
                    self.rejections[case.name, mode] = complaint_of(error)

    def ended(self) -> bool:
        """Whether every sample that was accepted has a terminal phase."""
        return all(
            self.phase(case.name, mode) in TERMINAL
            for case in CASES
            for mode in self.sites
            if (case.name, mode) not in self.rejections
        )

    def follow(self, tick: Callable[[], None], *, timeout: float) -> None:
        """Call `tick` until everything has ended, or the time is up, or an operator has died."""
        deadline = time.monotonic() + timeout
        while not self.ended() and time.monotonic() < deadline:
            for site in self.sites.values():
                process = site.deployment.process
                if not process.running:
                    raise DemoError(
                        f"cannot go on: an operator ended with code {process.returncode}; see {process.log}"
                    )
            tick()
            time.sleep(0.1)
        tick()


SiteMaker = Callable[[ControlPlane, str, str, Path, WebhookReceiver], NotificationSite]
"""Makes the site of a mode: cluster, mode, namespace, folder, receiver."""

IMAGES: dict[str, Image | Sequence[str]] = {IMAGE: [PROGRAM]}
"""What the local kubelet runs for the chart's image."""


def bare_site(
    cluster: ControlPlane, mode: str, namespace: str, folder: Path, receiver: WebhookReceiver
) -> NotificationSite:
    """An operator as a bare process."""
    config: dict[str, Any] = {"controller": {"statusUpdateMode": mode}}
    return NotificationSite(cluster, namespace, folder, receiver, config=config)


def installed_site(kubelet: LocalKubelet) -> SiteMaker:
    """An operator as helm installs it; the release of the first mode brings the CRD."""

    def make(
        cluster: ControlPlane, mode: str, namespace: str, folder: Path, receiver: WebhookReceiver
    ) -> NotificationSite:
        config: dict[str, Any] = {"controller": {"statusUpdateMode": mode}}
        return InstalledSite(kubelet, namespace, folder, receiver, config=config, crds=mode == MODES[0])

    return make


@contextmanager
def staged(
    cluster: ControlPlane, connection: Connection, namespaces: Mapping[str, str], folder: Path, make_site: SiteMaker
) -> Iterator[Stage]:
    """Start receivers and operators (at the same time), and end them afterwards; the namespaces must be there."""
    with ExitStack() as stack:
        sites = {}
        for mode in MODES:
            (folder / mode).mkdir()
            receiver = stack.enter_context(WebhookReceiver(SlackStandIn(folder / mode / "slack.jsonl")))
            sites[mode] = make_site(cluster, mode, namespaces[mode], folder / mode, receiver)
            stack.callback(sites[mode].deployment.process.close)
        for site in sites.values():
            site.deployment.process.start(wait=False)
        follower = stack.enter_context(Follower(connection, list(namespaces.values())))
        for mode, site in sites.items():
            try:
                site.deployment.process.wait_ready()
            except AssertionError as error:
                raise DemoError(f"cannot start the operator in {mode} mode: {error}") from None
        yield Stage(cluster, sites, follower)

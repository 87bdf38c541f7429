"""Notification: three channels each, and the standard's own examples (DD-PERF-001).

An example's notification is brought to Sending; then everything that came of its delivery is committed at once, by the
service's own `StatusWriter`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from scenarios.notification import PLURAL, PROGRAM, NotificationSite, notification

from benchmarks.loads import Load
from benchmarks.modes import MODES, Mode
from benchmarks.service import Commit, Example, Service, Stage
from kubernaut_api import NOTIFICATION_REQUEST, NotificationRequest
from kubernaut_notification.conditions import conditions_for
from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.result import Attempt
from kubernaut_notification.phases import FAILED, PARTIALLY_SENT, PENDING, PHASES, SENDING, SENT
from kubernaut_notification.status import ATTEMPT_IDENTITY, StatusWriter
from kubernaut_status import StatusManager
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.receivers import WebhookReceiver

Attempts = Sequence[tuple[str, bool]]
"""Attempts by channel; True is delivered."""


@contextmanager
def _stage(control_plane: ControlPlane, namespace: str, folder: Path, config: Mapping[str, Any]) -> Iterator[Stage]:
    with WebhookReceiver() as receiver:
        site = NotificationSite(control_plane, namespace, folder, receiver, config=config)
        yield Stage(site, site.create)


async def _prepare(
    attempts: Attempts,
    phase: str,
    control_plane: ControlPlane,
    client: AiohttpClient,
    mode: Mode,
    namespace: str,
    name: str,
) -> Commit:
    manager = StatusManager(
        client,
        NOTIFICATION_REQUEST,
        phases=PHASES,
        identities=ATTEMPT_IDENTITY,
        mode=mode.update,
        refetch=mode.refetch,
    )
    status = StatusWriter(manager, _now)
    nr = NotificationRequest.model_validate(control_plane.api.create(notification(namespace, name)))
    nr = (await status.transition_to_pending(nr, _conditions(nr, PENDING))).object
    sending = (await status.transition_to_sending(nr, _conditions(nr, SENDING))).object
    made = _attempts(attempts)
    conditions = _conditions(sending, phase)
    return lambda: status.atomic_status_update(sending, phase, "Example", "", made, conditions)


def _attempts(attempts: Attempts) -> Sequence[Attempt]:
    made: list[Attempt] = []
    for channel, delivered in attempts:
        number = 1 + sum(attempt.channel == channel for attempt in made)
        now = _now()
        if delivered:
            made.append(Attempt.success(channel, number, now, now, 0.1))
        else:
            made.append(Attempt.failure(channel, number, now, now, 0.1, RetryableError("503 Service Unavailable")))
    return made


def _conditions(nr: NotificationRequest, phase: str) -> list[Any]:
    return conditions_for(nr.status.conditions, phase, generation=nr.metadata.generation, now=_now())


def _now() -> datetime:
    return datetime.now(UTC)


def _example(name: str, title: str, attempts: Attempts, phase: str) -> Example:
    return Example(name, title, len(attempts) + 1, partial(_prepare, attempts, phase))


NOTIFICATION = Service(
    name="notification",
    title="Notification",
    program=PROGRAM,
    plural=PLURAL,
    end=SENT,
    prefix="kubernaut_notification",
    objects="notifications",
    about="Each NotificationRequest has 3 channels: console, file, and Slack with a receiver on loopback.",
    loads=(
        Load("burst", "1,000 at once", 1000, rounds=3, modes=MODES),
        Load("steady", "100 a minute for 5 minutes", 500, per_minute=100),
        Load("busy", "1,000 a minute for 5 minutes", 5000, per_minute=1000),
        Load("backlog", "5,000 at start", 5000, backlog=True, fresh=20),
    ),
    install=NotificationSite.install_crds,
    stage=_stage,
    examples=(
        _example(
            "three-channels",
            "3 channels, all delivered (3 attempts)",
            (("console", True), ("file", True), ("slack", True)),
            SENT,
        ),
        _example(
            "partial",
            "partial with retries: 1 delivered, 1 failed 5 times (6 attempts)",
            (("console", True), *(("slack", False),) * 5),
            PARTIALLY_SENT,
        ),
        _example(
            "all-failed",
            "all failed: 3 channels, 3 attempts each (9 attempts)",
            tuple((channel, False) for _ in range(3) for channel in ("console", "file", "slack")),
            FAILED,
        ),
    ),
    examples_about="The last commit of a notification's delivery: the standard's own examples.",
    notes="""\
* **Retries of notifications.** Every delivery succeeds at once. The examples count commits with failures; a
  notification that is retried over minutes has a commit for each pass.""",
)
"""Notification, as the benchmarks see it."""

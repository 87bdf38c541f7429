"""The standard's own examples (DD-PERF-001), counted in the API server's audit log, one commit at a time.

A notification is brought to Sending; then everything that came of its delivery is committed at once, by the service's
own `NotificationStatus`, in each mode. The time is that of the call, seen by the caller.
"""

from __future__ import annotations

import ssl
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from scenarios.notification import PLURAL, notification

from benchmarks.modes import MODES, Mode
from benchmarks.run import BenchmarkError
from kubernaut_api import NOTIFICATION_REQUEST, NotificationRequest
from kubernaut_notification.conditions import conditions_for
from kubernaut_notification.delivery.channel import RetryableError
from kubernaut_notification.delivery.result import Attempt
from kubernaut_notification.phases import FAILED, PARTIALLY_SENT, PENDING, PHASES, SENDING, SENT
from kubernaut_notification.status import ATTEMPT_IDENTITY, NotificationStatus
from kubernaut_status import StatusManager
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.ledger import RequestLedger

AGENT = "kubernaut-benchmarks/examples"


@dataclass(frozen=True, slots=True)
class Example:
    """One of the standard's examples: attempts by channel (True delivered), and the phase that they end in."""

    name: str
    title: str
    attempts: tuple[tuple[str, bool], ...]
    phase: str


EXAMPLES = (
    Example("three-channels", "3 channels, all delivered", (("console", True), ("file", True), ("slack", True)), SENT),
    Example(
        "partial",
        "partial with retries: 1 delivered, 1 failed 5 times",
        (("console", True), *(("slack", False),) * 5),
        PARTIALLY_SENT,
    ),
    Example(
        "all-failed",
        "all failed: 3 channels, 3 attempts each",
        tuple((channel, False) for _ in range(3) for channel in ("console", "file", "slack")),
        FAILED,
    ),
)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one commit of an example cost in one mode: status PATCHes, GETs, and milliseconds (median)."""

    example: str
    mode: str
    patches: int
    gets: int
    milliseconds: float


async def count_examples(control_plane: ControlPlane, namespace: str, repetitions: int) -> list[Counted]:
    """Commit each example in each mode `repetitions` times; `namespace` must not exist yet.

    Raises BenchmarkError if two commits of the same example in the same mode differ in their requests.
    """
    control_plane.create_namespace(namespace)
    tls = ssl.create_default_context(cafile=str(control_plane.ca_file))
    token = control_plane.admin_token
    found: list[Counted] = []
    async with AiohttpClient(control_plane.url, ssl=tls, token=lambda: token, user_agent=AGENT) as client:
        writers = {mode.name: _status(client, mode) for mode in MODES}
        for example in EXAMPLES:
            times: dict[str, list[float]] = {mode.name: [] for mode in MODES}
            costs: dict[str, set[tuple[int, int]]] = {mode.name: set() for mode in MODES}
            for repetition in range(repetitions):
                for number, mode in enumerate(MODES):
                    name = f"{example.name}-{number}-{repetition}"
                    created = control_plane.api.create(notification(namespace, name))
                    ledger = control_plane.ledger().fresh()
                    commit = await _bring_to_sending(writers[mode.name], created, example)
                    mark = ledger.mark()
                    began = time.perf_counter()
                    await commit()
                    times[mode.name].append(time.perf_counter() - began)
                    costs[mode.name].add(_cost(ledger, mark, namespace, name))
            for mode in MODES:
                if len(costs[mode.name]) != 1:
                    raise BenchmarkError(
                        f"cannot count {example.name} in {mode.name}: its commits differ in (PATCH, GET): "
                        f"{sorted(costs[mode.name])}"
                    )
                ((patches, gets),) = costs[mode.name]
                median = statistics.median(times[mode.name]) * 1000
                found.append(Counted(example.name, mode.name, patches, gets, median))
    return found


def _status(client: AiohttpClient, mode: Mode) -> NotificationStatus:
    manager = StatusManager(
        client,
        NOTIFICATION_REQUEST,
        phases=PHASES,
        identities=ATTEMPT_IDENTITY,
        mode=mode.update,
        refetch=mode.refetch,
    )
    return NotificationStatus(manager, _now)


async def _bring_to_sending(
    status: NotificationStatus, created: dict[str, Any], example: Example
) -> Callable[[], Awaitable[object]]:
    nr = NotificationRequest.model_validate(created)
    nr = (await status.transition_to_pending(nr, _conditions(nr, PENDING))).object
    sending = (await status.transition_to_sending(nr, _conditions(nr, SENDING))).object
    attempts = _attempts(example)
    conditions = _conditions(sending, example.phase)
    return lambda: status.atomic_status_update(sending, example.phase, "Example", "", attempts, conditions)


def _attempts(example: Example) -> Sequence[Attempt]:
    made: list[Attempt] = []
    for channel, delivered in example.attempts:
        number = 1 + sum(attempt.channel == channel for attempt in made)
        now = _now()
        if delivered:
            made.append(Attempt.success(channel, number, now, now, 0.1))
        else:
            made.append(Attempt.failure(channel, number, now, now, 0.1, RetryableError("503 Service Unavailable")))
    return made


def _conditions(nr: NotificationRequest, phase: str) -> list[Any]:
    return conditions_for(nr.status.conditions, phase, generation=nr.metadata.generation, now=_now())


def _cost(ledger: RequestLedger, mark: int, namespace: str, name: str) -> tuple[int, int]:
    ledger.settle()
    counted = ledger.count(f"{PLURAL}/{namespace}/{name}", user_agent=AGENT, since=mark)
    return counted["patch/status"], counted["get"]


def _now() -> datetime:
    return datetime.now(UTC)

"""Many notifications through one operator: each has a receiver and a webhook of its own, and a budget.

A `Journey` says where a notification goes, what its webhook answers, and how it ends. From that follows its cost:
PATCHes by the mode of writing, no GET, and its Events by reason. A `Tour` is one operator with a table of journeys; all
depart together, so that a table takes as long as its longest journey.

    with tour(control_plane, folder, {"one": Journey(("console",))}, mode="atomic") as running:
        running.depart()
        running.arrive()
        running.assert_end("one")
        running.assert_cost("one")
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import Received, Script, WebhookReceiver
from kubernaut_testing.waiting import eventually
from scenarios.budgets import read_budgets
from scenarios.notification import CONTRACT, PROGRAM, NotificationSite

HTTP = ("slack", "teams", "pagerduty")
"""Channels that call the journey's webhook."""

REASONS = {
    "Sent": ("AllDeliveriesSucceeded",),
    "PartiallySent": ("PartialDeliverySuccess",),
    "Failed": ("AllDeliveriesFailed", "MaxRetriesExhausted"),
}
"""Terminal phase -> the reasons that it may have."""


class Budget(NamedTuple):
    """What one notification may ask of the API server in its life: requests on the object, and Events."""

    patches: int
    gets: int
    events: int


def readme_budgets() -> dict[str, Budget]:
    """The budget table of the service's README: path -> budget in atomic mode."""
    return {path: Budget(*row.values()) for path, row in read_budgets("notification").items()}


def short_policy(attempts: int, multiplier: int = 1) -> dict[str, int]:
    """A retry policy that waits a second first, which is the least that the CRD allows."""
    return {
        "maxAttempts": attempts,
        "initialBackoffSeconds": 1,
        "backoffMultiplier": multiplier,
        "maxBackoffSeconds": 60,
    }


@dataclass(frozen=True)
class Journey:
    """One notification.

    Attributes:
        channels: what its receiver has: `slack`, `teams`, `pagerduty`, `console`, `file`, `log`; at most one of them is
            tried again. Where the routing file is not the tour's own, whole channel keys.
        outcomes: channel -> its attempts, `f` a failed one and `s` a success ("ffs"); a channel that is not named
            delivers at once.
        answers: the webhook's first answers; 200 is given afterwards.
        phase: the phase at the end.
        reason: the reason at the end; empty stands for the first that the phase may have.
        spec: fields of the notification.
        path: the row of the README's budget table that this is an example of.
        later: it does not depart with the others; a test creates it.
    """

    channels: tuple[str, ...]
    outcomes: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[Script, ...] = ()
    phase: str = "Sent"
    reason: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    later: bool = False

    @cached_property
    def attempts(self) -> dict[str, str]:
        """Channel -> its attempts, for every channel."""
        return {channel: self.outcomes.get(channel, "s") for channel in self.channels}

    @property
    def calls(self) -> int:
        """How often its webhook is called."""
        return sum(len(made) for channel, made in self.attempts.items() if channel in HTTP)

    @property
    def counters(self) -> tuple[int, int, int]:
        """Attempts, channels that have the message, channels that have not."""
        delivered = sum("s" in made for made in self.attempts.values())
        return sum(map(len, self.attempts.values())), delivered, len(self.channels) - delivered

    @property
    def passes(self) -> int:
        """Passes that deliver: all channels are tried in the first, the one that fails in each further one."""
        return max(map(len, self.attempts.values()))

    @property
    def retries(self) -> bool:
        """Whether it is in phase Retrying meanwhile: some channel has the message while another one waits."""
        made = self.attempts.values()
        return any(any("s" in m[:k] for m in made) and any(len(m) > k for m in made) for k in range(1, self.passes))

    @property
    def phases(self) -> list[str]:
        """The phases that it goes through."""
        return ["", "Pending", "Sending", *(["Retrying"] if self.retries else []), self.phase]

    @property
    def events(self) -> Counter[str]:
        """Its Events, by reason."""
        end = {"Sent": {}, "PartiallySent": {"NotificationPartiallySent": 1}, "Failed": {"NotificationFailed": 1}}
        told = {
            "ReconcileStarted": 1,
            "PhaseTransition": 1,
            "NotificationSent": self.counters[1],
            "NotificationRetrying": int(self.retries),
            **end[self.phase],
        }
        return +Counter(told)

    def budget(self, mode: str) -> Budget:
        """Pending, Sending and one write for each pass; in sequential mode also one for each attempt. No GET."""
        patches = 2 + self.passes + (self.counters[0] if mode == "sequential" else 0)
        return Budget(patches, 0, self.events.total())


class Tour:
    """A running operator with its journeys; `calls` are what the webhook of one was sent.

    `ledger` begins before the operator starts, `mode` is the operator's mode of writing.
    """

    def __init__(self, site: NotificationSite, journeys: Mapping[str, Journey], mode: str) -> None:
        self.site, self.journeys, self.mode = site, journeys, mode
        self.ledger: RequestLedger = site.control_plane.ledger().fresh()
        for name, journey in journeys.items():
            (site.credentials / name).write_text(f"{site.receiver.url}/{name}\n")
            site.receiver.script(*journey.answers, path=f"/{name}")

    def routing(self) -> dict[str, Any]:
        """The routing file: extension `to` names the journey, and each journey has a receiver of its name."""
        receivers = [
            {"name": name, **{f"{channel}Configs": [self._entry(channel, name)] for channel in journey.channels}}
            for name, journey in self.journeys.items()
        ]
        routes = [{"match": {"to": name}, "receiver": name} for name in self.journeys]
        return {"route": {"receiver": next(iter(self.journeys)), "routes": routes}, "receivers": receivers}

    def replace_routing(self, text: str, *, result: str = "ok") -> None:
        """Put another routing file in place, and wait until the operator has taken it, or refused it (`failed`)."""
        before = self.reloads(result)
        self.site.replace_routing(text)
        eventually(lambda: self.reloads(result) > before, message=f"a reload of the routing file with result {result}")

    def reloads(self, result: str) -> float:
        """How often the operator has read a changed routing file with this result, `ok` or `failed`."""
        return self.site.deployment.metric("config_reload_total", file=str(self.site.routing), result=result)

    def depart(self) -> None:
        """Create every notification that is not for later."""
        for name, journey in self.journeys.items():
            if not journey.later:
                self.create(name)

    def create(self, name: str, of: str = "", **spec: Any) -> dict[str, Any]:
        """Create the notification `name` of the journey `of` (its own by default); `spec` overrides fields."""
        fields = {"retryPolicy": short_policy(5), **self.journeys[of or name].spec, **spec}
        return self.site.create(name, of or name, **fields)

    def arrive(self, timeout: float = 120.0) -> None:
        """Wait until every notification that departed has ended."""
        under_way = {name for name, journey in self.journeys.items() if not journey.later}

        def all_ended() -> bool:
            phases = {each["metadata"]["name"]: each.get("status", {}).get("phase") for each in self.site.objects()}
            under_way.difference_update([name for name in under_way if phases.get(name) in REASONS])
            return not under_way

        eventually(all_ended, timeout=timeout, interval=0.1, message=lambda: f"the end of {sorted(under_way)}")

    def calls(self, name: str) -> list[Received]:
        """What arrived at the journey's webhook."""
        return self.site.receiver.to(f"/{name}")

    def gaps(self, name: str) -> list[float]:
        """Seconds from one call to the next, by the webhook's clock."""
        return self.site.receiver.gaps(f"/{name}")

    def assert_gaps(self, name: str, *waits: float, late: float = 5) -> None:
        """Fail unless the webhook was called after these waits: never earlier, at most a tenth and `late` s later."""
        found = self.gaps(name)
        assert len(found) == len(waits), found
        for gap, wait in zip(found, waits, strict=True):
            assert wait <= gap <= wait * 1.1 + late, f"{found} instead of {waits}"

    def key(self, channel: str, name: str) -> str:
        """The channel's key in the journey's status."""
        return f"{channel}:{name}" if channel in HTTP else channel

    def told(self, name: str) -> Counter[str]:
        """The reasons of its Events so far."""
        return Counter(event["reason"] for event in self.site.events(name))

    def assert_end(self, name: str, of: str = "") -> dict[str, Any]:
        """Fail unless status and history are those of the journey; returns the status."""
        journey = self.journeys[of or name]
        status = self.site.status(name)
        assert status["phase"] == journey.phase, status
        assert status["reason"] == (journey.reason or REASONS[journey.phase][0])
        counters = (status.get(key, 0) for key in ("totalAttempts", "successfulDeliveries", "failedDeliveries"))
        assert tuple(counters) == journey.counters
        word = {"success": "s", "failed": "f"}
        for channel, wanted in journey.attempts.items():
            key = self.key(channel, of or name)
            found = [entry for entry in status["deliveryAttempts"] if entry["channel"] == key]
            assert "".join(word[entry["status"]] for entry in found) == wanted, key
            assert [entry["attempt"] for entry in found] == list(range(1, len(found) + 1))
        self.ledger.settle()
        assert self.ledger.phases(self.site.ref(name)) == journey.phases
        assert len(self.calls(of or name)) == journey.calls
        assert_invariants(self.ledger, self.site.ref(name), CONTRACT)
        return status

    def assert_cost(self, name: str, of: str = "") -> None:
        """Fail unless the API server's log shows exactly the journey's budget in this mode."""
        journey = self.journeys[of or name]
        budget = journey.budget(self.mode)
        eventually(lambda: self.told(name).total() >= budget.events, message=f"the Events of {name}")
        wanted = {"patch/status": budget.patches, "get": budget.gets}
        self.ledger.assert_requests(self.site.ref(name), wanted, user_agent=PROGRAM, only=True)
        assert self.told(name) == journey.events
        assert len(self.ledger.events_about(self.site.ref(name))) == budget.events, "one request for each Event"
        if journey.path:
            assert journey.budget("atomic") == readme_budgets()[journey.path]

    def _entry(self, channel: str, name: str) -> dict[str, Any]:
        if channel == "pagerduty":  # its credential is a key, not an address
            return {"credentialRef": name, "url": f"{self.site.receiver.url}/{name}"}
        return {"credentialRef": name} if channel in HTTP else {}


@contextmanager
def tour(
    control_plane: ControlPlane,
    folder: Path,
    journeys: Mapping[str, Journey],
    *,
    mode: str,
    routing: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Iterator[Tour]:
    """Run an operator for `journeys` in a namespace of its own; the CRD must be there.

    `routing` is the text of another routing file than that of the journeys, `config` overrides sections of the config.
    """
    namespace = control_plane.create_namespace(f"tour-{mode}-{uuid.uuid4().hex[:6]}")
    further = {**(config or {})}
    further["controller"] = {"statusUpdateMode": mode, **further.get("controller", {})}
    with WebhookReceiver() as receiver:
        site = NotificationSite(control_plane, namespace, folder, receiver, config=further)
        made = Tour(site, journeys, mode)
        site.replace_routing(yaml.safe_dump(made.routing(), sort_keys=False) if routing is None else routing)
        with site.deployment:
            yield made

"""A Notification operator in a namespace of its own, with a receiver in Slack's place.

Routing goes by the extension `to`: `all` (Slack, console, file; also the default), `slack`, `console`, `file`,
`slack-and-console`. Whatever is sent to Slack arrives at `receiver`, on path `/slack`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.files import replace_file
from kubernaut_testing.invariants import Contract
from kubernaut_testing.proxy import FaultProxy
from kubernaut_testing.receivers import Answer, Received, WebhookReceiver
from scenarios.faults.site import PARALLEL, FaultSite

ROLE = Path(__file__).parents[1] / "services" / "notification" / "deploy" / "role.yaml"
PROGRAM = "kubernaut-notification"
API_VERSION, KIND, PLURAL = "kubernaut.ai/v1alpha1", "NotificationRequest", "notificationrequests"
TERMINAL = frozenset({"Sent", "PartiallySent", "Failed"})

QUICK_RETRY = {"maxAttempts": 5, "initialBackoffSeconds": 1, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
"""The shortest waits that the CRD allows: a second between attempts."""

LONG_WAIT = {"maxAttempts": 3, "initialBackoffSeconds": 300, "backoffMultiplier": 1, "maxBackoffSeconds": 300}

CHANNELS: dict[str, dict[str, Any]] = {
    "all": {"slackConfigs": [{"credentialRef": "slack"}], "consoleConfigs": [{}], "fileConfigs": [{}]},
    "slack": {"slackConfigs": [{"credentialRef": "slack"}]},
    "console": {"consoleConfigs": [{}]},
    "file": {"fileConfigs": [{}]},
    "slack-and-console": {"slackConfigs": [{"credentialRef": "slack"}], "consoleConfigs": [{}]},
}
"""Receiver name -> its channels."""


def _counters(status: Mapping[str, Any]) -> dict[str, int]:
    attempts = status.get("deliveryAttempts") or []
    channels = {attempt["channel"] for attempt in attempts}
    succeeded = {attempt["channel"] for attempt in attempts if attempt["status"] == "success"}
    counted = {
        "totalAttempts": len(attempts),
        "successfulDeliveries": len(succeeded),
        "failedDeliveries": len(channels - succeeded),
    }
    return {name: number for name, number in counted.items() if number}


def _timelines(status: Mapping[str, Any]) -> list[list[str]]:
    """Accepted, begun, the attempts of one channel, ended; channels of one pass are called side by side."""
    attempts = status.get("deliveryAttempts") or []
    before, after = [status.get("queuedAt"), status.get("processingStartedAt")], [status.get("completionTime")]
    found = []
    for channel in sorted({attempt["channel"] for attempt in attempts}) or [""]:
        ends = [attempt["timestamp"] for attempt in attempts if attempt["channel"] == channel]
        found.append([time for time in (*before, *ends, *after) if time])
    return found


def _announcement(status: Mapping[str, Any]) -> str | None:
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    return conditions["Delivering"]["message"] if "Delivering" in conditions else None


CONTRACT = Contract(
    transitions={
        "": {"Pending"},
        "Pending": {"Sending", "Failed"},
        "Sending": {"Sent", "Retrying", "PartiallySent", "Failed"},
        "Retrying": {"Sent", "Retrying", "PartiallySent", "Failed"},
        "Sent": set(),
        "PartiallySent": set(),
        "Failed": set(),
    },
    writer=PROGRAM,
    attempts=lambda status: status.get("deliveryAttempts") or [],
    attempt_id=lambda attempt: (attempt["channel"], attempt["attempt"]),
    attempt_time=lambda attempt: attempt["timestamp"],
    counters=_counters,
    timelines=_timelines,
    also_durable=lambda before, after: _announcement(before) != _announcement(after),
)
"""What a NotificationRequest's status means, for the invariant checker; written apart from the service's own tables."""


class NotificationSite(FaultSite):
    """One namespace with its operator, folders and receiver.

    `receiver` stands for Slack, `datastorage` for Data Storage (without it audit events are lines of the operator's
    output).
    """

    program, api_version, kind, plural, terminal = PROGRAM, API_VERSION, KIND, PLURAL, TERMINAL
    contract, role, account, lease_name = CONTRACT, ROLE, "notification-controller", "notification.kubernaut.ai"
    life, calls, waiting_writes = ("", "Pending", "Sending", "Sent"), 3, 3
    effects_follow, late_write = False, "terminal"
    few: ClassVar = {"delivery": {"maxCallsPerChannel": PARALLEL}}
    patient: ClassVar = {"delivery": {"circuitBreaker": {"failures": 1000}}}
    foreign_end: ClassVar = {"phase": "Failed", "reason": "AllDeliveriesFailed", "message": "ended by hand"}

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        folder: Path,
        receiver: WebhookReceiver,
        *,
        config: Mapping[str, Any] | None = None,
        proxy: FaultProxy | None = None,
        datastorage: DataStorage | None = None,
        name: str = "operator",
    ) -> None:
        self.receiver = receiver
        self.datastorage = datastorage
        self.output = folder / "delivered"
        self.credentials = folder / "credentials"
        self.routing = folder / "routing.yaml"
        self.credentials.mkdir(parents=True, exist_ok=True)
        self.output.mkdir(exist_ok=True)
        (self.credentials / "slack").write_text(f"{receiver.url}/slack\n")
        self.write_routing()
        super().__init__(control_plane, namespace, folder, config=config, proxy=proxy, name=name)

    def environment(self) -> dict[str, str]:
        """Where the routing file is, and whom to trust."""
        ca_file = self.datastorage.ca_file if self.datastorage else None
        return {"ROUTING_CONFIG_PATH": str(self.routing), **({"TLS_CA_FILE": str(ca_file)} if ca_file else {})}

    def config(self, further: Mapping[str, Any]) -> dict[str, Any]:
        """The operator's config with this site's folders; `further` overrides whole sections."""
        return {
            "controller": {"maxConcurrentReconciles": 10, **further.get("controller", {})},
            "delivery": {
                "file": {"outputDir": str(self.output)},
                "log": {"enabled": True},
                "slack": {"timeout": "15s"},
                # As the waits of QUICK_RETRY, a thirtieth: one object's retries alone must not open a breaker.
                "circuitBreaker": {"window": "300ms", "openFor": "1s"},
                "credentials": {"dir": str(self.credentials)},
                **further.get("delivery", {}),
            },
            **({"datastorage": self.datastorage.config} if self.datastorage else {}),
            **{key: value for key, value in further.items() if key not in ("controller", "delivery")},
        }

    def write_routing(self, default: str = "all") -> None:
        """Write the routing file; `default` is the receiver of what nothing matches."""
        routes = [{"match": {"to": name}, "receiver": name} for name in CHANNELS]
        receivers = [{"name": name, **channels} for name, channels in CHANNELS.items()]
        whole = {"route": {"receiver": default, "routes": routes}, "receivers": receivers}
        self.replace_routing(yaml.safe_dump(whole, sort_keys=False))

    def replace_routing(self, text: str) -> None:
        """Put another routing file in place, in one step as a mounted ConfigMap is swapped."""
        replace_file(self.routing, text)

    def create(self, name: str, to: str = "all", **spec: Any) -> dict[str, Any]:
        """Create a NotificationRequest; `spec` overrides its fields."""
        return self.control_plane.api.create(notification(self.namespace, name, to, **spec))

    @classmethod
    def manifest(cls, namespace: str, name: str, /) -> dict[str, Any]:
        """A NotificationRequest."""
        return notification(namespace, name)

    def create_other(self, name: str, /) -> dict[str, Any]:
        """Create one that goes to the console alone."""
        return self.create(name, "console")

    def is_other(self, name: str) -> bool:
        """Whether one attempt was recorded, on the console."""
        return [attempt["channel"] for attempt in self.status(name)["deliveryAttempts"]] == ["console"]

    def create_waiting(self, name: str) -> dict[str, Any]:
        """Create one that Slack refuses once, and that is tried again in five minutes."""
        self.receiver.script(503)
        return self.create(name, "slack", retryPolicy=LONG_WAIT)

    def waits(self, name: str) -> bool:
        """Whether Slack has refused it."""
        return self.status(name).get("totalAttempts") == 1

    def prolong(self) -> None:
        """Let Slack refuse each once: Pending, Sending, Retrying, Sent."""
        refused: set[str] = set()

        def refuse_once(request: Received) -> int:
            name = slack_subject(request)
            if name in refused:
                return 200
            refused.add(name)
            return 503

        self.receiver.default = refuse_once

    def slow(self, seconds: float) -> None:
        """Let Slack take so long for an answer."""
        self.receiver.default = Answer(delay=seconds)

    def begun(self) -> list[float]:
        """When Slack was called."""
        return [request.monotonic for request in self.receiver.requests]

    def files(self, name: str) -> list[Path]:
        """The files that the file channel wrote for the notification."""
        return sorted(self.output.glob(f"notification-{name}-????????-??????.??????.json"))

    def slack_messages(self, subject: str) -> list[dict[str, Any]]:
        """The Slack payloads that were accepted and have this subject in their header."""
        return [
            message.json
            for message in self.receiver.to("/slack")
            if 200 <= message.answer.status < 300 and slack_subject(message) == subject
        ]

    def console_messages(self, subject: str) -> list[str]:
        """What the console channel told of the notification with this subject, over all replicas and starts."""
        started = [deployment.process for deployment in self.deployments if deployment.process.starts]
        told = (str(record.get("msg")) for process in started for record in process.records())
        return [text for text in told if text.startswith("[") and f"] {subject}\n" in text]

    def slack_key(self, name: str) -> str:
        """The key of the notification's Slack channel, as its attempts name it; empty before the first."""
        keys = [attempt["channel"] for attempt in self.status(name).get("deliveryAttempts") or []]
        return next((key for key in keys if key.startswith("slack:")), "")

    def effects(self, name: str) -> list[tuple[str, int]]:
        """The deliveries that took place, repetitions included, as (channel, attempt that is recorded as successful).

        The subject must be the object's name.
        """
        succeeded = {
            attempt["channel"]: attempt["attempt"]
            for attempt in self.status(name).get("deliveryAttempts") or []
            if attempt["status"] == "success"
        }
        found = {
            self.slack_key(name): len(self.slack_messages(name)),
            "console": len(self.console_messages(name)),
            "file": len(self.files(name)),
        }
        return [(key, succeeded.get(key, 0)) for key, number in found.items() for _ in range(number)]

    def told_unknown(self, name: str) -> set[tuple[str, int]]:
        """The attempts, as (channel, number), whose outcome Events told as unknown."""
        told = (UNKNOWN.match(event["message"]) for event in self.events(name, "DeliveryOutcomeUnknown"))
        return {(match["channel"], int(match["number"])) for match in told if match}


def slack_subject(request: Received) -> str:
    """The subject in the header of a Slack message, behind the priority's sign."""
    return str(request.json["blocks"][0]["text"]["text"]).partition(" ")[2]


UNKNOWN = re.compile(r"Attempt (?P<number>\d+) on channel (?P<channel>\S+) was announced and has no result")
"""How an Event tells of an attempt whose outcome is unknown."""


def notification(namespace: str, name: str, to: str = "all", **spec: Any) -> dict[str, Any]:
    """The manifest of a NotificationRequest whose subject is its name, unless `spec` says otherwise."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "type": "Simple",
            "priority": "Medium",
            "subject": name,
            "body": "The pod **checkout-7d9f** is crash-looping.",
            "retryPolicy": QUICK_RETRY,
            "extensions": {"to": to},
            **spec,
        },
    }

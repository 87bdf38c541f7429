"""Notifications: delivered at once, after retries, in part, and never accepted.

Each goes to Slack, console and file; a receiver stands in Slack's place and answers as the cases say. Deliveries are
counted where they arrive: at the receiver, in the output folder, in the operator's log.

A pass that attempts something is one status write in atomic mode; in sequential mode it is one per attempt and one for
phase and conditions.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from scenarios.installed import InstalledNotificationSite
from scenarios.notification import NotificationSite

from demo.cases import MODES, Case
from demo.chapter import Chapter, Show
from demo.screen import Cell, Screen, paragraph
from kubernaut_testing import Answer, WebhookReceiver
from kubernaut_testing.receivers import Received

__all__ = ["Notice", "Notifications"]

CHANNELS = ("slack", "console", "file")
"""The channels of every sample."""

_BODIES = {200: "ok", 410: "channel_is_archived", 503: "service_unavailable"}


@dataclass(frozen=True)
class Notice(Case):
    """A notification. `slack` are the codes that Slack answers, in order; the last is repeated; 2xx is delivered."""

    slack: tuple[int, ...] = ()

    @property
    def attempts(self) -> int:
        """Delivery attempts that its status must show."""
        return len(self.slack) + len(CHANNELS) - 1


@dataclass(frozen=True)
class Deliveries:
    """What arrived of one notification: Slack's answers in order, records on the console, files."""

    slack: tuple[int, ...]
    console: int
    file: int


class Notifications(Chapter[NotificationSite]):
    """The chapter of the Notification service."""

    service, operator, noun, short = "notification", NotificationSite, "notification", "notif"
    title, note = "Notifications", "delivered by Notification to Slack, console and file"
    proved = "every message delivered as often as it must be, and no more"
    cases = (
        Notice("all-channels", "Sent", {"atomic": 3, "sequential": 6}, events=5, slack=(200,)),
        Notice("slack-recovers", "Sent", {"atomic": 5, "sequential": 10}, events=6, slack=(503, 503, 200)),
        Notice("slack-archived", "PartiallySent", {"atomic": 3, "sequential": 6}, events=5, slack=(410,)),
        Notice("unknown-priority", "", complaint="spec.priority"),
    )

    def prepare(self, screen: Screen, stack: ExitStack) -> None:
        """Start a receiver in Slack's place for each mode."""
        with screen.step("Slack") as done:
            self._receivers = {}
            for mode in MODES:
                folder = self.ground.folder / mode / self.service
                folder.mkdir(parents=True, exist_ok=True)
                stand_in = SlackStandIn(folder / "slack.jsonl", self)
                self._receivers[mode] = stack.enter_context(WebhookReceiver(stand_in))
            done("a local webhook receiver stands in its place")

    def site(self, mode: str, namespace: str, folder: Path) -> NotificationSite:
        """The release of the first mode brings the CRD."""
        config: dict[str, Any] = {"controller": {"statusUpdateMode": mode}}
        receiver = self._receivers[mode]
        if self.ground.kubelet is None:
            return NotificationSite(self.ground.cluster, namespace, folder, receiver, config=config)
        return InstalledNotificationSite(
            self.ground.kubelet, namespace, folder, receiver=receiver, config=config, crds=mode == MODES[0]
        )

    def play(self, screen: Screen, show: Show) -> None:
        """Show them, then what arrived where, and what the API server said of the one that it rejected."""
        show(self.cases)
        screen.say()
        self._print_deliveries(screen)
        for case in (case for case in self.cases if not case.accepted):
            rejection = self.rejections.get((case.name, MODES[0]))
            if rejection is not None:
                screen.say()
                screen.say(f"  {case.name} was rejected by the API server, and no operator saw it:")
                for line in paragraph(rejection, "    "):
                    screen.say(screen.paint(line, "yellow"))

    def _print_deliveries(self, screen: Screen) -> None:
        """Counted where they arrive; the modes apart only where they differ."""
        rows: list[list[Cell]] = [["arrived", "Slack", "console", "file"]]
        for case in (case for case in self.cases if case.accepted):
            seen = {mode: self.deliveries(case, mode) for mode in MODES}
            differ = len(set(seen.values())) > 1
            for mode in MODES if differ else MODES[:1]:
                rows.append([f"{case.name} ({mode})" if differ else case.name, *_arrived(seen[mode])])  # noqa: PERF401 - reads better
        for line in screen.table(rows):
            screen.say(line)

    def subject(self, case: Case) -> str:
        """The subject, by which what arrived is recognised."""
        return str(self.manifest(case)["spec"]["subject"])

    def deliveries(self, case: Case, mode: str) -> Deliveries:
        """What arrived of a case."""
        site, subject = self.sites[mode], self.subject(case)
        arrived = [each for each in site.receiver.requests if _title(each).endswith(subject)]
        answers = tuple(each.answer.status for each in arrived)
        return Deliveries(answers, len(site.console_messages(subject)), len(site.files(case.name)))

    def unlike(self, case: Case, mode: str) -> Iterator[str]:
        """Attempts and deliveries."""
        assert isinstance(case, Notice)
        attempts = self.sites[mode].status(case.name).get("totalAttempts")
        if attempts != case.attempts:
            yield f"its status shows {attempts} attempts instead of {case.attempts}"
        want, have = Deliveries(case.slack, 1, 1), self.deliveries(case, mode)
        for field in fields(Deliveries):
            wanted, found = getattr(want, field.name), getattr(have, field.name)
            if wanted != found:
                yield f"{field.name} saw {_shown(found)} instead of {_shown(wanted)}"

    def unlike_rejected(self, case: Case, mode: str) -> Iterator[str]:
        """Nothing may arrive."""
        if self.deliveries(case, mode) != Deliveries((), 0, 0):
            yield "it was delivered"

    def notes(self) -> list[str]:
        """What recording the first deliveries costs."""
        case, ledger = self.cases[0], self.ground.ledger
        if ledger is None:
            return []
        commits = []
        for mode in MODES:
            cut = ledger.per_transition(self.sites[mode].ref(case.name))
            first = next((each for each in cut if each.from_phase == "Sending"), None)
            commits.append(sum(1 for entry in first.entries if entry.action == "patch/status") if first else 0)
        one, other = commits
        saved = f": {100 * (other - one) / other:.0f} % fewer" if other else ""
        return [
            f"Recording a delivery to {len(CHANNELS)} channels ({case.name}, Sending to {case.phase}) took "
            f"{one} write instead of {other}{saved}."
        ]

    def look_around(self) -> tuple[list[str], list[tuple[str, Path]]]:
        """One of them whole, and what was delivered."""
        site = self.sites[MODES[0]]
        commands, _ = super().look_around()
        commands.append(f"describe {self.short} -n {site.namespace} slack-recovers")
        slack = self.ground.folder / MODES[0] / self.service / "slack.jsonl"
        return commands, [("Slack messages", slack), ("delivered files", site.output)]


class SlackStandIn:
    """Answers as the cases say and writes every request to a file, one JSON object a line."""

    def __init__(self, file: Path, chapter: Notifications) -> None:
        self._file = file
        self._answers = {chapter.subject(case): case.slack for case in chapter.cases if case.slack}
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> Answer:
        """The answer to one request; anything that is no sample's message is welcome."""
        title = _title(received)
        answers = next((codes for subject, codes in self._answers.items() if title.endswith(subject)), (200,))
        with self._lock:
            code = answers[min(self._seen[title], len(answers) - 1)]
            self._seen[title] += 1
            record = {"time": received.time.isoformat(), "answer": code, "message": received.json}
            with self._file.open("a", encoding="utf-8") as log:
                log.write(json.dumps(record, ensure_ascii=False) + "\n")
        return Answer(code, body=_BODIES[code])


def _title(received: Received) -> str:
    """The header of a Slack message: an emoji and the subject."""
    return str(received.json["blocks"][0]["text"]["text"])


def _arrived(deliveries: Deliveries) -> list[Cell]:
    refused = [str(code) for code in deliveries.slack if code >= 300]
    messages = len(deliveries.slack) - len(refused)
    slack = [f"refused {', '.join(refused)}"] if refused else []
    slack += [_counted(messages, "message")] if messages else []
    return [
        ", then ".join(slack) or "nothing",
        _counted(deliveries.console, "record"),
        _counted(deliveries.file, "file"),
    ]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shown(seen: int | tuple[int, ...]) -> str:
    return (", ".join(str(code) for code in seen) or "nothing") if isinstance(seen, tuple) else str(seen)

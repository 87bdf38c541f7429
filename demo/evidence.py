"""What a chapter's objects have cost, and where anything differs from what must be.

Requests are counted in the API server's audit log; of a cluster whose audit log is out of reach, in the operators' own
metrics, which know no objects, and so neither reads of others nor Events.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from demo.cases import MODES, Case
from demo.chapter import Chapter
from demo.requests import Requests
from kubernaut_testing.invariants import assert_invariants

__all__ = ["Evidence"]

_EVENTS_WITHIN = 10.0
"""Seconds that Events may come after the status, since no pass waits for them."""


class Evidence:
    """Collected once everything of a chapter has ended."""

    def __init__(self, chapter: Chapter[Any]) -> None:
        self.chapter = chapter
        self.ledger = chapter.ground.ledger
        self.accepted = [case for case in chapter.cases if case.accepted]
        if self.ledger is not None:
            deadline = time.monotonic() + _EVENTS_WITHIN
            while self._short_of_events() and time.monotonic() < deadline:
                time.sleep(0.05)
            self.ledger.settle()

    def _short_of_events(self) -> bool:
        return any(self._events(case, mode) < case.events for case in self.accepted for mode in MODES)

    def _events(self, case: Case, mode: str) -> int:
        assert self.ledger is not None
        site = self.chapter.sites[mode]
        events = self.ledger.events_about(site.ref(case.name))
        return sum(
            1 for entry in events if entry.namespace == site.namespace and entry.user_agent.startswith(self._agent)
        )

    @property
    def _agent(self) -> str:
        return f"{self.chapter.operator.program}/"

    def requests(self, case: Case, mode: str) -> Requests:
        """What the operator asked for one object, by the audit log."""
        assert self.ledger is not None
        counted = Counter[str]()
        for entry in self.ledger.requests(
            self.chapter.sites[mode].ref(case.name), user_agent=self.chapter.operator.program
        ):
            counted["conflicts" if entry.code == 409 else _kind(entry.action)] += 1
        return Requests(**counted, reads=self.chapter.reads(case, mode), events=self._events(case, mode))

    def total(self, mode: str) -> Requests:
        """What the operator asked for all objects: by the audit log, else by its own metrics."""
        if self.ledger is not None:
            return sum((self.requests(case, mode) for case in self.accepted), Requests())
        counted = Counter[str]()
        samples = self.chapter.sites[mode].deployment.samples(
            "k8s_api_calls_total", resource=self.chapter.operator.plural
        )
        for labels, value in samples:
            action = labels["verb"] + (f"/{labels['subresource']}" if labels["subresource"] else "")
            if action not in ("list", "watch"):
                counted["conflicts" if labels["code"] == "409" else _kind(action)] += int(value)
        return Requests(**counted)

    def budget(self, mode: str) -> Requests:
        """What all objects together may cost, as far as it is counted."""
        whole = sum((case.budget(mode) for case in self.accepted), Requests())
        return whole if self.ledger is not None else replace(whole, reads=0, events=0)

    def beside(self, mode: str) -> dict[str, int]:
        """The operator's requests that are for none of the samples, by what they are for."""
        assert self.ledger is not None
        operator, site = self.chapter.operator, self.chapter.sites[mode]
        entries = self.ledger.entries(
            user_agent=operator.program,
            where=lambda entry: entry.user.startswith(f"system:serviceaccount:{site.namespace}:"),
        )
        counted = Counter[str]()
        for entry in entries:
            if entry.verb in ("list", "watch"):
                counted["list and watch"] += 1
            elif entry.resource == "leases":
                counted["lease"] += 1
            elif (
                entry.resource and entry.resource != "events" and not (entry.resource == operator.plural and entry.name)
            ):
                counted[f"{entry.verb} {entry.resource}"] += 1
        reads = self.total(mode).reads
        for kind in [kind for kind in counted if kind.startswith("get ")]:
            reads -= counted.pop(kind)
        if reads:
            counted["reads that no sample explains"] = -reads
        return {kind: counted[kind] for kind in sorted(counted)}

    @cached_property
    def differences(self) -> list[str]:
        """One sentence for each thing that is not as it must be; empty means success."""
        found: list[str] = []
        for case in self.chapter.cases:
            for mode in MODES:
                told = self._of_accepted(case, mode) if case.accepted else self._of_rejected(case, mode)
                found += [f"{case.name}, {mode}: {text}" for text in told]
        for mode in MODES:
            total, budget = self.total(mode), self.budget(mode)
            if total != budget:
                found.append(f"all {self.chapter.noun}s, {mode}: {total}, instead of {budget}")
        return found

    def _of_accepted(self, case: Case, mode: str) -> Iterator[str]:
        chapter = self.chapter
        if (case.name, mode) in chapter.rejections:
            yield f"the API server rejected it: {chapter.rejections[case.name, mode]}"
            return
        site = chapter.sites[mode]
        phase = site.status(case.name).get("phase")
        if phase != case.phase:
            log = site.deployment.process.log
            yield f"its phase is {phase or 'not set'} instead of {case.phase}; the operator's log: {log}"
        yield from chapter.unlike(case, mode)
        if self.ledger is None:
            return
        asked, budget = self.requests(case, mode), case.budget(mode)
        if asked != budget:
            yield f"{asked}, instead of {budget}"
        if mode == MODES[0]:
            try:
                assert_invariants(self.ledger, site.ref(case.name), chapter.operator.contract)
            except AssertionError as error:
                yield f"an invariant is broken: {error}"

    def _of_rejected(self, case: Case, mode: str) -> Iterator[str]:
        rejection = self.chapter.rejections.get((case.name, mode))
        if rejection is None:
            yield "the API server accepted it"
        elif case.complaint not in rejection:
            yield f"the API server's message does not name {case.complaint}: {rejection}"
        yield from self.chapter.unlike_rejected(case, mode)


def _kind(action: str) -> str:
    return {"patch/status": "writes", "get": "gets"}.get(action, "others")

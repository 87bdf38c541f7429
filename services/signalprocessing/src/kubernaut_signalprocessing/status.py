"""The one writer of a SignalProcessing's status: callback form (DD-PERF-001).

    update = await status.commit(sp, status.classified(sp, found))

A `Step` is what a pass wants to change, prepared before the write: data and times are in it, so it says the same each
time it runs. It holds for one phase, the one that the pass saw, and changes nothing in an object that is in another:
an old watch event cannot take an object back, and an end that somebody else wrote stays. Conditions are made from those
of the object that the write lands on, so those of other writers survive.

A step is one commit. In sequential mode each of its changes is a write of its own, as before the standard; the phase
comes last, so that a pass which is cut off in between is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from kubernaut_api import SIGNAL_PROCESSING, BusinessClassification, KubernetesContext, SignalProcessing
from kubernaut_api.signalprocessing import SignalProcessingStatus
from kubernaut_status import Commit, ConditionTemplate, StatusManager

from . import conditions
from .classification.policy import Classification
from .conditions import OWNED_CONDITIONS, conditions_for
from .failure import clear_failures, record_attempt, record_end
from .phases import CATEGORIZING, CLASSIFYING, COMPLETED, ENRICHING, FAILED, PENDING, TERMINAL

Change = Callable[[SignalProcessing], None]
Update = Commit[SignalProcessing]


class Step:
    """Changes to an object in phase `made_for`, after which it is in `phase`; the last of them enters it."""

    def __init__(self, made_for: str, phase: str, changes: Sequence[Change]) -> None:
        self.made_for = made_for
        self.phase = phase
        self._changes = changes
        self._made: dict[str, Any] | None = None

    @property
    def mutations(self) -> list[Change]:
        """The changes, each of which leaves an object in another phase alone."""
        return [self._guarded(change) for change in self._changes]

    def landed(self, sp: SignalProcessing) -> bool:
        """Whether `sp` is what this step made, all of it, beside conditions of other writers."""
        return self._made is not None and sp.status.phase == self.phase and _evidence(sp) == self._made

    def _guarded(self, change: Change) -> Change:
        def mutate(fresh: SignalProcessing) -> None:
            if fresh.status.phase == self.made_for:
                change(fresh)
                self._made = _evidence(fresh)

        return mutate


class StatusWriter:
    """Prepares and writes the status of SignalProcessings through `manager`; `now` is the clock of its times."""

    resource = SIGNAL_PROCESSING

    def __init__(self, manager: StatusManager, now: Callable[[], datetime]) -> None:
        self._manager = manager
        self._now = now

    async def commit(self, sp: SignalProcessing, step: Step) -> Update:
        """Write `step`; errors are those of `StatusManager.atomic_status_update`.

        If the object has left the phase that the step was made for, nothing is written, and the object in the result
        is in its present phase.
        """
        return await self._manager.atomic_status_update(sp, *step.mutations, landed=step.landed)

    def time(self, sp: SignalProcessing) -> datetime:
        """Return the time for whatever happens to `sp` now: whole seconds, and not before what it has seen already."""
        seen = (self._now().replace(microsecond=0), sp.metadata.creation_timestamp, sp.status.start_time)
        return max(moment for moment in seen if moment is not None)

    def accepted(self, sp: SignalProcessing) -> Step:
        """(none) -> Pending."""
        at = self.time(sp)

        def start(fresh: SignalProcessing) -> None:
            fresh.status.start_time = fresh.status.start_time or at

        return self._step(sp, PENDING, at, start)

    def begun(self, sp: SignalProcessing) -> Step:
        """Pending -> Enriching."""
        return self._step(sp, ENRICHING, self.time(sp))

    def enriched(self, sp: SignalProcessing, context: KubernetesContext) -> Step:
        """Enriching -> Classifying, with what the cluster knows."""
        at = self.time(sp)

        def know(fresh: SignalProcessing) -> None:
            fresh.status.kubernetes_context = context

        found = conditions.enriched(sp.spec.signal.target_resource, context)
        return self._step(sp, CLASSIFYING, at, know, _conditions(ENRICHING, found, at))

    def classified(self, sp: SignalProcessing, found: Classification) -> Step:
        """Classifying -> Categorizing, with environment, priority and the signal's classes."""
        at = self.time(sp)

        def environment(fresh: SignalProcessing) -> None:
            fresh.status.environment_classification = found.environment

        def priority(fresh: SignalProcessing) -> None:
            fresh.status.priority_assignment = found.priority

        def signal(fresh: SignalProcessing) -> None:
            fresh.status.signal_classification = found.signal

        findings = conditions.classified(found.environment, found.priority, found.signal)
        return self._step(sp, CATEGORIZING, at, environment, priority, signal, _conditions(CLASSIFYING, findings, at))

    def completed(self, sp: SignalProcessing, business: BusinessClassification) -> Step:
        """Categorizing -> Completed, with the business behind the target."""
        at, status = self.time(sp), sp.status

        def know(fresh: SignalProcessing) -> None:
            fresh.status.business_classification = business

        seconds = (self._now() - status.start_time).total_seconds() if status.start_time is not None else 0.0
        found = conditions.completed(business, status.environment_classification, status.priority_assignment, seconds)
        return self._step(sp, COMPLETED, at, know, _conditions(CATEGORIZING, found, at))

    def failed(
        self, sp: SignalProcessing, text: str, found: Iterable[ConditionTemplate], *, failures: int | None = None
    ) -> Step:
        """Any phase -> Failed because of `text`; `failures` is the number of the attempt whose failure it is."""
        at, findings = self.time(sp), tuple(found)

        def reason(fresh: SignalProcessing) -> None:
            if failures is None:
                record_end(fresh.status, text)
            else:
                record_attempt(fresh.status, text, failures, at)

        return self._step(sp, FAILED, at, reason, _conditions(sp.status.phase, findings, at))

    def attempted(
        self, sp: SignalProcessing, error: str, failures: int, found: Iterable[ConditionTemplate] = ()
    ) -> Step:
        """The phase stays: attempt number `failures` has failed and will be made again."""
        phase, at, findings = sp.status.phase, self.time(sp), tuple(found)

        def count(fresh: SignalProcessing) -> None:
            record_attempt(fresh.status, error, failures, at)

        changes = [count, _conditions(phase, findings, at)] if findings else [count]
        return Step(phase, phase, changes)

    def _step(self, sp: SignalProcessing, phase: str, at: datetime, *before: Change) -> Step:
        def enter(fresh: SignalProcessing) -> None:
            status = fresh.status
            status.phase = phase
            if phase != FAILED:
                clear_failures(status)
            if phase in TERMINAL:
                status.completion_time = at
                status.observed_generation = fresh.metadata.generation
            _conditions(phase, (), at)(fresh)

        return Step(sp.status.phase, phase, [*before, enter])


def _conditions(phase: str, found: tuple[ConditionTemplate, ...], at: datetime) -> Change:
    def change(fresh: SignalProcessing) -> None:
        fresh.status.conditions = conditions_for(
            fresh.status.conditions, phase, found, generation=fresh.metadata.generation, now=at
        )

    return change


def _evidence(sp: SignalProcessing) -> dict[str, Any]:
    """Return the status as only this controller writes it."""
    status: SignalProcessingStatus = sp.status
    return {
        **status.to_wire(),
        "conditions": [c.to_wire() for c in status.conditions if c.type in OWNED_CONDITIONS],
    }

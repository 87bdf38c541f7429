"""The phase machine of a SignalProcessing.

    (none) ──> Pending ──> Enriching ──> Classifying ──> Categorizing ──> Completed
                  └────────────┴──────────────┴───────────────┴─────────> Failed

One pass does the work of one phase and commits what it found with the next phase: one write. Nothing else leaves a
trace in the cluster, so a pass that is killed is simply made again.

Work that fails leaves the object in its phase: the failure is recorded, and the next attempt waits by policy. Its own
write does not wake it, and whoever else wakes it meanwhile is sent away without a write. What cannot pass by itself
ends in Failed, at once or after some attempts; so does an object whose deadline (`timesOutAt`) has passed, at that
time, whatever it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from kubernaut_api import KubernetesContext, SignalProcessing
from kubernaut_api.signalprocessing import Signal
from kubernaut_runtime import DONE, Clock, Memories, Objects, Result
from kubernaut_status import ObjectKey

from . import conditions
from .classification.business import classify_business
from .classification.policy import Classifier, PolicyBusyError
from .commits import Commits
from .config import SignalProcessingConfig
from .enrichment.errors import EnrichmentError, TransientReadError
from .enrichment.labels import custom_labels
from .failure import RuleFailure, bounded, failures_of, timeout_text
from .memory import Memory
from .phases import CATEGORIZING, CLASSIFYING, ENRICHING, PENDING
from .reporting import ENRICHMENT_FAILED, POLICY_FAILED, TIMED_OUT, Reporter
from .status import StatusWriter


class Enriches(Protocol):
    """What reads targets (`enrichment.Enricher`)."""

    async def enrich(self, signal: Signal) -> KubernetesContext:
        """Return what is known of the signal's target. Raises `EnrichmentError`."""
        ...


class SignalProcessingReconciler:
    """Brings one SignalProcessing one step further; may be killed at any instruction.

    `config` says how many attempts there are; `random` spreads the waits, 0 makes them exact.
    """

    def __init__(
        self,
        objects: Objects,
        status: StatusWriter,
        enricher: Enriches,
        classifier: Classifier,
        reporter: Reporter,
        clock: Clock,
        config: SignalProcessingConfig,
        *,
        random: Callable[[], float],
    ) -> None:
        self._objects = objects
        self._status = status
        self._enricher = enricher
        self._classifier = classifier
        self._report = reporter
        self._clock = clock
        self._config = config
        self._memories = Memories(Memory, reporter.forget)
        self._commits = Commits(status, reporter, clock, self._memories, random)
        self._steps = {
            "": self._accept,
            PENDING: self._begin,
            ENRICHING: self._enrich,
            CLASSIFYING: self._classify,
            CATEGORIZING: self._categorize,
        }

    async def reconcile(self, key: ObjectKey) -> Result:
        """Make one pass over the object at `key`."""
        stored = self._objects.get(key)
        if stored is None:
            self._memories.forget(key)
            return DONE
        sp = SignalProcessing.model_validate(stored)
        self._report.seen(sp)
        memory = self._memories.of(sp.metadata)
        memory.news.look(sp)
        late = memory.seconds_to_deadline(sp, self._clock) <= 0.0
        step = self._steps.get(sp.status.phase)
        if step is None or sp.metadata.deletion_timestamp is not None:
            return DONE
        if sp.status.phase and late:
            text = timeout_text(sp, self._clock.now())
            return await self._commits.fail(
                sp, text, conditions.timed_out(sp.status.phase, text), TIMED_OUT, "deadline"
            )
        if left := memory.seconds_left(sp, self._clock):
            return self._commits.due_in(left, sp)
        return await step(sp)

    async def _accept(self, sp: SignalProcessing) -> Result:
        return await self._commits.commit(sp, self._status.accepted(sp), self._report.accepted)

    async def _begin(self, sp: SignalProcessing) -> Result:
        self._report.working(sp)
        began = self._clock.monotonic()
        return await self._commits.commit(
            sp, self._status.begun(sp), lambda stored: self._report.begun(stored, self._since(began))
        )

    async def _enrich(self, sp: SignalProcessing) -> Result:
        self._report.working(sp)
        self._report.unsupported_target(sp)
        began, signal = self._clock.monotonic(), sp.spec.signal
        try:
            context = await self._enricher.enrich(signal)
        except EnrichmentError as error:
            return await self._not_enriched(sp, error)
        try:
            context.custom_labels = await self._classifier.custom_labels(signal, context)
        except PolicyBusyError as error:
            text, failures = bounded(str(error)), failures_of(sp.status) + 1
            if not _lasts(sp, text, failures, self._config.classifier.max_attempts):
                return await self._commits.retry(sp, text, failures, POLICY_FAILED)
            context.custom_labels = custom_labels(context, None)
        tell = partial(self._report.enriched, before=sp.status.phase, seconds=self._since(began))
        return await self._commits.commit(sp, self._status.enriched(sp, context), tell)

    async def _not_enriched(self, sp: SignalProcessing, error: EnrichmentError) -> Result:
        text, failures, at_most = bounded(str(error)), failures_of(sp.status) + 1, self._config.enrichment.max_attempts
        if error.permanent or (not isinstance(error, TransientReadError) and _lasts(sp, text, failures, at_most)):
            found = conditions.ended(ENRICHING, text)
            return await self._commits.fail(sp, text, found, ENRICHMENT_FAILED, error.reason, failures=failures)
        asked = error.retry_after if isinstance(error, TransientReadError) else None
        found = conditions.enrichment_failed(text)
        return await self._commits.retry(sp, text, failures, ENRICHMENT_FAILED, found, at_least=asked or 0.0)

    async def _classify(self, sp: SignalProcessing) -> Result:
        self._report.working(sp)
        began = self._clock.monotonic()
        try:
            found = await self._classifier.classify(sp, self._status.time(sp))
        except PolicyBusyError as error:
            failures = failures_of(sp.status) + 1
            if failures < self._config.classifier.max_attempts:
                return await self._commits.retry(sp, str(error), failures, POLICY_FAILED)
            failure = RuleFailure("policy", str(error))
            return await self._not_classified(sp, failure, failures)
        if isinstance(found, RuleFailure):
            return await self._not_classified(sp, found)
        tell = partial(self._report.classified, before=sp.status.phase, seconds=self._since(began))
        return await self._commits.commit(sp, self._status.classified(sp, found), tell)

    async def _not_classified(self, sp: SignalProcessing, failure: RuleFailure, failures: int | None = None) -> Result:
        found = conditions.classification_failed(failure)
        return await self._commits.fail(sp, failure.text, found, POLICY_FAILED, failure.rule, failures=failures)

    async def _categorize(self, sp: SignalProcessing) -> Result:
        self._report.working(sp)
        began = self._clock.monotonic()
        business = classify_business(sp.status.kubernetes_context, sp.status.environment_classification)
        tell = partial(self._report.completed, before=sp.status.phase, seconds=self._since(began))
        return await self._commits.commit(sp, self._status.completed(sp, business), tell)

    def _since(self, began: float) -> float:
        return self._clock.monotonic() - began


def _lasts(sp: SignalProcessing, text: str, failures: int, at_most: int) -> bool:
    """Whether what failed in Enriching now, for the `failures`-th time in a row, is to be given up.

    A busy API server counts into the row too, so the failure before must have been the same one.
    """
    before = sp.status.failure_info
    same = failures == 1 or (before is not None and before.error == text)
    return same and failures >= at_most

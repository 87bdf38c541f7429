"""The one writer of a NotificationRequest's status: fixed-signature form (DD-PERF-001).

A pass builds its conditions in memory, before it writes. They are passed in, and put onto whatever object the
write finally lands on, so they survive a refetch; conditions of other writers survive them.

`transition_to_*` are what the reconciler calls. Each is one commit: attempts, counters, phase, times and
conditions together. In sequential mode the same call makes one write per attempt (`record_attempt`) and one for
the rest (`update_phase`), as it was before the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from kubernaut_api import NOTIFICATION_REQUEST, Condition, DeliveryAttempt, NotificationRequest
from kubernaut_status import Commit, StatusManager, merge_conditions

from .conditions import OWNED_CONDITIONS
from .delivery.plan import Decision
from .delivery.result import Attempt, counters
from .phases import FAILED, PARTIALLY_SENT, PENDING, RETRYING, SENDING, SENT, TERMINAL

ATTEMPT_IDENTITY = {"deliveryAttempts": ("channel", "attempt")}
"""What makes an attempt one attempt; proves after a lost answer whether its write landed."""

Change = Callable[[NotificationRequest], None]
Update = Commit[NotificationRequest]
Attempts = Sequence[Attempt]
Conditions = Sequence[Condition]


class Why(NamedTuple):
    """`status.reason` and `status.message` of a phase change."""

    reason: str
    message: str


class StatusWriter:
    """Writes the status of NotificationRequests through `manager`; `now` is the clock of its timestamps."""

    resource = NOTIFICATION_REQUEST

    def __init__(self, manager: StatusManager, now: Callable[[], datetime]) -> None:
        self._manager = manager
        self._now = now

    async def transition_to_pending(self, nr: NotificationRequest, conditions: Conditions) -> Update:
        """Accept the notification."""
        return await self.atomic_status_update(
            nr, PENDING, "Initialized", "Notification request received", (), conditions
        )

    async def transition_to_sending(self, nr: NotificationRequest, conditions: Conditions) -> Update:
        """Announce the first attempts; `conditions` carry which and when."""
        return await self.atomic_status_update(
            nr, SENDING, "ProcessingDeliveries", "Processing delivery channels", (), conditions
        )

    async def transition_to_sent(
        self, nr: NotificationRequest, why: Why, attempts: Attempts, conditions: Conditions
    ) -> Update:
        """End: every channel has the message."""
        return await self.atomic_status_update(nr, SENT, *why, attempts, conditions)

    async def transition_to_retrying(
        self, nr: NotificationRequest, why: Why, attempts: Attempts, conditions: Conditions
    ) -> Update:
        """Some channel has the message and another one is tried again."""
        return await self.atomic_status_update(nr, RETRYING, *why, attempts, conditions)

    async def transition_to_partially_sent(
        self, nr: NotificationRequest, why: Why, attempts: Attempts, conditions: Conditions
    ) -> Update:
        """End: some channels have the message, the others never will."""
        return await self.atomic_status_update(nr, PARTIALLY_SENT, *why, attempts, conditions)

    async def transition_to_failed(
        self, nr: NotificationRequest, why: Why, attempts: Attempts, conditions: Conditions
    ) -> Update:
        """End: no channel has the message."""
        return await self.atomic_status_update(nr, FAILED, *why, attempts, conditions)

    async def conclude(
        self, nr: NotificationRequest, decision: Decision, attempts: Attempts, conditions: Conditions
    ) -> Update:
        """Commit what a pass found out: its `attempts`, and the phase that was decided, in the phase's own form."""
        if not decision.changed:
            return await self.record(nr, attempts, conditions)
        transition = {
            SENT: self.transition_to_sent,
            RETRYING: self.transition_to_retrying,
            PARTIALLY_SENT: self.transition_to_partially_sent,
            FAILED: self.transition_to_failed,
        }[decision.phase]
        return await transition(nr, Why(decision.reason, decision.message), attempts, conditions)

    async def record(self, nr: NotificationRequest, attempts: Attempts, conditions: Conditions) -> Update:
        """Record attempts, or new announcements, and stay in the phase."""
        status = nr.status
        return await self.atomic_status_update(nr, status.phase, status.reason, status.message, attempts, conditions)

    async def atomic_status_update(
        self,
        nr: NotificationRequest,
        phase: str,
        reason: str,
        message: str,
        attempts: Attempts,
        conditions: Conditions,
    ) -> Update:
        """Commit everything that a pass found out in one write.

        `attempts` are appended unless they are recorded already (same channel and number); counters follow from
        the array; `reason` and `message` are those of a phase change and stay when the phase does; `conditions`
        is the whole list as the pass wants it. Errors are those of `StatusManager.atomic_status_update`.
        """
        changes = [self.record_attempt(attempt) for attempt in attempts]
        changes.append(self.update_phase(nr, phase, reason, message, conditions))
        return await self._manager.atomic_status_update(nr, *changes)

    def record_attempt(self, attempt: Attempt) -> Change:
        """The change that appends one attempt and counts again."""
        entry = DeliveryAttempt.model_validate(attempt.to_wire())

        def change(fresh: NotificationRequest) -> None:
            recorded = fresh.status.delivery_attempts
            if not any((old.channel, old.attempt) == (entry.channel, entry.attempt) for old in recorded):
                earlier = [old.timestamp for old in recorded if old.channel == entry.channel]
                at = _not_before(entry.timestamp, fresh, *earlier)
                fresh.status.delivery_attempts = [*recorded, entry.model_copy(update={"timestamp": at})]
            total, successful, failed = counters(fresh.status.delivery_attempts)
            fresh.status.total_attempts = total
            fresh.status.successful_deliveries = successful
            fresh.status.failed_deliveries = failed
            fresh.status.observed_generation = fresh.metadata.generation

        return change

    def update_phase(
        self, nr: NotificationRequest, phase: str, reason: str, message: str, conditions: Conditions
    ) -> Change:
        """The change that sets phase, times and conditions."""
        now = self._now().replace(microsecond=0)
        before = [condition.to_wire() for condition in nr.status.conditions]
        after = [condition.to_wire() for condition in conditions]

        def change(fresh: NotificationRequest) -> None:
            status = fresh.status
            if status.phase != phase:
                at = _not_before(now, fresh, *(attempt.timestamp for attempt in status.delivery_attempts))
                status.phase, status.reason, status.message = phase, reason, message
                if phase == PENDING:
                    status.queued_at = status.queued_at or at
                if phase == SENDING:
                    status.processing_started_at = status.processing_started_at or at
                if phase in TERMINAL:
                    status.completion_time = at
            latest = [condition.to_wire() for condition in status.conditions]
            merged = merge_conditions(before, after, latest, owned=OWNED_CONDITIONS)
            status.conditions = [Condition.model_validate(condition) for condition in merged]
            status.observed_generation = fresh.metadata.generation

        return change


def _not_before(time: datetime | None, nr: NotificationRequest, *others: datetime | None) -> datetime | None:
    """`time`, but not before what the object has seen already: a wall clock may be set back, or run behind."""
    seen = (time, nr.metadata.creation_timestamp, nr.status.queued_at, nr.status.processing_started_at, *others)
    return max((moment for moment in seen if moment is not None), default=None)

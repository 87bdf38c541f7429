"""What to attempt, when, and what follows from it. Pure: no clock, no I/O, no randomness that is not passed in.

A pass asks twice:

* `plan(...)` before it acts: the state of every channel and what is due now;
* `decide(plan, phase, results)` after it acted: the phase that follows, and the next announcements. The results of this
  very pass count, so an end is seen in the pass that brings it about.

Waits (BR-NOT-052): a channel's next attempt is due at the end of its last one plus the policy's wait, or the
receiver's Retry-After if that is longer; never earlier than the policy says, at most a tenth later. The due time is
computed once, announced in the status, and read back from there; that is why it survives a restart to the microsecond,
although a recorded attempt's own time is cut to the second.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kubernaut_api import DeliveryAttempt
from kubernaut_api import RetryPolicy as RetryPolicySpec
from kubernaut_notification.delivery.announcement import Announced, with_room
from kubernaut_notification.delivery.result import SUCCESS, Attempt, is_permanent
from kubernaut_notification.phases import FAILED, PARTIALLY_SENT, RETRYING, SENT
from kubernaut_runtime.backoff import Backoff

JITTER = 0.1
"""Largest part that is added to a wait at random."""

RETRY_AFTER_CAP = 3600.0
"""Longest Retry-After that is honoured, in seconds: the largest wait that any retry policy can ask for."""

_CUT_SECOND = timedelta(seconds=1)

REASON_SENT = "AllDeliveriesSucceeded"
REASON_RETRYING = "PartialFailureRetrying"
REASON_PARTIALLY_SENT = "PartialDeliverySuccess"
REASON_ALL_FAILED = "AllDeliveriesFailed"
REASON_EXHAUSTED = "MaxRetriesExhausted"
REASON_NO_CHANNELS = "NoChannelsResolved"
MESSAGE_FAILED = "All delivery attempts failed or exhausted retries"


def go_duration(seconds: float) -> str:
    """Return seconds as Go prints a duration, to the millisecond: `30s`, `1m0s`, `4m30s`, `1h0m0.25s`, `250ms`."""
    millis = round(seconds * 1000)
    if millis <= 0:
        return "0s"
    if millis < 1000:
        return f"{millis}ms"
    whole, part = divmod(millis, 1000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest}" + (f".{part:03d}".rstrip("0") if part else "") + "s"
    return (f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else "") + text


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retry settings of one notification; times in seconds. The defaults hold when the spec has no policy."""

    max_attempts: int = 5
    initial: float = 30.0
    multiplier: float = 2.0
    maximum: float = 480.0

    @classmethod
    def of(cls, spec: RetryPolicySpec | None) -> RetryPolicy:
        """Return the policy of a spec block; fields that are missing in it have their defaults."""
        if spec is None:
            return cls()
        default = cls()
        return cls(
            max_attempts=spec.max_attempts or default.max_attempts,
            initial=spec.initial_backoff_seconds or default.initial,
            multiplier=spec.backoff_multiplier or default.multiplier,
            maximum=spec.max_backoff_seconds or default.maximum,
        )

    def backoff(self) -> Backoff:
        """Return the waits of this policy; an initial wait above the maximum is the maximum."""
        return Backoff(min(self.initial, self.maximum), self.maximum, max(1.0, self.multiplier), JITTER)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """Where one channel stands. `used` is the number of its last attempt, 0 if there was none.

    `due` is when attempt `used + 1` is to be made, None when there will be none. `announced` says that this very
    attempt was written down before: if the plan is the first after a restart, it may have been made already.
    """

    channel: str
    used: int = 0
    succeeded: bool = False
    permanent: bool = False
    exhausted: bool = False
    due: datetime | None = None
    announced: bool = False

    @property
    def settled(self) -> bool:
        """Whether no further attempt will be made."""
        return self.succeeded or self.permanent or self.exhausted

    def announcement(self) -> Announced | None:
        """Return the announcement of the next attempt, None if there will be none."""
        return None if self.due is None else Announced(self.channel, self.used + 1, self.due)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a pass.

    `phase` is the phase to be in; with an unchanged phase `reason` and `message` are empty, because the stored ones
    stay. `announced` is what to announce with the write, `next_due` when the next pass runs; both empty at the end.
    `backoff` are the seconds that a message about retries names: from the end of an attempt to the earliest retry.
    """

    phase: str
    changed: bool
    reason: str = ""
    message: str = ""
    announced: tuple[Announced, ...] = ()
    next_due: datetime | None = None
    backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The state of every channel of one notification, in routing order, as of `now`."""

    channels: tuple[ChannelState, ...]
    policy: RetryPolicy
    now: datetime

    @property
    def due(self) -> tuple[Announced, ...]:
        """The attempts to make now: those that are announced and whose time has come."""
        announced = {state.channel for state in self.channels if state.announced}
        return tuple(entry for entry in self.announced if entry.channel in announced and entry.due <= self.now)

    @property
    def unannounced(self) -> bool:
        """Whether some attempt is still to be announced, which must be stored before it may be made."""
        announced = {state.channel for state in self.channels if state.announced}
        return any(entry.channel not in announced for entry in self.announced)

    @property
    def next_due(self) -> datetime | None:
        """The earliest time at which any attempt is to be made, None if all channels are settled."""
        return min((entry.due for entry in self.announced), default=None)

    @property
    def announced(self) -> tuple[Announced, ...]:
        """What is to come next: one entry per channel that is not settled, as far as an announcement has room."""
        entries = (state.announcement() for state in self.channels)
        return tuple(with_room(entry for entry in entries if entry is not None))

    def moved(self, by: timedelta) -> Plan:
        """Return the plan by a wall clock that was set forward `by` meanwhile: waits stay what they are."""
        channels = (replace(state, due=state.due and state.due + by) for state in self.channels)
        return replace(self, channels=tuple(channels), now=self.now + by)

    @property
    def successes(self) -> int:
        """Number of channels that have the message."""
        return sum(state.succeeded for state in self.channels)


def plan(
    channels: Sequence[str],
    attempts: Sequence[DeliveryAttempt],
    announced: Iterable[Announced],
    policy: RetryPolicy,
    now: datetime,
) -> Plan:
    """Return the plan for `channels` (keys in routing order; repeated ones count once) as of `now`.

    `attempts` are the recorded ones, also of channels that routing no longer picks: those do not count. `announced`
    is what the status announces; entries for other channels or other attempt numbers are stale and ignored.
    """
    entries = {entry.channel: entry for entry in announced}
    waits = policy.backoff()
    states = tuple(
        _state_of(key, [a for a in attempts if a.channel == key], entries.get(key), policy, waits, now)
        for key in dict.fromkeys(channels)
    )
    return Plan(states, policy, now)


def _state_of(
    key: str,
    attempts: Sequence[DeliveryAttempt],
    entry: Announced | None,
    policy: RetryPolicy,
    waits: Backoff,
    now: datetime,
) -> ChannelState:
    used = max([len(attempts), *(attempt.attempt for attempt in attempts)])
    state = ChannelState(
        channel=key,
        used=used,
        succeeded=any(attempt.status == SUCCESS for attempt in attempts),
        permanent=any(is_permanent(attempt.error) for attempt in attempts),
        exhausted=used >= policy.max_attempts,
    )
    if state.settled:
        return state
    if entry is not None and entry.attempt == used + 1:
        return replace(state, due=entry.due, announced=True)
    return replace(state, due=_unannounced_due(attempts, used, waits, now))


def _unannounced_due(attempts: Sequence[DeliveryAttempt], used: int, waits: Backoff, now: datetime) -> datetime:
    """When the next attempt is due if nothing announces it: at once at first, else by the last recorded time."""
    ends = [attempt.timestamp for attempt in attempts if attempt.timestamp is not None]
    if not ends:
        return now
    last = max(ends)
    # A recorded time is cut to the second; the attempt may have ended up to a second later.
    return last + timedelta(seconds=waits.policy(used)) + (timedelta() if last.microsecond else _CUT_SECOND)


def decide(
    plan: Plan,
    phase: str,
    results: Iterable[Attempt] = (),
    random: Callable[[], float] = random_module.random,
    not_before: Mapping[str, datetime] | None = None,
) -> Decision:
    """Return what follows when `results` are the attempts that the pass of `plan` made and `phase` is the phase so far.

    `random` returns a number in [0, 1) and spreads the waits; a constant 0 makes them exact. `not_before` has channels
    that cannot be called earlier (an open circuit breaker): what is announced for them is not due before.
    """
    made = {result.channel: result for result in results}
    states = (_after(state, made.get(state.channel), plan, random) for state in plan.channels)
    after = replace(plan, channels=tuple(_not_before(state, not_before or {}) for state in states))
    backoff = _shortest_wait(after, made)
    target, reason, message = _judge(after, phase, backoff)
    if target == phase:
        return Decision(phase, False, announced=after.announced, next_due=after.next_due)
    return Decision(target, True, reason, message, after.announced, after.next_due, backoff)


def _after(state: ChannelState, result: Attempt | None, plan: Plan, random: Callable[[], float]) -> ChannelState:
    if result is None or result.attempt <= state.used:
        return state  # a result that is recorded already has had its effect
    used = result.attempt
    exhausted = used >= plan.policy.max_attempts
    due = None
    if not (result.succeeded or result.permanent or exhausted):
        wait = plan.policy.backoff().wait(used, random)
        due = result.ended + timedelta(seconds=max(wait, min(result.retry_after or 0.0, RETRY_AFTER_CAP)))
    return replace(
        state,
        used=used,
        succeeded=result.succeeded,
        permanent=result.permanent,
        exhausted=exhausted,
        due=due,
        announced=False,
    )


def _not_before(state: ChannelState, not_before: Mapping[str, datetime]) -> ChannelState:
    if state.due is None or state.channel not in not_before:
        return state
    return replace(state, due=max(state.due, not_before[state.channel]))


def _judge(plan: Plan, phase: str, backoff: float) -> tuple[str, str, str]:
    """Return phase, reason and message. The order of the questions is the contract."""
    total, successes = len(plan.channels), plan.successes
    if not total:
        return FAILED, REASON_NO_CHANNELS, MESSAGE_FAILED
    if successes == total:
        return SENT, REASON_SENT, f"Successfully delivered to {total} channel(s)"
    if all(state.settled for state in plan.channels):
        if successes:
            return (
                PARTIALLY_SENT,
                REASON_PARTIALLY_SENT,
                f"Delivered to {successes}/{total} channel(s), others failed",
            )
        all_permanent = all(state.permanent for state in plan.channels)
        return FAILED, REASON_ALL_FAILED if all_permanent else REASON_EXHAUSTED, MESSAGE_FAILED
    failing = any(state.used and not state.succeeded for state in plan.channels)
    if successes and failing:
        # The count includes this pass; the Go controller shows the one before it, so its first reads 0.
        text = (
            f"Delivered to {successes}/{total} channel(s), retrying failed channels with backoff {go_duration(backoff)}"
        )
        return RETRYING, REASON_RETRYING, text
    return phase, "", ""


def _shortest_wait(plan: Plan, made: Mapping[str, Attempt]) -> float:
    def wait(state: ChannelState, due: datetime) -> float:
        return (due - (made[state.channel].ended if state.channel in made else plan.now)).total_seconds()

    return max(0.0, min((wait(state, state.due) for state in plan.channels if state.due), default=0.0))

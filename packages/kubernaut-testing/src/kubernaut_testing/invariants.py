"""The invariants that hold in every run, with and without faults, checked from the ledger.

A service says what its status means in a ``Contract``; the checks are the same for all.

I1  one durable change (a transition, or recorded attempts) for each accepted status write, and the reverse:
    a write that changed nothing durable, an attempt recorded twice, rewritten or lost again is a violation.
I2  only legal phase edges, in resourceVersion order, and times that never go backwards within an object.
I3  each external effect once for each attempt, unless the attempt was told as unknown and made again under the
    same identity; each attempt that succeeded has its effect.
I4  counters are what the arrays say, in every stored version.
I5  it converges after the fault has ended: ``eventually``, in the test.
I6  at rest nothing is written: ``assert_quiet``.
I7  no life of a name is written with another life's state: each write is conditional on a resourceVersion, and a
    new life begins from an empty status and with attempts of its own time.
I8  the process went on, or restarted itself, and its memory is bounded: ``assert_survived``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kubernaut_testing.entries import ObjectLike, Version, agent_matches
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.process import OperatorProcess
from kubernaut_testing.waiting import stays

__all__ = [
    "Contract",
    "Violation",
    "assert_invariants",
    "assert_quiet",
    "assert_survived",
    "check_effects",
    "check_history",
]

StatusMap = Mapping[str, Any]
Attempt = Mapping[str, Any]


def _no_attempts(status: StatusMap) -> Sequence[Attempt]:
    return ()


def _no_counters(status: StatusMap) -> Mapping[str, int]:
    return {}


def _no_times(status: StatusMap) -> Sequence[Sequence[str]]:
    return ()


def _nothing_else(before: StatusMap, after: StatusMap) -> bool:
    return False


@dataclass(frozen=True)
class Contract:
    """What a kind's status means.

    Attributes:
        transitions: legal next phases by phase; "" is an object without one; a terminal phase has none.
        writer: user agent of the operator; versions that others wrote are not held to I1 and I7.
        phase_field: name of the phase in the status ("overallPhase" of a RemediationRequest).
        attempts: the attempts recorded in a status, in order.
        attempt_id: identity of an attempt, such as (channel, number).
        attempt_time: RFC 3339 time of an attempt, for I7; None leaves that out.
        succeeded: whether an attempt claims that its effect took place.
        claims: identities of the effects that a status stands for, of an operator whose effects follow its writes (it
            tells of each phase by an Event, say); None: those of the attempts.
        counters: the counters that a status must have, by field name, worked out from its arrays.
        timelines: RFC 3339 times (UTC) of a status; in each sequence none may be before the one that it follows.
        also_durable: further changes that deserve a write, beside phase and attempts.
    """

    transitions: Mapping[str, Collection[str]]
    writer: str
    phase_field: str = "phase"
    attempts: Callable[[StatusMap], Sequence[Attempt]] = _no_attempts
    attempt_id: Callable[[Attempt], Hashable] = lambda attempt: repr(sorted(attempt.items()))
    attempt_time: Callable[[Attempt], str] | None = None
    succeeded: Callable[[Attempt], bool] = lambda attempt: attempt.get("status") == "success"
    claims: Callable[[StatusMap], Collection[Hashable]] | None = None
    counters: Callable[[StatusMap], Mapping[str, int]] = _no_counters
    timelines: Callable[[StatusMap], Sequence[Sequence[str]]] = _no_times
    also_durable: Callable[[StatusMap, StatusMap], bool] = _nothing_else

    def claimed(self, status: StatusMap) -> dict[Hashable, bool]:
        """The effects that belong to ``status``, and whether it says of each that it took place."""
        if self.claims is not None:
            return dict.fromkeys(self.claims(status), True)
        return {self.attempt_id(attempt): self.succeeded(attempt) for attempt in self.attempts(status)}


@dataclass(frozen=True)
class Violation:
    """A broken invariant ("I1" ...) and what was seen."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


def check_history(ledger: RequestLedger, obj: ObjectLike, contract: Contract) -> list[Violation]:
    """I1, I2, I4 and I7 over everything that was stored of one object; the ledger must be settled."""
    history = ledger.history(obj)
    found: list[Violation] = []
    for life in _lives(history):
        found += _check_beginning(life[0], contract)
        for before, after in pairwise(life):
            found += _check_phase(before, after, contract)
            found += _check_attempts(before, after, contract)
            found += _check_durable(before, after, contract)
        for version in life:
            found += _check_version(version, contract)
    found += _check_requests(ledger, obj, contract, {version.resource_version: version for version in history})
    return found


def check_effects(
    status: StatusMap,
    effects: Iterable[Hashable],
    contract: Contract,
    *,
    unknown: Collection[Hashable] = (),
    lost: Collection[Hashable] = (),
) -> list[Violation]:
    """I3: effects as the receiver saw them against the attempts of the final status.

    Args:
        status: the object's last status.
        effects: identity (as ``contract.claimed``) of each effect that took place, repetitions included.
        contract: of the kind.
        unknown: identities that were told as unknown and may have taken place more than once.
        lost: identities whose effect may be missing, because it follows the write and the process was killed between.
    """
    claimed = contract.claimed(status)
    counts = Counter(effects)
    found = [
        Violation("I3", f"effect of attempt {identity} took place {number} times and was not told as unknown")
        for identity, number in counts.items()
        if number > 1 and identity not in unknown
    ]
    found += [
        Violation("I3", f"effect {identity} belongs to no recorded attempt (recorded: {sorted(map(str, claimed))})")
        for identity in counts
        if identity not in claimed
    ]
    found += [
        Violation("I3", f"attempt {identity} claims success and had no effect")
        for identity, succeeded in claimed.items()
        if succeeded and identity not in counts and identity not in lost
    ]
    return found


def assert_invariants(
    ledger: RequestLedger,
    obj: ObjectLike,
    contract: Contract,
    *,
    effects: Iterable[Hashable] | None = None,
    unknown: Collection[Hashable] = (),
    lost: Collection[Hashable] = (),
) -> None:
    """Settle and fail with every violation of one object; I3 only where ``effects`` are given."""
    ledger.settle()
    found = check_history(ledger, obj, contract)
    history = ledger.history(obj)
    if not history:
        found.append(Violation("I1", "the ledger knows no version of it: is its group in record_bodies?"))
    elif effects is not None:
        found += check_effects(history[-1].status, effects, contract, unknown=unknown, lost=lost)
    if found:
        name = obj if isinstance(obj, str) else obj["metadata"]["name"]
        raise AssertionError(f"{name}:\n" + "\n".join(f"  {violation}" for violation in found))


def assert_quiet(read: Callable[[], Iterable[Mapping[str, Any]]], *, seconds: float) -> None:
    """I6: the resourceVersions of the objects that ``read`` returns stay as they are for so many seconds."""

    def versions() -> dict[str, str]:
        metas = [obj["metadata"] for obj in read()]
        return {f"{meta.get('namespace', '')}/{meta['name']}": meta["resourceVersion"] for meta in metas}

    stays(versions, seconds=seconds)


def assert_survived(process: OperatorProcess, *, starts: int = 1, megabytes: int = 200) -> None:
    """I8: it runs, has been started just so often, and holds no more memory than ``megabytes``."""
    if not process.running:
        raise AssertionError(f"I8: {process.name} ended with code {process.returncode}")
    if process.starts != starts:
        raise AssertionError(f"I8: {process.name} was started {process.starts} times, not {starts}")
    if (used := process.usage().rss >> 20) > megabytes:
        raise AssertionError(f"I8: {process.name} holds {used} MiB, allowed are {megabytes}")


def _lives(history: Sequence[Version]) -> list[list[Version]]:
    lives: dict[str, list[Version]] = {}
    for version in history:
        lives.setdefault(version.uid, []).append(version)
    return list(lives.values())


def _ours(version: Version, contract: Contract) -> bool:
    return agent_matches(contract.writer, version.entry.user_agent)


def _check_beginning(first: Version, contract: Contract) -> list[Violation]:
    # The ledger may begin after the object did: only a creation must be empty.
    if first.entry.verb == "create" and first.status:
        return [Violation("I7", f"uid {first.uid} was created with a status: {dict(first.status)}")]
    return []


def _check_phase(before: Version, after: Version, contract: Contract) -> list[Violation]:
    old, new = before.status_field(contract.phase_field), after.status_field(contract.phase_field)
    if old == new or new in contract.transitions.get(old, ()):
        return []
    return [Violation("I2", f"illegal edge {old!r} -> {new!r} at resourceVersion {after.resource_version}")]


def _check_attempts(before: Version, after: Version, contract: Contract) -> list[Violation]:
    old = [contract.attempt_id(attempt) for attempt in contract.attempts(before.status)]
    new = [contract.attempt_id(attempt) for attempt in contract.attempts(after.status)]
    found = []
    if lost := [identity for identity in old if identity not in new]:
        found.append(Violation("I1", f"attempts lost at resourceVersion {after.resource_version}: {lost}"))
    recorded = list(contract.attempts(after.status))
    if rewritten := [
        identity
        for identity, attempt in zip(old, contract.attempts(before.status), strict=True)
        if identity in new and attempt not in recorded
    ]:
        found.append(Violation("I1", f"attempts rewritten at resourceVersion {after.resource_version}: {rewritten}"))
    doubled = [identity for identity, number in Counter(new).items() if number > 1]
    if doubled and new != old:
        found.append(Violation("I1", f"attempts recorded twice at resourceVersion {after.resource_version}: {doubled}"))
    return found


def _check_durable(before: Version, after: Version, contract: Contract) -> list[Violation]:
    if not _ours(after, contract) or after.entry.subresource != "status":
        return []
    old, new = before.status, after.status
    phase = before.status_field(contract.phase_field) != after.status_field(contract.phase_field)
    if phase or list(contract.attempts(old)) != list(contract.attempts(new)) or contract.also_durable(old, new):
        return []
    return [Violation("I1", f"write at resourceVersion {after.resource_version} made no durable change")]


def _check_version(version: Version, contract: Contract) -> list[Violation]:
    status = version.status
    found = [
        Violation("I4", f"{name} is {status.get(name, 0)}, the arrays say {wanted}, at {version.resource_version}")
        for name, wanted in contract.counters(status).items()
        if status.get(name, 0) != wanted
    ]
    found += [
        Violation("I2", f"time goes backwards from {earlier} to {later} at {version.resource_version}")
        for times in contract.timelines(status)
        for earlier, later in pairwise(times)
        if later[:19] < earlier[:19]
    ]
    if contract.attempt_time is not None:
        created = version.body["metadata"]["creationTimestamp"]
        found += [
            Violation("I7", f"attempt {contract.attempt_id(attempt)} is older than its object ({created})")
            for attempt in contract.attempts(status)
            # Both are RFC 3339 in UTC; the object's has whole seconds, which sort first.
            if contract.attempt_time(attempt)[:19] < created[:19]
        ]
    return found


def _check_requests(
    ledger: RequestLedger, obj: ObjectLike, contract: Contract, history: Mapping[int, Version]
) -> list[Violation]:
    found = []
    for entry in ledger.entries(obj, user_agent=contract.writer, subresource="status", verb=("patch", "update")):
        # A server that is just starting refuses a write without having read its body, so it records none.
        unread = entry.request is None and not entry.ok
        if not unread and "resourceVersion" not in ((entry.request or {}).get("metadata") or {}):
            found.append(Violation("I7", f"unconditional {entry.verb} at {entry.time:%H:%M:%S.%f}: no resourceVersion"))
        version = entry.version
        if version is not None and history[version.resource_version].entry is not entry:
            found.append(
                Violation("I1", f"write at {entry.time:%H:%M:%S.%f} changed nothing (still {version.resource_version})")
            )
    return found

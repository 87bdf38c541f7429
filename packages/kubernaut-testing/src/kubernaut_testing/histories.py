"""Histories: what became of an object, to be compared between a run without faults and a run with one.

As Sieve (OSDI'22) does: not logs are compared but what lasts: the phases in the order in which they were stored, the
recorded attempts, and the effects that the outside saw. Times, messages and resourceVersions differ from run to run
and are left out. A fault may change some of it, and each such change is named where the histories are compared;
whatever else differs is a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass

from kubernaut_testing.entries import ObjectLike
from kubernaut_testing.invariants import Contract
from kubernaut_testing.ledger import RequestLedger

__all__ = ["History", "assert_same_history", "differences", "history_of"]


@dataclass(frozen=True)
class History:
    """What lasts of one object's life.

    Attributes:
        phases: in resourceVersion order, repetitions left out, "" first.
        attempts: (identity, whether it succeeded) of the attempts in the last status; compared in any order, since what
            is done side by side ends as it likes.
        effects: identities of the effects that took place, with how often each did.
    """

    phases: tuple[str, ...]
    attempts: tuple[tuple[Hashable, bool], ...] = ()
    effects: Counter[Hashable] | None = None


def history_of(
    ledger: RequestLedger, obj: ObjectLike, contract: Contract, *, effects: Iterable[Hashable] | None = None
) -> History:
    """The history of ``obj`` so far; settles the ledger first.

    ``effects`` are identities (as ``contract.attempt_id``) as the receiver saw them, None leaves them out.
    """
    ledger.settle()
    versions = ledger.history(obj)
    status = versions[-1].status if versions else {}
    return History(
        tuple(ledger.phases(obj, contract.phase_field)),
        tuple((contract.attempt_id(attempt), contract.succeeded(attempt)) for attempt in contract.attempts(status)),
        None if effects is None else Counter(effects),
    )


def differences(
    reference: History, found: History, *, repeated: Collection[Hashable] = (), optional: Collection[Hashable] = ()
) -> list[str]:
    """In which lines ``found`` differs from ``reference`` beyond what the fault explains.

    Args:
        reference: of a run without the fault.
        found: of the run with it.
        repeated: effects that may have taken place more often than in the reference.
        optional: phases, and identities of attempts and effects, that may be missing or be there in addition.
    """
    lines = _compare("phases", reference.phases, found.phases, optional)
    wanted, have = (
        tuple(sorted((one for one in side.attempts if one[0] not in optional), key=repr)) for side in (reference, found)
    )
    lines += _compare("attempts", wanted, have, ())
    if reference.effects is not None and found.effects is not None:
        for effect in sorted({*reference.effects, *found.effects}, key=repr):
            usual, number = reference.effects[effect], found.effects[effect]
            if number == usual or effect in optional or (effect in repeated and number > usual):
                continue
            lines.append(f"effect {effect} took place {number} times, without the fault {usual} times")
    return lines


def assert_same_history(
    reference: History, found: History, *, repeated: Collection[Hashable] = (), optional: Collection[Hashable] = ()
) -> None:
    """Fail with all ``differences``."""
    lines = differences(reference, found, repeated=repeated, optional=optional)
    if lines:
        raise AssertionError("the history differs from that of the run without a fault:\n  " + "\n  ".join(lines))


def _compare(
    what: str, reference: tuple[Hashable, ...], found: tuple[Hashable, ...], optional: Collection[Hashable]
) -> list[str]:
    wanted, have = ([one for one in side if one not in optional] for side in (reference, found))
    return [] if wanted == have else [f"{what}: {list(found)}, without the fault {list(reference)}"]

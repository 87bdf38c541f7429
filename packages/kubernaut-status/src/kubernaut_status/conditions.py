"""Conditions with the semantics of metav1.Condition.

`lastTransitionTime` moves only when `status` flips; `observedGeneration` is always set; the order of
conditions is stable, so that the same facts make the same bytes and a write that changes nothing is
not sent. A controller owns the condition types that it declares; others' are left as they are, also
when a refetch brings newer ones (`merge_conditions`).

kstatus (helm --wait, Flux) takes an object without conditions for ready. So every phase says which of `KSTATUS_TYPES`
it has (`in_progress` for those on the way), and `with_conditions(..., without=KSTATUS_TYPES)` takes the others out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableSequence, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Condition = dict[str, Any]
"""A metav1.Condition as JSON: type, status, reason, message, lastTransitionTime, observedGeneration."""

ConditionStatus = Literal["True", "False", "Unknown"]

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
KSTATUS_TYPES = frozenset({READY, RECONCILING, STALLED})
"""The conditions from which kstatus (helm --wait, Flux) tells whether an object is done."""

_MESSAGE_LIMIT = 32768


def find_condition(conditions: Iterable[Mapping[str, Any]], type: str) -> dict[str, Any] | None:  # noqa: A002
    """The condition of that type, None if there is none."""
    return next((dict(condition) for condition in conditions if condition.get("type") == type), None)


def is_true(conditions: Iterable[Mapping[str, Any]], type: str) -> bool:  # noqa: A002
    """Whether the condition of that type is there and its status is True."""
    found = find_condition(conditions, type)
    return found is not None and found.get("status") == "True"


def new_condition(
    type: str,  # noqa: A002
    status: ConditionStatus,
    reason: str,
    message: str = "",
    *,
    observed_generation: int,
    now: datetime | str,
) -> Condition:
    """A condition that has just turned. `now` is aware, or RFC 3339 text; the message is cut to 32768 characters."""
    stamp = now if isinstance(now, str) else now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": type,
        "status": status,
        "reason": reason,
        "message": message[:_MESSAGE_LIMIT],
        "lastTransitionTime": stamp,
        "observedGeneration": observed_generation,
    }


def set_condition(conditions: MutableSequence[Condition], condition: Mapping[str, Any]) -> bool:
    """Put `condition` into the list, in the place of the one of its type or at the end.

    Returns whether anything changed. The stored lastTransitionTime stays if the status does, and
    never goes backwards.
    """
    for index, old in enumerate(conditions):
        if old.get("type") == condition["type"]:
            new = {**condition, "lastTransitionTime": _transition_time(old, condition)}
            if old == new:
                return False
            conditions[index] = new
            return True
    conditions.append(dict(condition))
    return True


def _transition_time(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    before, after = str(old.get("lastTransitionTime") or ""), str(new.get("lastTransitionTime") or "")
    if before and (old.get("status") == new.get("status") or _moment(after) < _moment(before)):
        return before
    return after


def _moment(stamp: str) -> datetime:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def remove_condition(conditions: MutableSequence[Condition], type: str) -> bool:  # noqa: A002
    """Take the condition of that type out; returns whether there was one."""
    for index, condition in enumerate(conditions):
        if condition.get("type") == type:
            del conditions[index]
            return True
    return False


def merge_conditions(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    latest: Sequence[Mapping[str, Any]],
    *,
    owned: Collection[str] | None = None,
) -> list[Condition]:
    """Three-way merge: what we changed from `before` to `after`, put onto `latest`.

    A type that changed on both sides goes to us if it is in `owned` (None: all are), to `latest`
    otherwise. What we did not change stays as `latest` has it. The order is that of `latest`, with
    new types behind it in the order of `after`. A difference of lastTransitionTime alone is none.
    """
    merged = [dict(condition) for condition in latest]
    for type_ in dict.fromkeys(str(condition["type"]) for condition in (*after, *before)):
        ours, base, theirs = (find_condition(side, type_) for side in (after, before, latest))
        if _alike(ours, base):
            continue
        contested = not _alike(theirs, base)
        if contested and owned is not None and type_ not in owned:
            continue
        if ours is None:
            remove_condition(merged, type_)
        else:
            set_condition(merged, ours)
    return merged


def _alike(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> bool:
    if left is None or right is None:
        return left is right
    return {**left, "lastTransitionTime": ""} == {**right, "lastTransitionTime": ""}


class ConditionTemplate(NamedTuple):
    """A condition without its generation and time: what a phase or a finding brings with it, as data."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def in_progress(reason: str, message: str) -> tuple[ConditionTemplate, ...]:
    """What a phase on the way to its end has of Ready, Reconciling and Stalled (kstatus): Reconciling is True."""
    return (ConditionTemplate(RECONCILING, "True", reason, message),)


def with_conditions(
    current: Iterable[Mapping[str, Any]],
    wanted: Iterable[ConditionTemplate],
    *,
    without: Collection[str] = (),
    observed_generation: int,
    now: datetime | str,
) -> list[Condition]:
    """`current` with the conditions of `wanted` in it, and without the types of `without` that `wanted` does not name.

    The order of `current` stays, new types come behind it in the order of `wanted`; transition times of what does not
    flip stay, and so do all other conditions. `current` itself is not changed.
    """
    conditions = [dict(condition) for condition in current]
    templates = list(wanted)
    for template in templates:
        set_condition(conditions, new_condition(*template, observed_generation=observed_generation, now=now))
    for type_ in frozenset(without) - {template.type for template in templates}:
        remove_condition(conditions, type_)
    return conditions

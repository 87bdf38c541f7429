"""JSON merge patches (RFC 7396): the difference of two statuses, its application, its size.

`apply(diff(before, after), before) == after` for every pair of JSON objects without nulls. In a merge
patch null means removal, so a null inside an object cannot be stored; `normalize` drops them, as the
API server does for fields that are not nullable. Lists are replaced whole, which is safe only under
the resourceVersion condition that `wire.patch_status` sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_JSON = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


def normalize(value: Any) -> Any:
    """A deep copy of `value` as JSON has it.

    datetimes become RFC 3339 in UTC with whole seconds (metav1.Time), nulls in objects go, and text
    that is not valid Unicode (lone surrogates) is made valid. Raises TypeError for what JSON cannot hold.
    """
    try:
        copy = orjson.loads(orjson.dumps(value, option=_JSON))
    except (TypeError, ValueError):
        copy = orjson.loads(orjson.dumps(well_formed(value), option=_JSON))
    return without_nulls(copy)


def well_formed(value: Any) -> Any:
    """A copy of a JSON value whose texts are valid Unicode: lone surrogates become `?`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [well_formed(item) for item in value]
    return value


def without_nulls(value: Any) -> Any:
    """A copy of a JSON value without the nulls in its objects: of a patch, what it sets."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; unlike `==`, True is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that turns `before` into `after`; empty if they are the same."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if nested := diff(old, value):
                patch[key] = nested
        elif key not in before or not same(old, value):
            patch[key] = value
    return patch


def with_unknown(patch: Mapping[str, Any], known: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """`patch`, made between two views of an object, with what those views leave out of the entries of its lists.

    A merge patch replaces lists whole, so a field that the view does not know would be lost from every entry. `known`
    is the view of `stored`. An entry of the patch that is as `known` has it is sent as `stored` has it; one that was
    changed in its place keeps what the view does not know.
    """
    return {key: _with_unknown(value, known.get(key), stored.get(key)) for key, value in patch.items()}


def _with_unknown(value: Any, known: Any, stored: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(known, Mapping) and isinstance(stored, Mapping):
        return with_unknown(value, known, stored)
    if not (isinstance(value, list) and isinstance(known, list) and isinstance(stored, list)):
        return value
    if len(known) != len(stored) or same(known, stored):
        return value
    entries = []
    for place, entry in enumerate(value):
        places = (place, *range(len(known))) if place < len(known) else range(len(known))
        at = next((index for index in places if same(known[index], entry)), None)
        if at is not None:
            entry = stored[at]
        elif place < len(known) and len(value) >= len(known) and isinstance(entry, dict):
            old, whole = known[place], stored[place]
            if isinstance(old, dict) and isinstance(whole, dict):
                entry = apply(with_unknown(diff(old, entry), old, whole), whole)
        entries.append(entry)
    return entries


def apply(patch: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """`before` after `patch`, as RFC 7396 section 2 defines it. Neither argument is changed."""
    after = dict(before)
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        elif isinstance(value, Mapping):
            old = after.get(key)
            after[key] = apply(value, old if isinstance(old, Mapping) else {})
        else:
            after[key] = value
    return after


def count_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """How many changes a write from `before` to `after` batches: fields, and entries of lists, that differ."""
    changes = 0
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if isinstance(old, list) or isinstance(new, list):
            olds, news = (entries if isinstance(entries, list) else [] for entries in (old, new))
            changes += abs(len(olds) - len(news)) + sum(not same(*pair) for pair in zip(olds, news, strict=False))
        elif not same(old, new):
            changes += 1
    return changes


def missing(sent: Mapping[str, Any], stored: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """The paths in `sent` that `stored` lacks: fields that a schema pruned. List positions read `[]`."""
    for key, value in sent.items():
        path = f"{at}.{key}" if at else key
        if key not in stored:
            yield path
        else:
            yield from _missing_below(value, stored[key], path)


def _missing_below(sent: Any, stored: Any, path: str) -> Iterator[str]:
    if isinstance(sent, Mapping) and isinstance(stored, Mapping):
        yield from missing(sent, stored, path)
    elif isinstance(sent, list) and isinstance(stored, list):
        for ours, theirs in zip(sent, stored, strict=False):
            yield from _missing_below(ours, theirs, f"{path}[]")

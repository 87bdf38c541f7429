"""Merge patches: what RFC 7396 says, for any JSON object."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_status.patch import apply, count_changes, diff, missing, normalize, same, with_unknown

scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=8), values, max_size=5)


@given(before=objects, after=objects)
def test_applying_the_difference_gives_the_goal(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert same(apply(diff(before, after), before), after)


def known(value: Any) -> Any:
    """What a model knows of a value: no key that begins with `x`."""
    if isinstance(value, dict):
        return {key: known(item) for key, item in value.items() if not key.startswith("x")}
    return [known(item) for item in value] if isinstance(value, list) else value


small = st.integers(0, 2)
keys = st.sampled_from(["a", "b", "x", "xx"])
parts = st.recursive(
    small, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)


@given(stored=st.dictionaries(keys, parts, max_size=3), goal=st.dictionaries(keys, parts, max_size=3))
def test_what_a_model_does_not_know_changes_nothing_of_what_it_does(
    stored: dict[str, Any], goal: dict[str, Any]
) -> None:
    before, after = known(stored), known(goal)
    patch = with_unknown(diff(before, after), before, stored)
    assert same(known(apply(patch, stored)), after)
    assert patch or same(before, after)


@given(stored=st.lists(st.dictionaries(keys, small, max_size=3), max_size=4))
def test_an_entry_that_is_appended_costs_the_others_nothing(stored: list[dict[str, int]]) -> None:
    before = {"entries": known(stored)}
    after = {"entries": [*known(stored), {"a": 7}]}
    assert with_unknown(diff(before, after), before, {"entries": stored}) == {"entries": [*stored, {"a": 7}]}


nullable = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
objects_with_nulls = st.dictionaries(st.text(max_size=8), nullable, max_size=5)


@given(before=objects_with_nulls, after=objects_with_nulls)
def test_a_null_is_a_removal_and_never_stored(before: dict[str, Any], after: dict[str, Any]) -> None:
    before, after = normalize(before), normalize(after)
    patch = diff(before, after)
    assert same(apply(patch, before), after)
    assert {key for key, value in patch.items() if value is None} == before.keys() - after.keys()


@given(status=objects)
def test_no_difference_is_an_empty_patch(status: dict[str, Any]) -> None:
    assert diff(status, normalize(status)) == {}


@given(before=objects, after=objects)
def test_neither_difference_nor_application_changes_its_arguments(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    untouched = (normalize(before), normalize(after))
    apply(diff(before, after), before)
    assert same([before, after], list(untouched))


@given(before=objects, after=objects)
def test_a_patch_names_only_what_differs(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key in diff(before, after):
        assert key not in before or key not in after or not same(before[key], after[key])


@given(value=values)
def test_normalized_values_are_normal(value: Any) -> None:
    assert same(normalize(normalize(value)), normalize(value))


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1, "b": 2}, {"b": 2}, {"a": None}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}, {"a": [1, 2, 3]}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": None}}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({}, {"a": "日本語 🚨"}, {"a": "日本語 🚨"}),
    ],
)
def test_differences_by_example(before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]) -> None:
    assert same(diff(before, after), patch)


def test_null_in_an_object_is_absence() -> None:
    assert normalize({"a": None, "b": [{"c": None}]}) == {"b": [{}]}


def test_times_are_written_in_utc_with_whole_seconds() -> None:
    assert normalize({"at": datetime(2026, 1, 2, 3, 4, 5, 678, UTC)}) == {"at": "2026-01-02T03:04:05Z"}


def test_lone_surrogates_become_valid_text() -> None:
    assert normalize({"message": "a\ud800b"}) == {"message": "a?b"}


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        normalize({"a": object()})


def test_changes_are_counted_per_field_and_per_entry() -> None:
    before = {"phase": "Sending", "attempts": [{"n": 1}], "conditions": [{"type": "A", "status": "False"}]}
    after = {
        "phase": "Sent",
        "attempts": [{"n": 1}, {"n": 2}, {"n": 3}],
        "conditions": [{"type": "A", "status": "True"}],
        "total": 3,
    }
    assert count_changes(before, after) == 1 + 2 + 1 + 1


def test_missing_names_the_pruned_paths_inside_lists_too() -> None:
    sent = {"phase": "A", "extra": 1, "items": [{"a": 1, "b": 2}], "nested": {"x": {"y": 1}}}
    stored = {"phase": "A", "items": [{"a": 1}], "nested": {"x": {}}}
    assert sorted(missing(sent, stored)) == ["extra", "items[].b", "nested.x.y"]

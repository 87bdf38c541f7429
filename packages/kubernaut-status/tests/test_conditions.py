"""metav1.Condition semantics, and the three-way merge for any conditions."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_status.conditions import (
    KSTATUS_TYPES,
    STALLED,
    Condition,
    ConditionTemplate,
    find_condition,
    in_progress,
    is_true,
    merge_conditions,
    new_condition,
    remove_condition,
    set_condition,
    with_conditions,
)

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = datetime(2026, 1, 2, tzinfo=UTC)


def condition(
    type_: str, status: Any = "True", reason: str = "Because", message: str = "", at: datetime = EARLY
) -> Any:
    return new_condition(type_, status, reason, message, observed_generation=1, now=at)


def test_a_new_message_does_not_move_the_transition_time() -> None:
    conditions = [condition("Ready", message="old")]
    assert set_condition(conditions, condition("Ready", message="new", at=LATE))
    assert conditions[0]["message"] == "new"
    assert conditions[0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_a_flip_moves_the_transition_time() -> None:
    conditions = [condition("Ready", "False")]
    assert set_condition(conditions, condition("Ready", "True", at=LATE))
    assert conditions[0]["lastTransitionTime"] == "2026-01-02T00:00:00Z"


def test_the_transition_time_never_goes_backwards() -> None:
    conditions = [condition("Ready", "False", at=LATE)]
    set_condition(conditions, condition("Ready", "True", at=EARLY))
    assert conditions[0]["lastTransitionTime"] == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize("stamp", ["", "soon", "2026-01-03", "2026-01-03T00:00:00"])
def test_somebody_else_s_odd_transition_time_is_survived(stamp: str) -> None:
    conditions = [{**condition("Ready", "False"), "lastTransitionTime": stamp}]
    assert set_condition(conditions, condition("Ready", "True", at=LATE))
    assert is_true(conditions, "Ready")


def test_the_same_condition_again_changes_nothing() -> None:
    conditions = [condition("Ready")]
    assert not set_condition(conditions, condition("Ready", at=LATE))


def test_a_condition_keeps_its_place() -> None:
    conditions = [condition("A"), condition("B"), condition("C")]
    set_condition(conditions, condition("B", "False"))
    assert [each["type"] for each in conditions] == ["A", "B", "C"]
    assert remove_condition(conditions, "A")
    assert not remove_condition(conditions, "A")
    assert [each["type"] for each in conditions] == ["B", "C"]


def test_a_message_is_cut_to_what_the_schema_allows() -> None:
    assert len(condition("A", message="x" * 40000)["message"]) == 32768


def test_looking_up() -> None:
    conditions = [condition("A"), condition("B", "False")]
    assert is_true(conditions, "A")
    assert not is_true(conditions, "B")
    assert not is_true(conditions, "C")
    assert find_condition(conditions, "C") is None


def test_a_contested_foreign_condition_goes_to_the_latest() -> None:
    before = [condition("Theirs", reason="Old")]
    ours = [condition("Theirs", reason="Ours")]
    latest = [condition("Theirs", reason="Latest")]
    assert merge_conditions(before, ours, latest, owned={"Mine"})[0]["reason"] == "Latest"
    assert merge_conditions(before, ours, latest)[0]["reason"] == "Ours"


def test_progress_is_told_to_kstatus() -> None:
    phases = {
        "Sending": in_progress("Sending", "On its way"),
        "Failed": (ConditionTemplate(STALLED, "True", "Failed"),),
        "Sent": (),
    }
    present: dict[str, list[tuple[str, str]]] = {}
    conditions: list[Condition] = [condition("Theirs")]
    for phase in ("Sending", "Failed", "Sending", "Sent"):
        conditions = with_conditions(conditions, phases[phase], without=KSTATUS_TYPES, observed_generation=3, now=EARLY)
        present[phase] = [(each["type"], each["status"]) for each in conditions if each["type"] != "Theirs"]
        assert conditions[0]["type"] == "Theirs", "a foreign condition stays"
    assert present == {"Sending": [("Reconciling", "True")], "Failed": [("Stalled", "True")], "Sent": []}


def test_templates_become_conditions_behind_those_that_are_there() -> None:
    current = [condition("Other"), condition("Ready", "False", at=EARLY)]
    wanted = [ConditionTemplate("New", "True", "Fresh", "just made"), ConditionTemplate("Ready", "True", "Done")]
    made = with_conditions(current, wanted, observed_generation=1, now=LATE)
    assert [(each["type"], each["status"]) for each in made] == [("Other", "True"), ("Ready", "True"), ("New", "True")]
    assert [each["lastTransitionTime"][:10] for each in made] == ["2026-01-01", "2026-01-02", "2026-01-02"]
    assert current[1]["status"] == "False", "the list that was passed in is left alone"


def test_types_that_exclude_each_other_leave_with_the_one_that_is_wanted() -> None:
    current = [condition("Reconciling"), condition("Other")]
    stalled = ConditionTemplate("Stalled", "True", "Broken")
    made = with_conditions(
        current, [stalled], without=("Reconciling", "Stalled", "Ready"), observed_generation=1, now=LATE
    )
    assert [each["type"] for each in made] == ["Other", "Stalled"]


def test_a_template_that_says_nothing_new_keeps_its_time() -> None:
    current = [condition("Ready", "True", "Before")]
    (made,) = with_conditions(current, [ConditionTemplate("Ready", "True", "After")], observed_generation=2, now=LATE)
    assert (made["reason"], made["observedGeneration"]) == ("After", 2)
    assert made["lastTransitionTime"] == current[0]["lastTransitionTime"]


TYPES = ["A", "B", "C", "D"]


@st.composite
def conditions_lists(draw: st.DrawFn) -> list[Condition]:
    types = draw(st.lists(st.sampled_from(TYPES), unique=True))
    return [
        condition(
            type_,
            draw(st.sampled_from(["True", "False", "Unknown"])),
            draw(st.sampled_from(["X", "Y"])),
            at=draw(st.sampled_from([EARLY, LATE])),
        )
        for type_ in types
    ]


def facts(conditions: list[Condition]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in conditions}


owners = st.sets(st.sampled_from(TYPES))


@given(before=conditions_lists(), after=conditions_lists())
def test_without_a_foreign_change_the_merge_is_ours(before: list[Condition], after: list[Condition]) -> None:
    assert facts(merge_conditions(before, after, before)) == facts(after)


@given(before=conditions_lists(), latest=conditions_lists(), owned=owners)
def test_without_a_change_of_ours_the_latest_stays_as_it_is(
    before: list[Condition], latest: list[Condition], owned: set[str]
) -> None:
    assert merge_conditions(before, before, latest, owned=owned) == latest


@given(before=conditions_lists(), after=conditions_lists(), latest=conditions_lists(), owned=owners)
def test_owned_conditions_that_we_changed_win(
    before: list[Condition], after: list[Condition], latest: list[Condition], owned: set[str]
) -> None:
    merged = facts(merge_conditions(before, after, latest, owned=owned))
    for type_ in owned:
        if facts(after).get(type_) != facts(before).get(type_):
            assert merged.get(type_) == facts(after).get(type_)


@given(before=conditions_lists(), after=conditions_lists(), latest=conditions_lists(), owned=owners)
def test_merging_again_changes_nothing(
    before: list[Condition], after: list[Condition], latest: list[Condition], owned: set[str]
) -> None:
    once = merge_conditions(before, after, latest, owned=owned)
    types = [each["type"] for each in once]
    assert len(types) == len(set(types))
    assert facts(merge_conditions(latest, once, latest)) == facts(once)

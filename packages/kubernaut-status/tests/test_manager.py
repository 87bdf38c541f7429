"""The status manager on a real API server: each promise a test, counted in the server's own audit log."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from widget_shop import PHASES, Shop, attempt, set_status

from kubernaut_status import (
    ConflictsExhaustedError,
    InvalidTransitionError,
    ObjectKey,
    Outcome,
    OutsideStatusError,
    OwnWrites,
    StatusMetrics,
    find_condition,
    merge_conditions,
    new_condition,
)

NOW = "2026-01-01T00:00:00Z"


async def test_without_conflict_a_commit_is_one_patch_and_no_get(shop: Shop) -> None:
    widget = shop.create("w")
    manager = shop.manager()
    commit = await manager.atomic_status_update(widget, set_status(phase="Pending", reason="New"))
    commit = await manager.atomic_status_update(commit.object, set_status(phase="Painting"))
    assert commit.outcome is Outcome.WRITTEN
    assert shop.get("w")["status"] == {"phase": "Painting", "reason": "New"}
    assert shop.requests("w") == ["patch 200", "patch 200"]


async def test_a_stale_base_is_overlaid_with_the_last_own_write(shop: Shop) -> None:
    widget = shop.create("w")
    manager = shop.manager()
    await manager.atomic_status_update(widget, set_status(phase="Pending"))
    await manager.atomic_status_update(widget, set_status(phase="Painting"))
    assert shop.requests("w") == ["patch 200", "patch 200"]


async def test_a_conflict_costs_exactly_one_get_and_one_patch(shop: Shop) -> None:
    widget = shop.create("w")
    shop.foreign_status("w", coats=1)
    commit = await shop.manager().atomic_status_update(widget, set_status(phase="Pending"))
    assert (commit.outcome, commit.tries) == (Outcome.WRITTEN, 2)
    assert shop.get("w")["status"] == {"phase": "Pending", "coats": 1}
    assert shop.requests("w") == ["patch 409", "get 200", "patch 200"]


async def test_five_conflicts_are_a_typed_error(shop: Shop) -> None:
    widget = shop.create("w")
    runs = 0
    waits: list[float] = []

    def overtaken(fresh: dict[str, Any]) -> None:
        nonlocal runs
        runs += 1
        shop.foreign_status("w", coats=runs)
        set_status(phase="Pending")(fresh)

    async def note(seconds: float) -> None:
        waits.append(seconds)

    with pytest.raises(ConflictsExhaustedError, match="5 conflicts"):
        await shop.manager(sleep=note).atomic_status_update(widget, overtaken)
    assert len(waits) == 4
    assert all(0.010 <= wait <= 0.011 for wait in waits), "client-go's DefaultRetry"
    assert shop.requests("w") == ["patch 409", "get 200"] * 4 + ["patch 409"]
    assert "phase" not in shop.get("w")["status"]


async def test_nothing_changed_is_a_success_without_a_request(shop: Shop) -> None:
    widget = shop.create("w", phase="Pending")
    commit = await shop.manager().atomic_status_update(widget, set_status(phase="Pending"))
    assert (commit.outcome, commit.ok, commit.writes) == (Outcome.UNCHANGED, True, 0)
    assert shop.requests("w") == []


async def test_an_invalid_transition_never_reaches_the_wire(shop: Shop) -> None:
    widget = shop.create("w", phase="Pending")
    with pytest.raises(InvalidTransitionError, match="from 'Pending' to 'Done'"):
        await shop.manager().atomic_status_update(widget, set_status(phase="Done"))
    assert shop.requests("w") == []


async def test_a_change_outside_status_is_refused_before_the_wire(shop: Shop) -> None:
    widget = shop.create("w")

    def repaint(fresh: dict[str, Any]) -> None:
        fresh["spec"]["color"] = "green"

    with pytest.raises(OutsideStatusError, match="cannot write spec"):
        await shop.manager().atomic_status_update(widget, repaint)
    assert shop.requests("w") == []


async def test_a_terminal_phase_found_on_refetch_is_never_changed(shop: Shop) -> None:
    widget = shop.create("w", phase="Painting")
    ended = shop.foreign_status("w", phase="Failed", reason="Cancelled")
    commit = await shop.manager().atomic_status_update(widget, set_status(phase="Done", reason="Painted"))
    assert (commit.outcome, commit.ok) == (Outcome.TERMINAL, False)
    assert shop.get("w")["metadata"]["resourceVersion"] == ended["metadata"]["resourceVersion"]
    assert shop.requests("w") == ["patch 409", "get 200"]


async def test_a_declared_field_may_change_under_a_terminal_phase_found_on_refetch(shop: Shop) -> None:
    widget = shop.create("w", phase="Painting")
    shop.foreign_status("w", phase="Done")
    commit = await shop.manager().atomic_status_update(widget, set_status(message="archived"))
    assert commit.outcome is Outcome.WRITTEN
    assert shop.get("w")["status"] == {"phase": "Done", "message": "archived"}


async def test_a_deleted_object_is_a_result_and_not_retried(shop: Shop) -> None:
    widget = shop.create("w")
    shop.delete("w")
    commit = await shop.manager().atomic_status_update(widget, set_status(phase="Pending"))
    assert commit.outcome is Outcome.GONE
    assert shop.requests("w") == ["patch 404"]


async def test_a_recreated_object_is_never_touched_with_the_old_one_s_state(shop: Shop) -> None:
    widget = shop.create("w")
    shop.delete("w")
    successor = shop.create("w")
    commit = await shop.manager().atomic_status_update(widget, set_status(phase="Pending"))
    assert commit.outcome is Outcome.GONE
    assert shop.get("w")["metadata"]["resourceVersion"] == successor["metadata"]["resourceVersion"]
    assert shop.requests("w") == ["patch 409", "get 200"]


async def test_conditions_built_in_memory_survive_a_refetch(shop: Shop) -> None:
    """The fixed-signature form: what was built on a stale object is put onto the fresh one."""
    widget = shop.create("w", phase="Painting")
    ours = [new_condition("Ready", "True", "Painted", observed_generation=1, now=NOW)]
    foreign = new_condition("Inspected", "True", "Looked", observed_generation=1, now=NOW)
    shop.foreign_status("w", conditions=[foreign])

    def finish(fresh: dict[str, Any]) -> None:
        status = fresh["status"]
        status["phase"] = "Done"
        status["conditions"] = merge_conditions([], ours, status.get("conditions") or [], owned={"Ready"})

    await shop.manager().atomic_status_update(widget, finish)
    conditions = shop.get("w")["status"]["conditions"]
    assert find_condition(conditions, "Ready") == ours[0]
    assert find_condition(conditions, "Inspected") == foreign
    assert shop.requests("w") == ["patch 409", "get 200", "patch 200"]


async def test_a_pruned_field_is_counted_and_does_not_repeat_the_write(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    manager = shop.manager(metrics=StatusMetrics("painter", registry))
    widget = shop.create("w")
    commit = await manager.atomic_status_update(widget, set_status(phase="Pending", unheardOf=1))
    assert commit.outcome is Outcome.WRITTEN
    labels = {"service": "painter", "resource": "widgets", "field": "unheardOf"}
    assert registry.get_sample_value("k8s_status_pruned_fields_total", labels) == 1
    assert "status.unheardOf" in caplog.text
    assert shop.requests("w") == ["patch 200"]


async def test_refetch_always_reads_first(shop: Shop) -> None:
    widget = shop.create("w")
    shop.foreign_status("w", coats=1)
    commit = await shop.manager(refetch="always").atomic_status_update(widget, set_status(phase="Pending"))
    assert commit.outcome is Outcome.WRITTEN
    assert shop.requests("w") == ["get 200", "patch 200"]


async def test_several_mutations_are_one_write_or_one_write_each(shop: Shop) -> None:
    changes = [attempt("slack", n) for n in (1, 2, 3)]
    for mode, patches in (("atomic", 1), ("sequential", 3)):
        widget = shop.create(mode, phase="Painting")
        commit = await shop.manager(mode=mode).atomic_status_update(widget, *changes)
        assert (commit.outcome, commit.writes, commit.changes) == (Outcome.WRITTEN, patches, 6 if patches == 3 else 4)
        assert len(shop.get(mode)["status"]["attempts"]) == 3
        assert shop.requests(mode) == ["patch 200"] * patches


async def test_the_echo_of_an_own_write_is_recognised_and_a_foreign_one_is_not(shop: Shop) -> None:
    manager = shop.manager()
    widget = shop.create("w")
    await manager.atomic_status_update(widget, set_status(phase="Pending"))
    assert manager.is_echo(shop.get("w"))
    assert manager.is_echo(widget), "older than the own write: no news either"
    assert not manager.is_echo(shop.foreign_status("w", coats=1))


async def test_an_update_that_admission_changed_is_no_echo(shop: Shop) -> None:
    manager = shop.manager()
    widget = shop.create("w")
    await manager.atomic_status_update(widget, set_status(phase="Pending", unheardOf=1))
    assert not manager.is_echo(shop.get("w")), "the server stored something else than was sent: that is news"


async def test_each_commit_makes_one_record(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="kubernaut_status")
    widget = shop.create("w")
    commit = await shop.manager().atomic_status_update(widget, set_status(phase="Pending", reason="New"))
    (record,) = [each for each in caplog.records if each.message == "status committed"]
    told = record.__dict__
    assert (told["from_phase"], told["to_phase"], told["changes"], told["tries"]) == ("", "Pending", 2, 1)
    assert told["resource_version"] == commit.raw["metadata"]["resourceVersion"]


def test_counters_are_there_from_0_on_so_that_the_first_of_each_is_seen_as_an_increase(shop: Shop) -> None:
    registry = CollectorRegistry()
    shop.manager(metrics=StatusMetrics("painter", registry))
    labels = {"service": "painter", "resource": "widgets"}
    assert registry.get_sample_value("k8s_status_conflicts_total", labels) == 0
    for result in ("written", "unchanged", "gone", "terminal"):
        assert registry.get_sample_value("k8s_status_updates_total", {**labels, "result": result}) == 0


async def test_updates_conflicts_and_changes_are_counted(shop: Shop) -> None:
    registry = CollectorRegistry()
    manager = shop.manager(metrics=StatusMetrics("painter", registry))
    widget = shop.create("w")
    shop.foreign_status("w", coats=1)
    await manager.atomic_status_update(widget, set_status(phase="Pending", reason="New"))
    labels = {"service": "painter", "resource": "widgets"}
    assert registry.get_sample_value("k8s_status_updates_total", {**labels, "result": "written"}) == 1
    assert registry.get_sample_value("k8s_status_conflicts_total", labels) == 1
    assert registry.get_sample_value("k8s_status_changes_per_write_sum", labels) == 2


async def test_unicode_and_broken_text_are_stored_as_valid_json(shop: Shop) -> None:
    widget = shop.create("w")
    await shop.manager().atomic_status_update(
        widget, set_status(phase="Pending", message="🚨 日本 \x00\x1b[31m a\ud800b")
    )
    assert shop.get("w")["status"]["message"] == "🚨 日本 \x00\x1b[31m a?b"
    assert PHASES.phase_of(shop.get("w")["status"]) == "Pending"


async def test_an_empty_view_of_the_objects_is_used_as_it_is(shop: Shop) -> None:
    """A store that has a length is false while it is empty; it must not be replaced for that."""

    class Shelf(OwnWrites):
        def __len__(self) -> int:
            return 0

    shelf = Shelf()
    widget = shop.create("w")
    commit = await shop.manager(writes=shelf).atomic_status_update(widget, set_status(phase="Pending"))
    assert shelf.newest(ObjectKey.of(widget)) == commit.raw


async def test_an_async_mutation_is_an_error_and_not_a_success_that_changes_nothing(shop: Shop) -> None:
    async def pending(fresh: dict[str, Any]) -> None:
        set_status(phase="Pending")(fresh)

    with pytest.raises(TypeError, match="cannot use an async function as a mutation"):
        await shop.manager().atomic_status_update(shop.create("w"), pending)
    assert shop.requests("w") == []

"""Answers that never come, servers that are busy: nothing is lost, nothing is applied twice."""

from typing import Any

import pytest
from widget_shop import Faults, Shop, attempt, set_status

from kubernaut_status import Outcome, OutcomeUnknownError, Unavailable


def one_more_coat(fresh: dict[str, Any]) -> None:
    status = fresh.setdefault("status", {})
    status["coats"] = status.get("coats", 0) + 1


async def test_a_write_whose_answer_is_lost_is_not_applied_twice(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w", phase="Painting")
    faults.reset_after_commit(times=1)
    commit = await shop.manager(client=faults.client).atomic_status_update(widget, attempt("slack", 1))
    assert commit.outcome is Outcome.WRITTEN
    assert len(shop.get("w")["status"]["attempts"]) == 1
    assert shop.requests("w") == ["patch 200", "patch 409", "get 200"]


async def test_a_request_lost_before_the_server_is_applied_once(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w", phase="Painting")
    faults.reset_before_forward(times=1)
    commit = await shop.manager(client=faults.client).atomic_status_update(widget, attempt("slack", 1))
    assert commit.outcome is Outcome.WRITTEN
    assert len(shop.get("w")["status"]["attempts"]) == 1
    assert shop.requests("w") == ["patch 200"]


async def test_an_equal_status_under_our_name_proves_a_landing(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w")
    faults.reset_after_commit(times=1)
    manager = shop.manager(client=faults.client, field_manager="painter", identities={})
    commit = await manager.atomic_status_update(widget, one_more_coat)
    assert commit.outcome is Outcome.WRITTEN
    assert shop.get("w")["status"]["coats"] == 1


async def test_several_writes_of_one_second_prove_their_landing_as_well(shop: Shop, faults: Faults) -> None:
    """The times in managedFields are whole seconds; within one, nobody else has written."""
    widget = shop.create("w")
    manager = shop.manager(client=faults.client, field_manager="painter", identities={})
    for coats in range(1, 6):
        faults.reset_after_commit(times=1)
        commit = await manager.atomic_status_update(widget, one_more_coat)
        assert (commit.outcome, commit.object["status"]) == (Outcome.WRITTEN, {"coats": coats})


async def test_the_same_status_by_another_writer_proves_no_landing_of_ours(shop: Shop, faults: Faults) -> None:
    """The second write never arrives; another writer makes what it would have made."""
    widget = shop.create("w")
    manager = shop.manager(client=faults.client, field_manager="painter", identities={})
    await manager.atomic_status_update(widget, one_more_coat)
    faults.reset_before_forward(times=1, then=lambda: shop.foreign_status("w", coats=2))
    with pytest.raises(OutcomeUnknownError):
        await manager.atomic_status_update(widget, one_more_coat)
    assert shop.get("w")["status"]["coats"] == 2


async def test_a_bare_counter_in_doubt_is_an_error_and_not_a_guess(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w")
    faults.reset_after_commit(times=1, then=lambda: shop.foreign_status("w", reason="Elsewhere"))
    with pytest.raises(OutcomeUnknownError, match="cannot tell whether the last write"):
        await shop.manager(client=faults.client, identities={}).atomic_status_update(widget, one_more_coat)
    assert shop.get("w")["status"]["coats"] == 1


async def test_the_caller_s_own_proof_settles_a_counter(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w")
    faults.reset_after_commit(times=1, then=lambda: shop.foreign_status("w", reason="Elsewhere"))
    manager = shop.manager(client=faults.client, identities={})
    commit = await manager.atomic_status_update(
        widget, one_more_coat, landed=lambda fresh: (fresh.get("status") or {}).get("coats", 0) >= 1
    )
    assert commit.outcome is Outcome.WRITTEN
    assert shop.get("w")["status"] == {"coats": 1, "reason": "Elsewhere"}


async def test_an_async_proof_is_not_taken_for_a_yes(shop: Shop, faults: Faults) -> None:
    async def never(fresh: dict[str, Any]) -> bool:
        return False

    widget = shop.create("w")
    faults.reset_before_forward(times=1, then=lambda: shop.foreign_status("w", reason="Elsewhere"))
    with pytest.raises(TypeError, match="cannot use an async function as `landed`"):
        await shop.manager(client=faults.client, identities={}).atomic_status_update(
            widget,
            one_more_coat,
            landed=never,  # type: ignore[arg-type]
        )
    assert shop.get("w")["status"] == {"reason": "Elsewhere"}


async def test_a_repeatable_change_needs_no_proof(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w")
    faults.reset_after_commit(times=1, then=lambda: shop.foreign_status("w", reason="Elsewhere"))
    manager = shop.manager(client=faults.client, identities={})
    commit = await manager.atomic_status_update(widget, set_status(phase="Pending"))
    assert commit.ok
    assert shop.get("w")["status"] == {"phase": "Pending", "reason": "Elsewhere"}


async def test_a_lost_request_overtaken_by_a_foreign_write_is_applied_once(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w", phase="Painting")
    faults.reset_before_forward(times=1, then=lambda: shop.foreign_status("w", coats=7))
    await shop.manager(client=faults.client).atomic_status_update(widget, attempt("slack", 1))
    status = shop.get("w")["status"]
    assert (len(status["attempts"]), status["totalAttempts"], status["coats"]) == (1, 1, 7)


@pytest.mark.parametrize("code", [429, 503])
async def test_a_busy_server_is_given_the_time_that_it_asks_for(shop: Shop, faults: Faults, code: int) -> None:
    widget = shop.create("w")
    faults.answer(code, retry_after=5, times=1)
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    commit = await shop.manager(client=faults.client, sleep=wait).atomic_status_update(
        widget, set_status(phase="Pending")
    )
    assert commit.outcome is Outcome.WRITTEN
    assert len(waits) == 1
    assert 5 <= waits[0] <= 5.5
    assert shop.requests("w") == ["patch 200"]


async def test_a_server_that_stays_silent_ends_in_a_typed_error(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w")
    faults.reset_before_forward(times=1000)
    manager = shop.manager(client=faults.client, unavailable=Unavailable(base=0.01, cap=0.01, give_up_after=0.1))
    with pytest.raises(OutcomeUnknownError, match="cannot tell whether PATCH"):
        await manager.atomic_status_update(widget, set_status(phase="Pending"))
    assert "status" not in shop.get("w")

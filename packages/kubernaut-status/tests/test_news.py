"""What others changed is never taken for the echo of an own write, and an own write is always recognised."""

import logging
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field
from widget_shop import Faults, Shop, attempt, set_status

from kubernaut_status import ForbiddenError, Outcome, OutcomeUnknownError, StatusMetrics
from kubernaut_testing.proxy import Rule, Status


@pytest.mark.parametrize("mode", ["atomic", "sequential"])
async def test_a_change_that_only_a_refetch_showed_is_news_when_the_write_comes_back(shop: Shop, mode: Any) -> None:
    """The writer decided on an older object; its write carries the foreign change, so its echo must wake it."""
    manager = shop.manager(mode=mode)
    widget = shop.create("w")
    shop.foreign_status("w", coats=1)
    await manager.atomic_status_update(widget, set_status(phase="Pending"), set_status(message="two"))
    assert not manager.is_echo(shop.get("w"))


async def test_a_change_made_while_the_answer_was_lost_is_news(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w", phase="Painting")
    manager = shop.manager(client=faults.client)
    faults.reset_after_commit(times=1, then=lambda: shop.label("w", touched="yes"))
    commit = await manager.atomic_status_update(widget, attempt("slack", 1))
    assert commit.outcome is Outcome.WRITTEN
    assert not manager.is_echo(shop.get("w"))


async def test_a_write_whose_answer_was_lost_is_recognised_when_nobody_interfered(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w", phase="Painting")
    manager = shop.manager(client=faults.client)
    faults.reset_after_commit(times=1)
    await manager.atomic_status_update(widget, attempt("slack", 1))
    assert manager.is_echo(shop.get("w"))


async def test_what_a_refetch_showed_is_known_so_the_same_conflict_is_not_met_again(shop: Shop) -> None:
    widget = shop.create("w")
    shop.foreign_status("w", phase="Pending")
    manager = shop.manager()
    for _ in range(3):
        commit = await manager.atomic_status_update(widget, set_status(phase="Pending"))
        assert commit.outcome is Outcome.UNCHANGED
    assert shop.requests("w") == ["patch 409", "get 200"]
    assert not manager.is_echo(shop.get("w"))


class Meta(BaseModel):
    name: str
    namespace: str
    uid: str
    resource_version: str = Field(alias="resourceVersion")


class CoatStatus(BaseModel):
    phase: str = ""
    coats: int = 0


class Coated(BaseModel):
    """A model with defaults, that knows neither managedFields nor every field of the status."""

    metadata: Meta
    status: CoatStatus = CoatStatus()


def pending(fresh: Coated) -> None:
    fresh.status.phase = "Pending"


async def test_defaults_and_gaps_of_a_model_make_neither_an_echo_into_news_nor_a_pruned_field(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    manager = shop.manager(metrics=StatusMetrics("painter", registry))
    widget = shop.create("w", message="a field that the model does not know")
    with caplog.at_level(logging.WARNING):
        await manager.atomic_status_update(Coated.model_validate(widget), pending)
    assert manager.is_echo(shop.get("w"))
    assert caplog.records == []


async def test_a_model_without_managed_fields_proves_no_landing(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w")
    manager = shop.manager(client=faults.client, field_manager="painter", identities={})
    widget = (await manager.atomic_status_update(widget, set_status(phase="Pending"))).object

    def one_more_coat(fresh: Coated) -> None:
        fresh.status.coats += 1

    second = shop.manager(client=faults.client, field_manager="painter", identities={})
    faults.reset_before_forward(times=1, then=lambda: shop.foreign_status("w", coats=1))
    with pytest.raises(OutcomeUnknownError):
        await second.atomic_status_update(Coated.model_validate(widget), one_more_coat)


async def test_a_refusal_after_a_lost_answer_does_not_say_that_nothing_was_stored(shop: Shop, faults: Faults) -> None:
    widget = shop.create("w")
    refuse = Rule(Status(403), verb="patch")
    faults.reset_after_commit(times=1, then=lambda: faults.proxy.add(refuse))
    with pytest.raises(OutcomeUnknownError, match="403") as caught:
        await shop.manager(client=faults.client).atomic_status_update(widget, set_status(phase="Pending"))
    assert isinstance(caught.value.__cause__, ForbiddenError)
    assert shop.get("w")["status"] == {"phase": "Pending"}


async def test_a_manager_forgets_an_object_that_was_deleted(shop: Shop) -> None:
    manager = shop.manager()
    widget = (await manager.atomic_status_update(shop.create("w"), set_status(phase="Pending"))).raw
    assert manager.is_echo(widget)
    manager.forget(widget)
    assert not manager.is_echo(widget)


async def test_names_of_dropped_fields_are_bounded(shop: Shop) -> None:
    """They may come from users: a map whose schema knows no other keys drops each of them."""
    registry = CollectorRegistry()
    manager = shop.manager(phases=None, metrics=StatusMetrics("painter", registry))
    for batch in range(3):
        fields = {f"unknown{batch}x{number}": "x" for number in range(60)}
        await manager.atomic_status_update(shop.create(f"w{batch}"), set_status(message="kept", **fields))
    (family,) = (each for each in registry.collect() if each.name == "k8s_status_pruned_fields")
    counts = {sample.labels["field"]: sample.value for sample in family.samples if sample.name.endswith("_total")}
    assert len(counts) == 101
    assert counts["..."] == 80

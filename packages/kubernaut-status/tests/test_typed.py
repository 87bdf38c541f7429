"""How a caller sees objects: what it gets is its own to change."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from kubernaut_status.typed import View


def test_a_copy_shares_nothing_that_can_change_with_the_object_whatever_it_holds() -> None:
    obj: dict[str, Any] = {
        "metadata": {"name": "w", "labels": {"a": "1"}},
        "status": {
            "times": [datetime(2026, 3, 1, tzinfo=UTC)],
            "list": [{"deep": [1, 2.5, True, None]}],
            "ordered": OrderedDict(a=["not made by JSON"]),
        },
    }
    before = deepcopy(obj)
    copy = View(obj).of(obj)
    assert copy == before
    copy["metadata"]["labels"]["a"] = "2"
    copy["status"]["times"].clear()
    copy["status"]["list"][0]["deep"].append(3)
    copy["status"]["ordered"]["a"].append("more")
    assert obj == before


class Coat(BaseModel):
    """An entry of a list, known in part."""

    color: str
    layers: int = 1


class CoatStatus(BaseModel):
    """A status, known in part."""

    phase: str = ""
    coats: list[Coat] = []


class Painted(BaseModel):
    """A widget, known in part."""

    metadata: dict[str, Any]
    status: CoatStatus = CoatStatus()


def sent(change: Any, *coats: dict[str, Any]) -> Any:
    base = {"metadata": {"name": "w"}, "status": {"phase": "Painting", "coats": list(coats)}}
    view = View(Painted.model_validate(base))
    changed = view.of(base)
    change(changed.status)
    return view.patch(*view.statuses(base, changed), base)


RED, BLUE = {"color": "red", "by": "ann"}, {"color": "blue", "layers": 2, "by": "bob"}


def test_entries_of_a_list_keep_what_the_model_does_not_know_when_the_list_is_sent() -> None:
    assert sent(lambda s: s.coats.append(Coat(color="grey")), RED, BLUE) == {
        "coats": [RED, BLUE, {"color": "grey", "layers": 1}]
    }
    assert sent(lambda s: s.coats.pop(0), RED, BLUE) == {"coats": [BLUE]}
    assert sent(lambda s: s.coats.reverse(), RED, BLUE) == {"coats": [BLUE, RED]}


def test_an_entry_that_is_changed_in_its_place_keeps_what_the_model_does_not_know() -> None:
    def thicker(status: CoatStatus) -> None:
        status.coats[1].layers = 3

    assert sent(thicker, RED, BLUE) == {"coats": [RED, {**BLUE, "layers": 3}]}


def test_a_list_that_is_not_changed_is_not_sent() -> None:
    def done(status: CoatStatus) -> None:
        status.phase = "Done"

    assert sent(done, RED, BLUE) == {"phase": "Done"}

"""How a caller sees objects: what it gets is its own to change."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

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

"""What the tests of the charts share: the chart, helm, and objects by kind and name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing.helm import Helm

ROOT = Path(__file__).parents[2]

Objects = dict[tuple[str, str], dict[str, Any]]
"""Objects by kind and name."""

Render = Callable[..., Objects]


@pytest.fixture(scope="session")
def chart() -> Path:
    return ROOT / "charts" / "notification"


@pytest.fixture(scope="session")
def render(chart: Path) -> Render:
    """Render the chart with values; the objects by kind and name."""
    helm = Helm()
    rendered: dict[str, Objects] = {}

    def render(values: dict[str, Any] | None = None, *, release: str = "notification", **more: Any) -> Objects:
        whole = {**(values or {}), **more}
        key = json.dumps([release, whole])
        if key not in rendered:
            documents = helm.template(release, chart, namespace="kubernaut-system", values=whole)
            found = {(document["kind"], document["metadata"]["name"]): document for document in documents}
            assert len(found) == len(documents), "two objects of one kind and name"
            rendered[key] = found
        return copy.deepcopy(rendered[key])

    return render

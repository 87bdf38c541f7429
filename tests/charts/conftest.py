"""What the tests of the charts share: for each service its chart, and rendering it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing.helm import Helm

from .services import CHARTED, Charted, Objects, merged

Render = Callable[..., Objects]


@pytest.fixture(params=CHARTED, ids=str)
def service(request: pytest.FixtureRequest) -> Charted:
    """Each service; a module about one of them overrides this."""
    charted: Charted = request.param
    return charted


@pytest.fixture
def chart(service: Charted) -> Path:
    return service.chart


@pytest.fixture
def render(service: Charted) -> Render:
    """Render the chart with values laid over those that it needs; the objects by kind and name."""

    def render(values: dict[str, Any] | None = None, *, release: str = "", **more: Any) -> Objects:
        whole = merged(service.needed, values or {}, more)
        return copy.deepcopy(_rendered(release or service.name, service.chart, json.dumps(whole)))

    return render


@cache
def _rendered(release: str, chart: Path, values: str) -> Objects:
    documents = Helm().template(release, chart, namespace="kubernaut-system", values=json.loads(values))
    found = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(found) == len(documents), "two objects of one kind and name"
    return found

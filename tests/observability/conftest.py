"""The services whose alerts and dashboards are tested: each test that asks for `service` runs once for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring.services import ROOT, SERVICES, Service


@pytest.fixture(scope="module", params=SERVICES, ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> Service:
    found: Service = request.param
    return found


@pytest.fixture(scope="module")
def rules_file(service: Service) -> Path:
    return service.files / "rules.yaml"


@pytest.fixture(scope="module")
def alerts(rules_file: Path) -> list[dict[str, Any]]:
    """Every alert of every group."""
    return [rule for group in yaml.safe_load(rules_file.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((service.files / "dashboard.json").read_text())
    return found


@pytest.fixture(scope="session")
def docs() -> Path:
    return ROOT / "docs" / "operations"

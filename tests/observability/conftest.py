"""Where the service's alerts and its dashboard are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ROOT / "charts" / "notification" / "files"


@pytest.fixture(scope="session")
def rules_file() -> Path:
    return FILES / "rules.yaml"


@pytest.fixture(scope="session")
def alerts(rules_file: Path) -> list[dict[str, Any]]:
    """Every alert of every group."""
    return [rule for group in yaml.safe_load(rules_file.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="session")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text())
    return found


@pytest.fixture(scope="session")
def docs() -> Path:
    return ROOT / "docs" / "operations"

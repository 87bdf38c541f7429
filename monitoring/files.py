"""What of a chart's folder `files` is made here."""

from __future__ import annotations

from .dashboard import dashboard
from .rules import rules
from .services import SERVICES


def files_of(name: str) -> dict[str, str]:
    """Return the files of the chart `name` -> their content. Raises KeyError for one that has no entry in SERVICES."""
    service = {service.name: service for service in SERVICES}[name]
    return {"rules.yaml": rules(service), "dashboard.json": dashboard(service)}

"""The generated files are those that the sources make, and a source that cannot be right is refused."""

from __future__ import annotations

import pytest
from monitoring.files import files_of
from monitoring.services import ROOT, SERVICES, Service
from monitoring.text import filled_in


def test_alerts_and_dashboard_are_up_to_date(service: Service) -> None:
    for name, content in files_of(service.name).items():
        assert (service.files / name).read_text() == content, f"{name}: run make charts"


def test_a_placeholder_that_nobody_knows_is_named() -> None:
    with pytest.raises(ValueError, match=r"cannot use rules\.yaml: nobody says what <prefx> stands for"):
        filled_in("sum(<prefx>_total)", SERVICES[0].words, "rules.yaml")


def test_every_chart_has_alerts_and_a_dashboard() -> None:
    charts = {chart.parent.name for chart in (ROOT / "charts").glob("*/Chart.yaml")} - {"kubernaut-common"}
    assert charts == {service.name for service in SERVICES}

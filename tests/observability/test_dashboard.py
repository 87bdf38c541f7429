"""The dashboard as a document: Grafana can load it, panels do not overlap, every query follows the variables."""

from __future__ import annotations

import itertools
import re
from typing import Any

from monitoring.services import Service

Dashboard = dict[str, Any]


def shown(dashboard: Dashboard) -> list[dict[str, Any]]:
    """The panels that are not mere row titles."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


OWN_ROWS = {"notification": ["Deliveries"], "signalprocessing": ["Outcome", "Enrichment", "Policy"]}


def test_it_has_the_rows_that_an_operator_asks_for(service: Service, dashboard: Dashboard) -> None:
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    objects = service.words["Objects"]
    assert rows == [objects, "API server", "Backoff", *OWN_ROWS[service.name], "Process"]


def test_it_is_found_by_its_uid_and_chooses_its_data_source_by_a_variable(
    service: Service, dashboard: Dashboard
) -> None:
    assert (dashboard["uid"], dashboard["title"]) == (f"kubernaut-{service.name}", f"Kubernaut {service.kind}")
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "job"]
    assert variables["datasource"]["type"] == "datasource"
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert [variables[name]["datasource"] for name in ("namespace", "job")] == [source, source]
    for panel in shown(dashboard):
        assert panel["datasource"] == source, panel["title"]
        assert [target["datasource"] for target in panel["targets"]] == [source] * len(panel["targets"])


def test_all_means_whatever_is_there_and_edits_are_not_invited(dashboard: Dashboard) -> None:
    """A generated dashboard is put back by its next installation; "all" must not list what was there once."""
    assert dashboard["editable"] is False
    chosen = [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    assert [(each["allValue"], each["refresh"]) for each in chosen] == [(".+", 2)] * 2


UNITS = {"short", "s", "ops", "reqps", "percentunit", "bytes"}
"""Names that Grafana knows."""


def test_each_panel_says_what_it_is_in_which_unit_and_names_its_lines(dashboard: Dashboard) -> None:
    for panel in shown(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["type"] == "stat" or panel["options"]["legend"], panel["title"]


def test_a_legend_names_labels_that_its_query_keeps(dashboard: Dashboard) -> None:
    for panel in shown(dashboard):
        for target in panel["targets"]:
            kept = {
                label.strip() for group in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for label in group.split(",")
            }
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, panel["title"]


def test_panels_have_ids_titles_and_places_of_their_own(dashboard: Dashboard) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    titles = [panel["title"] for panel in shown(dashboard)]
    assert len(set(titles)) == len(titles)

    def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        return not (beside or above)

    for one, other in itertools.combinations(panels, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert [panel["title"] for panel in panels if panel["gridPos"]["x"] + panel["gridPos"]["w"] > 24] == []


def test_every_query_is_about_the_chosen_namespace_and_job(dashboard: Dashboard) -> None:
    for panel in shown(dashboard):
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0
        for target in panel["targets"]:
            assert 'namespace=~"$namespace",job=~"$job"' in target["expr"], panel["title"]
            assert target["legendFormat"], panel["title"]

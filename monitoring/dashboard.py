"""Makes a service's Grafana dashboard from rows of panels that say only what is theirs.

A panel has a `title`, `queries` (legend -> PromQL), `about` and, if it needs them:

| key | default | |
|---|---|---|
| `about` | needed | the text behind its i |
| `kind` | `lines` | `lines`, `stack`, `stat` (the last value), `states` (a timeline of named values), `heatmap` |
| `unit`, `decimals`, `max` | `short` | as in Grafana |
| `alert` | | a red line at this value |
| `states` | | value -> [name, colour] |

`<of>` in a query are the matchers for the chosen namespaces and jobs, `<leading>` leaves replicas out that led before.
Places and ids follow from the order: three panels in a line, four in the first row. The string `own rows` among the
shared rows is where a service's own come.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .services import SHARED, Service
from .text import filled_in

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24
_OWN = "own rows"
_WORDS = {
    "of": 'namespace=~"$namespace",job=~"$job"',
    "leading": "unless on (job, instance) (leader_election_master_status == 0)",
}

Json = dict[str, Any]


def dashboard(service: Service) -> str:
    """Return the whole file."""
    shared, own = (_rows(folder / "dashboard.yaml", service.words | _WORDS) for folder in (SHARED, service.sources))
    place = shared.index(_OWN)
    whole = {
        "title": f"Kubernaut {service.kind}",
        "uid": f"kubernaut-{service.name}",
        "tags": ["kubernaut"],
        "description": f"How the {service.objects} fare, what the {service.kind} controller asks of the API server, "
        "how it waits, how the process is. Made by `make charts`.",
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": "now-3h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": list(_variables(f"{service.prefix}_reconciler_active"))},
        "panels": list(_placed([*shared[:place], *own, *shared[place + 1 :]])),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _rows(source: Path, words: dict[str, str]) -> list[Any]:
    rows: list[Any] = yaml.safe_load(filled_in(source.read_text(), words, str(source)))["rows"]
    return rows


def _variables(metric: str) -> Iterator[Json]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "current": {},
    }
    for name, selector in (("namespace", ""), ("job", '{namespace=~"$namespace"}')):
        query = f"label_values({metric}{selector}, {name})"
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": query, "refId": name},
            "definition": query,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": {"text": ["All"], "value": ["$__all"]},
            "hide": 0,
        }


def _placed(rows: list[Json]) -> Iterator[Json]:
    number, y = 1, 0
    for row in rows:
        first = y == 0
        columns, height = (4, 6) if first else (3, 7)
        width = _WIDTH // columns
        yield {
            "id": number,
            "type": "row",
            "title": row["title"],
            "gridPos": {"h": 1, "w": _WIDTH, "x": 0, "y": y},
            "collapsed": False,
            "panels": [],
        }
        number, y = number + 1, y + 1
        for index, panel in enumerate(row["panels"]):
            line, column = divmod(index, columns)
            grid = {"h": height, "w": width, "x": column * width, "y": y + line * height}
            yield _panel(panel, number, grid)
            number += 1
        y += -(-len(row["panels"]) // columns) * height


def _panel(panel: Json, number: int, grid: dict[str, int]) -> Json:
    kind = panel.get("kind", "lines")
    made = _KINDS[kind](panel)
    return {
        "id": number,
        "type": made["type"],
        "title": panel["title"],
        "description": panel["about"],
        "datasource": _SOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": made["defaults"], "overrides": []},
        "options": made["options"],
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": str(legend),
                **made.get("target", {}),
            }
            for index, (legend, query) in enumerate(panel["queries"].items())
        ],
    }


_LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True}


def _defaults(panel: Json) -> Json:
    given = {key: value for key, value in panel.items() if key in ("max", "decimals")}
    return {"unit": panel.get("unit", "short"), "min": 0} | given


def _lines(panel: Json) -> Json:
    defaults = _defaults(panel)
    custom: Json = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
    if panel.get("kind") == "stack":
        custom |= {"fillOpacity": 60, "stacking": {"mode": "normal", "group": "A"}}
    if "alert" in panel:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel["alert"]}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        custom["thresholdsStyle"] = {"mode": "line"}
    options = {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {"type": "timeseries", "defaults": {**defaults, "custom": custom}, "options": options}


def _stat(panel: Json) -> Json:
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value_and_name",
    }
    return {"type": "stat", "defaults": _defaults(panel), "options": options, "target": {"instant": True}}


def _states(panel: Json) -> Json:
    named = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(panel["states"].items())
    }
    return {
        "type": "state-timeline",
        "defaults": {"unit": "short", "mappings": [{"type": "value", "options": named}]},
        "options": {"mergeValues": True, "showValue": "never", "legend": _LEGEND},
    }


def _heatmap(panel: Json) -> Json:
    options = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Oranges"},
        "yAxis": {"unit": panel.get("unit", "s")},
        "cellGap": 1,
        "legend": {"show": True},
    }
    return {"type": "heatmap", "defaults": {"unit": "short"}, "options": options, "target": {"format": "heatmap"}}


_KINDS = {"lines": _lines, "stack": _lines, "stat": _stat, "states": _states, "heatmap": _heatmap}

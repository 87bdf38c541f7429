"""What the charts' schema says of the config file is what the program says of it, key by key.

Each key is set to values of all kinds. The program's model, and helm by the schema that was generated from it, must
agree on each: what is refused ends an installation and not a pod, and what the program takes is never refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from kubernaut_testing.helm import Helm, HelmError

from .services import Charted

TRIED: tuple[Any, ...] = (
    *("", " ", "x", "5", "0s", "0", "-5s", "+5s", "250ms", "1h30m", "5 s", "soon", "1μs"),
    *(":0", ":8080", "[::1]:8080", "localhost", "1.2.3.4:x", ":808080"),
    *("http://a", "https://a.b:8443/c@d?e", "HTTPS://a", "ftp://a", "a:80", "https://", "http://me:pw@a"),
    *("atomic", "Atomic", "info", "INFO", "Warn", "verbose", "JSON", "console", "regopy", "regorus", "opa", "always"),
    *(0, 1, -1, 3, 100, 101, 1000, 1001, 1_000_000, True, ["openid"], [3], {}),
)
"""Values that some keys take and others do not."""

NOT_SET = (("datastorage.url", ""), ("datastorage.healthUrl", ""))
"""What the chart takes and does not put into the file."""

Keys = dict[str, dict[str, Any]]


def keys(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of the file that is no section, dotted, and its schema."""
    for name, inner in schema["properties"].items():
        if "properties" in inner:
            yield from keys(inner, f"{above}{name}.")
        else:
            yield above + name, inner


@pytest.fixture
def known(service: Charted) -> Keys:
    schema = json.loads((service.chart / "values.schema.json").read_text())
    return dict(keys(schema["definitions"]["config"]))


@pytest.fixture
def refused_by_helm(known: Keys, tmp_path: Path) -> set[tuple[str, str]]:
    """Key and value of what helm refuses, by a chart whose every value is a list of what the chart's own takes once."""
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: tried, version: 0.1.0}\n")
    lists = {key: {"type": "array", "items": schema} for key, schema in known.items()}
    (tmp_path / "values.schema.json").write_text(json.dumps({"type": "object", "properties": lists}))
    with pytest.raises(HelmError) as refused:
        Helm().template("n", tmp_path, values=dict.fromkeys(known, TRIED))
    found = re.findall(r"at '/([\w.]+)/(\d+)[/']", refused.value.output)
    return {(key, repr(TRIED[int(index)])) for key, index in found}


def refused_by_the_program(model: type[BaseModel], key: str, value: Any) -> bool:
    path = tuple(key.split("."))
    content = value
    for name in reversed(path):
        content = {name: content}
    try:
        model.model_validate(content, by_alias=True, by_name=False, context={"file": True})
    except ValidationError as error:
        return any(item["loc"][: len(path)] == path for item in error.errors())
    return False


def converted(schema: dict[str, Any], value: Any) -> bool:
    """Whether the program would make another type or word of the value: helm wants it as it is meant."""
    types = {"string": str, "integer": int, "boolean": bool, "array": list}
    return value == " " or ("type" in schema and type(value) is not types[schema["type"]])


def test_helm_refuses_what_the_program_refuses_and_nothing_that_it_takes(
    service: Charted, known: Keys, refused_by_helm: set[tuple[str, str]]
) -> None:
    model: type[BaseModel] = service.generated.config
    let_through, wrongly = [], []
    for key, schema in known.items():
        for value in TRIED:
            program, helm = refused_by_the_program(model, key, value), (key, repr(value)) in refused_by_helm
            if program and not helm and (key, value) not in NOT_SET:
                let_through.append((key, value))
            if helm and not program and not converted(schema, value):
                wrongly.append((key, value))
    assert let_through == []
    assert wrongly == []


def test_what_is_tried_tells_the_keys_apart(known: Keys, refused_by_helm: set[tuple[str, str]]) -> None:
    """Each key takes something and refuses something; a choice and a limit are met from both sides."""
    values = {repr(value) for value in TRIED}
    for key in known:
        refused = {value for name, value in refused_by_helm if name == key}
        assert refused, key
        assert refused < values, key

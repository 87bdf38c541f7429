"""What the runbooks quote of the programs is so: Events, log lines, fields of the status, reasons of failures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from monitoring.services import ROOT, Service

from kubernaut_api import load_crd
from kubernaut_signalprocessing.metrics import FailureReason, PolicyLack

PAGES = ("runbook.md", "runbook-notification.md", "runbook-signalprocessing.md")
_QUOTED = re.compile(r"`((?:cannot|the|some) [^`]+)`")
_EVENT = re.compile(r"--field-selector\s+reason=(\w+)")
_RANGE = re.compile(r"\{range ([^}]*)\}(.*?)\{end\}", re.DOTALL)
_FIELD = re.compile(r"\{(\.[^}]+)\}")


@pytest.fixture(scope="module")
def sources() -> str:
    """The text of all programs."""
    files = [path for room in ("packages", "services") for path in sorted((ROOT / room).glob("*/src/**/*.py"))]
    return "\n".join(path.read_text() for path in files)


@pytest.mark.parametrize("page", PAGES)
def test_events_and_lines_of_the_log_that_a_runbook_quotes_are_in_the_sources(
    docs: Path, sources: str, page: str
) -> None:
    text = (docs / page).read_text()
    events = _EVENT.findall(text)
    assert events
    assert [event for event in events if f'"{event}"' not in sources] == []
    quoted = [" ".join(re.split(r"\.\.\.|\(", line)[0].split()) for line in _QUOTED.findall(text)]
    assert [line for line in quoted if line not in sources] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_command_of_a_runbook_stands_on_one_line_to_be_copied(docs: Path, page: str) -> None:
    text = (docs / page).read_text()
    assert [command for command in re.findall(r"`((?:kubectl|helm) [^`]+)`", text) if "\n" in command] == []
    assert [line for line in re.findall(r"^    .*$", text, re.MULTILINE) if line.count("'") % 2] == []


def fields(command: str) -> list[str]:
    """The paths of a JSONPath's fields, from the object: those in a range are below the range's own."""
    found = [f"{outer}{inner}" for outer, body in _RANGE.findall(command) for inner in _FIELD.findall(body)]
    found += re.findall(r"\?\(@(\.[\w.]+)", command) + _FIELD.findall(_RANGE.sub("", command))
    return [re.sub(r"\[\?\([^)]*\)\]|\[\*\]", "[]", path).removeprefix(".items[]") for path in found]


def known(schema: dict[str, Any], path: str) -> bool:
    for name in path.strip(".").split("."):
        bare = name.removesuffix("[]")
        if schema.get("type") != "object" or bare not in schema.get("properties", {}):
            return False
        schema = schema["properties"][bare]
        if name.endswith("[]"):
            schema = schema["items"]
    return True


def test_fields_that_a_runbook_s_commands_ask_for_are_in_the_crd(service: Service, docs: Path) -> None:
    crd = load_crd(service.plural)
    short = crd["spec"]["names"]["shortNames"][0]
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    text = " ".join((docs / f"runbook-{service.name}.md").read_text().split())
    asked = [
        path for command in re.findall(rf"get {short} [^|`]*?jsonpath='([^']+)'", text) for path in fields(command)
    ]
    assert asked
    columns = re.findall(rf"get {short} [^|`]*?custom-columns='([^']+)'", text)
    asked += [column.partition(":")[2] for found in columns for column in found.split(",")]
    assert [path for path in asked if not path.startswith(".metadata.") and not known(schema, path)] == []
    assert f"KIND={short}" in (docs / "runbook.md").read_text()


@pytest.mark.parametrize("page", ["runbook-signalprocessing.md", "metrics.md"])
def test_each_reason_of_a_failed_signal_is_explained(docs: Path, page: str) -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]+ \|$", (docs / page).read_text(), re.MULTILINE)
    told = {reason for row in rows for reason in re.findall(r"`(\w+)`", row)}
    assert {*get_args(FailureReason)} <= told


def test_each_kind_of_policy_error_is_explained(docs: Path) -> None:
    (row,) = re.findall(
        r"^\| `signalprocessing_policy_errors_total`.*$", (docs / "metrics.md").read_text(), re.MULTILINE
    )
    assert {*get_args(PolicyLack)} <= set(re.findall(r"`(\w+)`", row))

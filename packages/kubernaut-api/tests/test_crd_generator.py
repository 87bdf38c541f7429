"""The generator beyond one kind: its command, its refusals, its stability."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from kubernaut_api import KINDS, ApiModel, Rule
from kubernaut_api.crd import object_schema, sorted_keys
from kubernaut_api.crds import FOLDER, difference, render, write_crds
from kubernaut_api.crds.__main__ import main


class Odd(ApiModel):
    """A model with a type that no CRD can have."""

    anything: complex = 0j


class Plain(ApiModel):
    """First paragraph
    over two lines.

    Second paragraph.
    """

    name_of_thing: Annotated[str, Rule(required=True, pattern="^a$")] = ""
    tags: list[str] = Field(default_factory=list)
    groups: dict[str, list[str]] = Field(default_factory=dict)


class Numbered(ApiModel):
    """A map whose keys are no texts."""

    by_number: dict[int, str] = Field(default_factory=dict)


def test_a_type_without_a_schema_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"cannot make a schema for Odd\.anything"):
        object_schema(Odd)


def test_a_map_with_other_keys_than_text_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cannot make a schema for Numbered\.by_number"):
        object_schema(Numbered)


def test_a_map_has_the_schema_of_its_values() -> None:
    assert object_schema(Plain)["properties"]["groups"] == {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    }


def test_only_the_first_paragraph_of_a_docstring_describes_the_object() -> None:
    assert object_schema(Plain)["description"] == "First paragraph over two lines."


def test_names_are_written_in_camel_case() -> None:
    assert object_schema(Plain)["required"] == ["nameOfThing"]


def test_the_same_models_give_the_same_bytes() -> None:
    assert [render(kind) for kind in KINDS] == [render(kind) for kind in KINDS]


def test_sorting_keys_keeps_the_order_of_lists() -> None:
    assert list(sorted_keys({"b": [2, 1], "a": 1})) == ["a", "b"]
    assert sorted_keys({"b": [2, 1]})["b"] == [2, 1]


def test_a_changed_file_is_reported_as_a_diff(tmp_path: Path) -> None:
    path, *_ = write_crds(tmp_path)
    assert difference(tmp_path) == ""
    path.write_text(path.read_text().replace("maxLength: 500", "maxLength: 501"))
    assert "-                maxLength: 501\n+                maxLength: 500\n" in difference(tmp_path)


def test_a_missing_file_is_a_difference(tmp_path: Path) -> None:
    assert "+kind: CustomResourceDefinition" in difference(tmp_path)


def test_the_check_passes_silently_when_the_files_are_true(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_check_fails_with_a_diff_when_a_file_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kubernaut_api.crds.__main__.difference", lambda: difference(FOLDER / "nowhere"))
    assert main(["--check"]) == 1
    captured = capsys.readouterr()
    assert "+kind: CustomResourceDefinition" in captured.out
    assert captured.err.startswith("cannot pass: ")

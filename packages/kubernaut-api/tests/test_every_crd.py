"""What is true of every generated CRD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubernaut_api import KINDS
from kubernaut_api.crd import CustomResource
from kubernaut_api.crds import difference, load_crd

Bare = Callable[[Any], Any]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.resource.plural)
def kind(request: pytest.FixtureRequest) -> CustomResource:
    found: CustomResource = request.param
    return found


@pytest.fixture(scope="module")
def crd(kind: CustomResource) -> dict[str, Any]:
    return load_crd(kind.resource.plural)


@pytest.fixture(scope="module")
def root(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def test_the_committed_files_are_what_the_models_give() -> None:
    assert difference() == ""


def test_no_two_kinds_share_a_name() -> None:
    names = [name for kind in KINDS for name in (kind.resource.plural, kind.resource.kind.lower(), *kind.short_names)]
    assert len(names) == len(set(names))


def test_the_crd_is_named_and_marked_as_controller_gen_does(kind: CustomResource, crd: dict[str, Any]) -> None:
    assert crd["metadata"] == {
        "name": f"{kind.resource.plural}.kubernaut.ai",
        "annotations": {"controller-gen.kubebuilder.io/version": "v0.19.0"},
    }


def test_there_is_one_served_and_stored_version_with_a_status_subresource(crd: dict[str, Any]) -> None:
    (version,) = crd["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}


def test_no_top_level_field_is_required(root: dict[str, Any]) -> None:
    assert "required" not in root
    assert set(root["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}
    assert root["properties"]["metadata"] == {"type": "object"}


def test_no_status_field_is_required(root: dict[str, Any]) -> None:
    assert "required" not in root["properties"]["status"]


def test_conditions_are_a_plain_list_of_standard_conditions(root: dict[str, Any], without_words: Bare) -> None:
    conditions = without_words(root["properties"]["status"]["properties"]["conditions"])
    assert set(conditions) == {"type", "items"}
    assert conditions["items"]["required"] == ["lastTransitionTime", "message", "reason", "status", "type"]
    assert conditions["items"]["properties"] == {
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "type": {
            "type": "string",
            "maxLength": 316,
            "pattern": (
                r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
            ),
        },
    }


def test_every_field_is_described(root: dict[str, Any]) -> None:
    def undescribed(schema: dict[str, Any], path: str) -> list[str]:
        found = []
        for name, child in schema.get("properties", {}).items():
            where = f"{path}.{name}"
            found += ([] if child.get("description") or where == ".metadata" else [where]) + undescribed(child, where)
        return found + (undescribed(schema["items"], f"{path}[]") if "items" in schema else [])

    assert undescribed(root, "") == []


def test_the_schema_is_structural_and_nothing_is_nullable(root: dict[str, Any]) -> None:
    text = str(root)
    assert not any(word in text for word in ("'anyOf'", "'$ref'", "'nullable'", "'oneOf'", "'allOf'"))


def test_only_the_spec_has_cel_rules(root: dict[str, Any]) -> None:
    assert "x-kubernetes-validations" in root["properties"]["spec"]
    assert str(root).count("x-kubernetes-validations") == 1


def test_an_unknown_plural_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"notificationrequests.*signalprocessings"):
        load_crd("nonsenses")

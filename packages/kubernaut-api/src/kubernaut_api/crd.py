"""From a pydantic model to a CustomResourceDefinition.

A structural OpenAPI v3 schema, laid out as controller-gen lays it out, so that a cluster that already carries the CRD
sees no change beyond words: keys sorted, `required` sorted, nothing nullable, Go's integer formats.

The walk knows exactly the types that the models use (text, numbers, booleans, times, lists, maps with text
keys, nested models) and refuses every other one: a type that it would have to guess about has no place in a CRD.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from kubernaut_api.meta import ObjectMeta
from kubernaut_api.schema import ApiModel, Rule
from kubernaut_status import Resource

GENERATOR_VERSION = "v0.19.0"
"""The controller-gen version whose layout is kept; it stands in the CRD's annotation."""

_SCALARS: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
}

_API_VERSION_WORDS = "Version of the schema that this object is written in."
_KIND_WORDS = "Kind of this object, in CamelCase; it cannot be changed."


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """One column of `kubectl get`; `priority` above 0 shows it with `-o wide` only."""

    name: str
    type: str
    json_path: str
    priority: int = 0

    def wire(self) -> dict[str, Any]:
        """Return the column as it stands in the CRD."""
        column: dict[str, Any] = {"jsonPath": self.json_path, "name": self.name, "type": self.type}
        return column | ({"priority": self.priority} if self.priority else {})


@dataclass(frozen=True, slots=True)
class CustomResource:
    """A kind: what it is called, the model it has, and what tools show of it. `selectable_fields` are JSON paths."""

    resource: Resource
    model: type[ApiModel]
    short_names: tuple[str, ...] = ()
    columns: tuple[PrinterColumn, ...] = ()
    selectable_fields: tuple[str, ...] = ()

    @property
    def crd_name(self) -> str:
        """Name of the CRD object: plural, dot, group."""
        return f"{self.resource.plural}.{self.resource.group}"

    @property
    def file_name(self) -> str:
        """Name of the generated file: group, underscore, plural."""
        return f"{self.resource.group}_{self.resource.plural}.yaml"


def crd_of(kind: CustomResource) -> dict[str, Any]:
    """Return the CustomResourceDefinition (apiextensions.k8s.io/v1) of `kind` as JSON-ready data.

    Raises TypeError if the model has a field whose type has no schema.
    """
    resource = kind.resource
    names: dict[str, Any] = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.kind.lower(),
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "annotations": {"controller-gen.kubebuilder.io/version": GENERATOR_VERSION},
            "name": kind.crd_name,
        },
        "spec": {
            "group": resource.group,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [_version(kind)],
        },
    }


def _version(kind: CustomResource) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": kind.resource.version,
        "schema": {"openAPIV3Schema": _root_schema(kind.model)},
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
    }
    if kind.columns:
        version["additionalPrinterColumns"] = [column.wire() for column in kind.columns]
    if kind.selectable_fields:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable_fields]
    return version


def _root_schema(model: type[ApiModel]) -> dict[str, Any]:
    schema = object_schema(model)
    schema["properties"] |= {
        "apiVersion": {"description": _API_VERSION_WORDS, "type": "string"},
        "kind": {"description": _KIND_WORDS, "type": "string"},
    }
    return schema


def object_schema(model: type[ApiModel]) -> dict[str, Any]:
    """Return the schema of a model: its docstring's first paragraph, fields, required list and own extensions."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, info in model.model_fields.items():
        key = info.alias or name
        properties[key] = _field_schema(f"{model.__name__}.{name}", info, model.rule_of(name))
        if model.rule_of(name).required:
            required.append(key)
    schema: dict[str, Any] = {"type": "object", "properties": properties, **model.crd_extensions}
    if words := (model.__doc__ or "").partition("\n\n")[0]:
        schema["description"] = " ".join(words.split())
    if required:
        schema["required"] = sorted(required)
    return schema


def _field_schema(where: str, info: FieldInfo, rule: Rule) -> dict[str, Any]:
    schema = _type_schema(where, info.annotation) | rule.schema()
    if info.description:
        schema["description"] = info.description
    return schema


def _type_schema(where: str, annotation: Any) -> dict[str, Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_schema(where, arguments[0])
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not types.NoneType]
        if len(inner) == 1:
            return _type_schema(where, inner[0])
    elif origin is list:
        return {"type": "array", "items": _type_schema(where, arguments[0])}
    elif origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _type_schema(where, arguments[1])}
    elif annotation is ObjectMeta:
        return {"type": "object"}
    elif isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return object_schema(annotation)
    elif annotation in _SCALARS:
        return dict(_SCALARS[annotation])
    raise TypeError(
        f"cannot make a schema for {where}: {annotation!r} has none; use a type listed in kubernaut_api.crd"
    )


def sorted_keys(value: Any) -> Any:
    """Return `value` with the keys of every mapping in it sorted; lists keep their order."""
    if isinstance(value, Mapping):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [sorted_keys(item) for item in value]
    return value

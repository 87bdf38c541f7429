"""The JSON schema of a service's config file, from its pydantic model, so that helm refuses what the program would.

What the model says of one key is constrained: known keys, types, choices, ranges, durations, addresses. What several
keys say together (lease times that must follow each other, a fleet with its authentication) is the program's to check,
by `--check-config`. So is what only a program can tell of a text: the patterns are a little wider than it. They are
narrower in one thing: a word is refused with blanks around it.

A test sets each key of each service to values of all kinds and compares helm's judgement with the program's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from kubernaut_runtime.addresses import BindAddressText
from kubernaut_runtime.durations import Duration, PositiveDuration
from kubernaut_runtime.sections import HttpUrl, NonEmptyText

Schema = dict[str, Any]

_PARTS = "([0-9.]+(ns|us|µs|μs|ms|s|m|h))+$"
DURATION = {"type": "string", "pattern": f"^[+-]?{_PARTS}|^0$"}
"""A Go duration."""

_SPECIAL: tuple[tuple[Any, Schema], ...] = (
    (PositiveDuration, {"type": "string", "allOf": [{"pattern": rf"^\+?{_PARTS}"}, {"pattern": "[1-9]"}]}),
    (Duration, {"type": "string", "pattern": rf"^\+?{_PARTS}|^0$"}),
    # The chart takes an empty address for one that is not set.
    (HttpUrl, {"type": "string", "pattern": "(?i)^$|^https?://[^/?#@]+([/?#]|$)"}),
    (NonEmptyText, {"type": "string", "pattern": r"\S"}),
    (BindAddressText, {"type": "string", "pattern": "^0$|:[0-9]{1,5}$"}),
)
"""The runtime's types of text, and what helm can tell of them; by what each adds to `str` or `float`."""

_KEYWORDS = {Ge: ("minimum", "ge"), Gt: ("exclusiveMinimum", "gt"), Le: ("maximum", "le")}


def schema_of(model: type[BaseModel]) -> Schema:
    """Return the JSON schema of a section: its keys and no others, null in place of a section meaning "left out"."""
    properties = {
        field.validation_alias if isinstance(field.validation_alias, str) else name: _field(field)
        for name, field in model.model_fields.items()
    }
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _field(field: FieldInfo) -> Schema:
    return _annotated(field.annotation, tuple(field.metadata))


def _annotated(annotation: Any, metadata: tuple[Any, ...]) -> Schema:
    for kind, schema in _SPECIAL:
        if metadata == get_args(kind)[1:]:
            return dict(schema)
    if get_origin(annotation) is Literal and metadata:
        return {"type": "string", "pattern": _spellings(Annotated[annotation, *metadata], get_args(annotation))}
    if annotation is float:  # only durations are
        return dict(DURATION)
    limits = {}
    for item in metadata:
        if type(item) in _KEYWORDS:
            keyword, attribute = _KEYWORDS[type(item)]
            limits[keyword] = getattr(item, attribute)
    return _type(annotation) | limits


def _spellings(annotation: Any, choices: tuple[str, ...]) -> str:
    """Return the pattern of choices which the model takes in spellings of its own: in any case, and empty."""
    any_case = all(_taken(annotation, spelling) for each in choices for spelling in (each.lower(), each.upper()))
    empty = ("",) if _taken(annotation, "") else ()
    return f"{'(?i)' if any_case else ''}^({'|'.join((*choices, *empty))})$"


def _taken(annotation: Any, value: object) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def _type(annotation: Any) -> Schema:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return schema_of(annotation)
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is int:
        return {"type": "integer"}
    if annotation in (str, Path):
        return {"type": "string"}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    members = [member for member in arguments if member is not type(None)]
    if len(members) == 1 and type(None) in arguments:
        return _type(members[0])
    if origin in (list, tuple):
        return {"type": "array", "items": _type(arguments[0])}
    if origin is dict:
        return {"type": "object"}
    return {}

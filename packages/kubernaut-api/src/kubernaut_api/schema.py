"""What a model says about itself beyond its Python types: the rules that go into its CRD.

Two readers, two needs:

* The **API server** is the one judge of user input. It gets every enum, length, range and CEL rule, from
  `Rule` annotations, through the generator in `kubernaut_api.crd`.
* The **controllers** read objects that the API server has already accepted, maybe under a newer or older schema.
  A controller that cannot parse an object it was given can only get stuck on it. So the models check JSON types and
  nothing else, and keep fields that they do not know.

`ApiModel` reads generously (every field optional, unknown fields kept) and writes exactly: what Go's `omitempty` leaves
out is left out here too, so that an object that passed through a model differs from the stored one in nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
)
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Rule:
    """OpenAPI constraints of one field; put it into `Annotated[...]`. Unset members add nothing to the schema.

    `required` also makes the field be written when it is empty, as a Go field without `omitempty` is.
    `default` is filled in by the API server, never by the model: a client must send nothing to get it.
    """

    required: bool = False
    enum: tuple[str, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    format: str | None = None
    default: str | int | None = None

    def schema(self) -> dict[str, Any]:
        """Return the OpenAPI members of this rule (`required` belongs to the parent object and is not among them)."""
        members: dict[str, Any] = {
            "enum": list(self.enum) or None,
            "minLength": self.min_length,
            "maxLength": self.max_length,
            "pattern": self.pattern,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "format": self.format,
            "default": self.default,
        }
        return {name: value for name, value in members.items() if value is not None}


INT32 = Rule(format="int32")
INT64 = Rule(format="int64")


def format_time(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC: seconds when it is whole seconds (as metav1.Time writes), else microseconds.

    A naive `moment` is taken as UTC.
    """
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


_TAKEN = re.compile(
    r"(?P<second>(?P<year>\d{4})-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:.(?P<fraction>\d+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))(?:[Tt].*)?",
    re.ASCII | re.DOTALL,
)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _read_time(value: Any, read: ValidatorFunctionWrapHandler) -> datetime:
    """Read every time that the API server takes, as UTC.

    It takes times with an offset of more than a day, in the year 0, and before the first or behind the last moment that
    Python has, which become that moment; any character for the point before a fraction, and anything behind a second
    `T`. An object that cannot be read could not be ended.
    """
    try:
        moment: datetime = read(value)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValidationError, OverflowError):
        found = _TAKEN.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise
    if found["year"] == "0000":
        return _FIRST
    fraction = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    local = datetime.fromisoformat(found["second"]).replace(microsecond=fraction, tzinfo=UTC)
    offset = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    try:
        return local + offset if found["sign"] == "-" else local - offset
    except OverflowError:
        return _LAST if found["sign"] == "-" else _FIRST


Time = Annotated[datetime, WrapValidator(_read_time), PlainSerializer(format_time, return_type=str)]


_MAY_BE_EMPTY = (str, list, dict, int, float)
"""What `omitempty` knows an empty value of, beside null; bool is an int."""


class ApiModel(BaseModel):
    """Base of every API model: camelCase on the wire, snake_case in Python, unknown fields kept.

    `crd_extensions` are members added to the object's own schema (map type, CEL validations).
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")

    crd_extensions: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def rule_of(cls, field: str) -> Rule:
        """Return the `Rule` of a field, or an empty one."""
        rules = [item for item in cls.model_fields[field].metadata if isinstance(item, Rule)]
        return rules[-1] if rules else Rule()

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for name, alias, required in _fields(type(self)):
            value = getattr(self, name)
            if isinstance(value, ApiModel):
                # A default block that nobody filled was never on the wire; `retryPolicy: {}` was, and means something.
                left_out = name not in self.model_fields_set and not value.model_fields_set
            else:
                left_out = not required and (value is None or (not value and isinstance(value, _MAY_BE_EMPTY)))
            if left_out:
                written.pop(alias, None)
                written.pop(name, None)
        return written

    def to_wire(self) -> dict[str, Any]:
        """Return the object as JSON-ready data: camelCase keys, RFC 3339 times, empty optional fields left out."""
        return self.model_dump(mode="json", by_alias=True)


@cache
def _fields(model: type[ApiModel]) -> tuple[tuple[str, str, bool], ...]:
    """Name, alias and whether it is required, of each field; asked for each object that is written."""
    return tuple((name, info.alias or name, model.rule_of(name).required) for name, info in model.model_fields.items())

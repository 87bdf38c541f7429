"""What the two sides of the pipe say to each other: lines of JSON, one object a line.

    operator                                          worker
    ---------                                         ------
                                                      {"ready": "regopy", "memory": 536870912}
    {"do": "load", "hash": h, "source": s, "text": t,
     "queries": [...], "alarm": 12.0}                 {"ok": true}  or  {"problems": [[message, line, column], ...]}
    {"do": "evaluate", "hash": h, "queries": {...},
     "alarm": 6.0}
    <the input, a JSON document on a line of its own> {"answers": {name: {"value": v} | {"undefined": true} |
                                                                     {"failure": message}}}

A worker that cannot do what it is told says `{"error": message}`. Anything else that happens to it ends the stream.
No code and no pickled object ever crosses; the input crosses as the text that the engine reads, unchanged.
"""

from __future__ import annotations

import json
from typing import Any

from kubernaut_policy.errors import PolicyInputError
from kubernaut_policy.policy import Answer, Failure, JsonValue, Undefined, Value

__all__ = ["MAX_LINE", "answer_from_wire", "answer_to_wire", "document", "line"]

MAX_LINE = 16 * 1024 * 1024
"""Longest line in bytes, either way. An etcd object is at most 1.5 MiB."""


def line(message: dict[str, Any]) -> bytes:
    """A message as it goes over the pipe."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def document(value: JsonValue) -> bytes:
    """An input as the line that carries it.

    Raises PolicyInputError for what JSON does not know (NaN, a set, a key that is no string, half a surrogate pair),
    instead of a policy that sees something else than was meant.
    """
    try:
        _only_json(value, "input")
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PolicyInputError(f"cannot give the input to the policy: {error}") from None
    if len(encoded) >= MAX_LINE:
        raise PolicyInputError(f"cannot give the input to the policy: {len(encoded)} bytes are more than {MAX_LINE}")
    return encoded + b"\n"


def _only_json(value: JsonValue, path: str) -> None:
    # json.dumps would turn the keys 1, True and None into strings, and a tuple into a list, without a word.
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of {path} is {key!r}, which is no string")
            _only_json(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _only_json(item, f"{path}[{index}]")
    elif value is not None and not isinstance(value, (str, bool, int, float)):
        raise TypeError(f"{path} is a {type(value).__name__}, which JSON does not know")


def answer_to_wire(answer: Answer) -> dict[str, Any]:
    """An answer as the object that carries it."""
    if isinstance(answer, Value):
        return {"value": answer.value}
    return {"undefined": True} if isinstance(answer, Undefined) else {"failure": answer.message}


def answer_from_wire(wire: dict[str, Any]) -> Answer:
    """The answer that an object carries."""
    if "value" in wire:
        return Value(wire["value"])
    return Undefined() if "undefined" in wire else Failure(str(wire["failure"]))

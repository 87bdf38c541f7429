"""A policy's text with its identity, and what a query over it can answer.

The hash is the lower-case hex SHA-256 of the raw bytes of the file, so that `sha256sum policy.rego` and the
`policyHash` in a status agree.

An answer is one of three, and no caller can take one for another: a value (which may be `null` or `false`), undefined
(no rule gave a value), or a failure (the engine could not evaluate: two rules disagree, a built-in refused).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubernaut_policy.errors import PolicyCompileError, Problem

__all__ = ["Answer", "Failure", "JsonValue", "Policy", "Results", "Undefined", "Value"]

JsonValue = Any
"""What `json.loads` gives: None, bool, int, float, str, list, dict with str keys."""


@dataclass(frozen=True)
class Policy:
    """One version of one policy.

    Attributes:
        text: Rego v1, one module with a `package` line.
        source: what errors call it, such as a file's name.
        hash: SHA-256 of the bytes, 64 lower-case hex digits.
    """

    text: str
    source: str = "policy.rego"
    hash: str = field(default="")

    def __post_init__(self) -> None:
        if not self.hash:
            object.__setattr__(self, "hash", hashlib.sha256(self.text.encode()).hexdigest())

    @classmethod
    def from_bytes(cls, content: bytes, source: str = "policy.rego") -> Policy:
        """The policy that a file holds. Raises PolicyCompileError if it is not UTF-8.

        A byte order mark is no part of the text, as for OPA, and one of the bytes that are hashed.
        """
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise PolicyCompileError(source, [Problem("the file is not UTF-8; save it as UTF-8", line)]) from None
        return cls(text.removeprefix("\ufeff"), source, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Value:
    """The query has a value. Sets come as lists in the order of their values, object keys as strings."""

    value: JsonValue


@dataclass(frozen=True)
class Undefined:
    """No rule gave a value."""


@dataclass(frozen=True)
class Failure:
    """The engine could not evaluate the query; `message` is its own word on it, one line."""

    message: str


Answer = Value | Undefined | Failure
"""What one query gave."""


@dataclass(frozen=True)
class Results(Mapping[str, Answer]):
    """The answers of one call by the caller's names, all from the policy with this `hash`."""

    hash: str
    answers: Mapping[str, Answer]

    def __getitem__(self, name: str) -> Answer:
        return self.answers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

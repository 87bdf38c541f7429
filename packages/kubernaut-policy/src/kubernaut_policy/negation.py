"""`not` as OPA evaluates it, for engines that read it otherwise.

To OPA `not startswith(input.name, "a")` says nothing about an input without a name: what an expression under `not` is
made of is evaluated before it, outside of the `not`, and if a part of it is undefined, so is the whole. regopy and
regorus evaluate all of it under the `not`, where undefined turns into true. So a rule would hold for exactly the inputs
that its author did not think of, and only here.

The text is changed so that the engines see OPA's order:

    not startswith(input.name, "a")    becomes    [1 | [input.name]; not startswith(input.name, "a")] == [1]

What is evaluated first is, as in OPA's compiler:

| under `not` | first |
|---|---|
| `input.a.b`, `rule` | nothing: this is how one asks whether something is there |
| `table[x]`, `input.a[x.y]` | what is between brackets |
| `f(x, y)`, and with operators but `==` and `=`: `x > y`, `x in y` | each `x` and `y` |
| `x == y`, `x = y` | calls, operators and literals among `x` and `y`; what is between their brackets |

No line of the text moves, so that messages of engines name the right one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from kubernaut_policy.syntax import tokens

__all__ = ["as_opa"]

# Lowest first: what splits an expression is the last operator of the lowest level in it.
_LEVELS = (("=", ":="), ("in",), ("==", "!=", "<", "<=", ">", ">="), ("|",), ("&",), ("+", "-"), ("*", "/", "%"))
_LEVEL = {operator: level for level, operators in enumerate(_LEVELS) for operator in operators}
_EQUALS = ("==", "=")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_NO_TERM = frozenset({"not", "some", "every", "with", "as", "if", "else", "in", "default"})
_LAYOUT = re.compile(r'("(?:[^"\\\n]|\\.)*"|`[^`]*`)|#[^\n]*|\s+')


def as_opa(text: str) -> str:
    """The same policy with each `not` written out as OPA evaluates it; a text without such a `not` is unchanged."""
    return _Text(text).rendered()


@dataclass(frozen=True)
class _Term:
    """A term from token `first` to before `end`.

    `kind` is scalar, name, ref, call, literal or group; `parts` are the token ranges between its brackets that are no
    plain scalars, `arguments` those of a call that nothing follows.
    """

    kind: str
    first: int
    end: int
    parts: tuple[tuple[int, int], ...] = ()
    arguments: tuple[tuple[int, int], ...] = ()


class _UnreadableError(Exception):
    """Not an expression as this module knows them: it is left as it is, for the engine to judge."""


class _Text:
    """A policy's text and its tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(tokens(text))
        self._starts = [token.start for token in self._tokens]
        self._global = {"input", "data", *self._begins_of_lines_and_imports()}

    def _begins_of_lines_and_imports(self) -> Iterator[str]:
        line, before = 0, ""
        for token in self._tokens:
            if token.line > line or before in ("default", ".", "as"):
                yield token.text
            line, before = token.line, token.text

    def rendered(self) -> str:
        return self._render(0, len(self._text))

    def _render(self, begin: int, end: int) -> str:
        """The text between two offsets, each `not` in it written out."""
        out, at = [], begin
        for index in range(bisect_left(self._starts, begin), bisect_left(self._starts, end)):
            token = self._tokens[index]
            if token.text != "not" or token.start < at or self._follows_dot(index):
                continue
            try:
                last = self._expression(index + 1)
                first = self._before(index + 1, last)
            except (_UnreadableError, IndexError):
                continue
            if first:
                stop = self._tokens[last - 1].end
                inner = self._render(token.end, stop)
                out += [self._text[at : token.start], f"[1 | [{', '.join(first)}]; not{inner}] == [1]"]
                at = stop
        return "".join([*out, self._text[at:end]])

    def _follows_dot(self, index: int) -> bool:
        return index > 0 and self._tokens[index - 1].text == "." and self._touches(index)

    def _touches(self, index: int) -> bool:
        return self._tokens[index - 1].end == self._tokens[index].start

    # What is where ------------------------------------------------------------------------------------------

    def _expression(self, at: int) -> int:
        """The token behind the expression that begins at token `at`."""
        at = self._term(at).end
        while at < len(self._tokens) and self._tokens[at].text in _LEVEL:
            at = self._term(at + 1).end
        return at

    def _term(self, at: int) -> _Term:
        first, token = at, self._tokens[at]
        if token.text == "-":
            return _Term("scalar", first, self._term(at + 1).end)
        if token.text in _CLOSING:
            kind, at = "group" if token.text == "(" else "literal", self._closed(at)
        elif token.kind in ("string", "raw", "number") or token.text in ("true", "false", "null"):
            return _Term("scalar", first, at + 1)
        elif token.kind == "name" and token.text not in _NO_TERM:
            kind, at = "name", at + 1
        else:
            raise _UnreadableError
        parts: list[tuple[int, int]] = []
        arguments: tuple[tuple[int, int], ...] = ()
        while at < len(self._tokens) and self._tokens[at].text in (".", "[", "(") and self._touches(at):
            if kind in ("call", "literal", "group"):  # something follows: it is a part, as what is between brackets
                parts.append((first, at))
                arguments = ()
            if self._tokens[at].text == ".":
                kind, at = "ref", at + 2
                continue
            inside, at, opened = at + 1, self._closed(at), self._tokens[at].text
            if opened == "(":
                kind, arguments = "call", tuple(self._listed(inside, at - 1))
            else:
                kind = "ref"
                parts.append((inside, at - 1))
        return _Term(kind, first, at, tuple(parts), arguments)

    def _closed(self, at: int) -> int:
        """The token behind the bracket that closes the one at token `at`."""
        wanted = [_CLOSING[self._tokens[at].text]]
        while wanted:
            at += 1
            text = self._tokens[at].text
            if text in _CLOSING:
                wanted.append(_CLOSING[text])
            elif text == wanted[-1]:
                wanted.pop()
            elif text in _CLOSING.values():
                raise _UnreadableError
        return at + 1

    def _listed(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The token ranges between commas."""
        first = at = begin
        while at < end:
            if self._tokens[at].text == ",":
                yield first, at
                first = at + 1
            at = self._closed(at) if self._tokens[at].text in _CLOSING else at + 1
        if first < end:
            yield first, end

    # What goes first ----------------------------------------------------------------------------------------

    def _before(self, begin: int, end: int) -> list[str]:
        """What OPA evaluates before the expression between two tokens, without what is always defined."""
        split = self._split(begin, end)
        if split is None:
            term = self._term(begin)
            if term.kind == "group":
                return self._before(begin + 1, end - 1)
            found = [*term.parts, *term.arguments] if term.kind != "literal" else [(begin, end), *term.parts]
        elif self._tokens[split].text in _EQUALS:
            found = [part for side in ((begin, split), (split + 1, end)) for part in self._of_equal(*side)]
        else:
            found = [(begin, split), (split + 1, end)]
        texts = (self._one_line(*part) for part in found if not self._always_defined(*part))
        return list(dict.fromkeys(texts))

    def _of_equal(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        term = self._term(begin)
        if term.end != end or term.kind in ("call", "literal"):
            yield begin, end
        elif term.kind == "group":
            yield from self._of_equal(begin + 1, end - 1)
        else:
            yield from term.parts

    def _split(self, begin: int, end: int) -> int | None:
        """The operator that an expression is split by."""
        found: int | None = None
        at = self._term(begin).end
        while at < end:
            if found is None or _LEVEL[self._tokens[at].text] <= _LEVEL[self._tokens[found].text]:
                found = at
            at = self._term(at + 1).end
        return found

    def _always_defined(self, begin: int, end: int) -> bool:
        term = self._term(begin)
        return term.end == end and (term.kind == "scalar" or (term.kind == "name" and self._is_local(begin)))

    def _is_local(self, at: int) -> bool:
        """Whether a name is for certain a variable of its rule: no line begins with it, and it is not imported."""
        return self._tokens[at].text not in self._global

    def _one_line(self, begin: int, end: int) -> str:
        rendered = self._render(self._tokens[begin].start, self._tokens[end - 1].end)
        return _LAYOUT.sub(lambda match: match.group(1) or " ", rendered)

"""What is read from a policy's text itself, before any engine sees it.

Not a parser: a scanner for tokens, and a few rules over them that each engine forgets in another way, so that a policy
which is accepted here is one that OPA accepts:

* the module begins with `package` (regopy takes a text without one, and then nothing is ever defined);
* rule bodies follow `if` (regopy still takes Rego v0, where `if` is left out);
* no built-in reaches out of the process: `http.send`, `net.lookup_ip_addr` and `opa.runtime` would tie an object's
  classification to a network and show the operator's environment to whoever may write a policy.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubernaut_policy.errors import Problem

__all__ = [
    "FORBIDDEN",
    "Token",
    "check",
    "input_paths",
    "led_elsewhere",
    "may_define",
    "package_of",
    "plain_escapes",
    "tokens",
]

FORBIDDEN = frozenset({"http.send", "net.lookup_ip_addr", "opa.runtime"})
"""Built-ins that no policy may call."""

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<comment>\#[^\n]*)
      | (?P<raw>`[^`]*`)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<punct>:=|==|!=|<=|>=|.)""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE_BODY = frozenset({"if", "else", "in", "or", "default", "contains", "some", "every", "not", "with", "as"})
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|.)", re.DOTALL)


@dataclass(frozen=True)
class Token:
    """One token: its kind (name, string, raw, number, punct), its text, and where it is: from 1, and as an offset."""

    kind: str
    text: str
    line: int
    column: int
    start: int = 0

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + len(self.text)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a Rego module, without spaces and comments. Never raises: what is no token is a `punct`."""
    line, begin = 1, 0
    for match in _TOKEN.finditer(text):
        kind, found = match.lastgroup or "", match.group()
        if kind not in ("space", "comment"):
            yield Token(kind, found, line, match.start() - begin + 1, match.start())
        if breaks := found.count("\n"):
            line += breaks
            begin = match.start() + found.rindex("\n") + 1


def check(text: str) -> list[Problem]:
    """What is wrong with a text by this module's rules; empty = nothing."""
    found = list(tokens(text))
    if not found or found[0].text != "package":
        line, column = (found[0].line, found[0].column) if found else (1, 1)
        return [
            Problem("the policy does not begin with a package; write `package <name>` on its first line", line, column)
        ]
    return [*_bodies_without_if(found), *_forbidden_calls(found)]


def _bodies_without_if(found: list[Token]) -> Iterator[Problem]:
    depth, every = 0, False
    for before, token in itertools.pairwise(found):
        if token.text == "every":
            every = True
        if token.text in ("{", "[", "("):
            if token.text == "{" and depth == 0 and not every and _ends_a_head(before):
                yield Problem(
                    "a rule body without `if` is Rego v0; write `if {` (`opa fmt --rego-v1` rewrites a file)",
                    token.line,
                    token.column,
                )
            every = every and token.text != "{"
            depth += 1
        elif token.text in ("}", "]", ")"):
            depth = max(0, depth - 1)


def _ends_a_head(token: Token) -> bool:
    if token.kind == "name":
        return token.text not in _BEFORE_BODY - {"else"}
    return token.kind in ("string", "raw", "number") or token.text in (")", "]")


def _forbidden_calls(found: list[Token]) -> Iterator[Problem]:
    for start in range(len(found)):
        names = _dotted(found, start)
        if ".".join(names) not in FORBIDDEN:
            continue
        behind = found[start + 2 * len(names) - 1 :][:1]
        # `with f as opa.runtime` calls it under another name.
        if (behind and behind[0].text == "(") or (start and found[start - 1].text == "as"):
            yield Problem(
                f"{'.'.join(names)} is not available to policies; put what it asks for into the input instead",
                found[start].line,
                found[start].column,
            )


def _dotted(found: list[Token], start: int) -> list[str]:
    """The names of `a.b.c` that begins at `start`; empty inside of another such chain."""
    if found[start].kind != "name" or (start and found[start - 1].text == "."):
        return []
    names, at = [found[start].text], start + 1
    while at + 1 < len(found) and found[at].text == "." and found[at + 1].kind == "name":
        names.append(found[at + 1].text)
        at += 2
    return names


def package_of(text: str) -> str:
    """The package that a policy names, such as `shop.prices`; empty if it names none."""
    found = list(tokens(text))
    return ".".join(_dotted(found, 1)) if len(found) > 1 and found[0].text == "package" else ""


def may_define(text: str, rule: str) -> bool:
    """Whether a policy may have a rule of this name.

    False is certain, True is not: a name outside of all brackets that begins a line, or stands where only a head does,
    counts as one. A text whose brackets do not match may define anything; to refuse it is the engine's.
    """
    depth, line, heads = 0, 0, False
    found = list(tokens(text))
    for at, token in enumerate(found):
        before, after = (found[at - 1].text if at else ""), (found[at + 1].text if at + 1 < len(found) else "")
        if token.kind == "name" and token.text == rule and before != ".":
            begins = depth == 0 and token.line != line
            heads |= begins or before == "default" or after in (":=", "=", "if", "contains")
        depth += (token.text in ("{", "[", "(")) - (token.text in ("}", "]", ")"))
        line = token.line
    return heads or depth != 0


def input_paths(text: str) -> set[tuple[str, ...]]:
    """Which parts of the input a policy can look at: the fixed beginning of each `input...` reference.

    `input.a["b"].c[x]` gives `("a", "b", "c")`; everything below such a path counts as read.
    """
    found, paths = list(tokens(text)), set()
    for start, token in enumerate(found):
        if token.kind != "name" or token.text != "input" or (start and found[start - 1].text == "."):
            continue
        path, at = [], start + 1
        while at + 1 < len(found):
            if found[at].text == "." and found[at + 1].kind == "name":
                path.append(found[at + 1].text)
                at += 2
            elif (
                found[at].text == "["
                and found[at + 1].kind == "string"
                and found[at + 2 :][:1]
                and found[at + 2].text == "]"
            ):
                path.append(str(json.loads(found[at + 1].text)))
                at += 3
            else:
                break
        paths.add(tuple(path))
    return paths


def plain_escapes(text: str) -> str:
    """The same policy with each string literal spelled as `json.dumps(..., ensure_ascii=False)` spells it.

    regopy compares strings as they are spelled: `"\\u00e9"` in a policy would not equal an input's `é`.
    """
    out, at = [], 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "string":
            out += [text[at : match.start()], '"', _ESCAPE.sub(_plain, match.group()[1:-1]), '"']
            at = match.end()
    return "".join([*out, text[at:]])


def led_elsewhere(text: str, names: Mapping[str, str]) -> str:
    """The same policy with each call of a built-in that is a key of `names` written as a call of its value.

    Names that the policy defines itself (a head at the begin of a line) are left alone.
    """
    own = {name for name in names if re.search(rf"^(?:default\s+)?{name}\b", text, re.MULTILINE)}
    matches = [match for match in _TOKEN.finditer(text) if match.lastgroup not in ("space", "comment")]
    out, at = [], 0
    for before, match, after in zip([None, *matches], matches, matches[1:], strict=False):
        called = after.group() == "(" and (before is None or before.group() != ".")
        if called and match.group() in names and match.group() not in own:
            out += [text[at : match.start()], names[match.group()]]
            at = match.end()
    return "".join([*out, text[at:]])


def _plain(match: re.Match[str]) -> str:
    try:
        text = json.loads(f'"{match.group()}"')
    except ValueError:
        return match.group()  # no escape of JSON's: the engine has its say
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # half a pair, as OPA takes it
    return json.dumps(whole, ensure_ascii=False)[1:-1]

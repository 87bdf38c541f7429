"""Secrets out of texts: 27 classes, applied in order, each replaced by `[REDACTED]` (BR-NOT-058).

The order and the result shapes are the contract. Within it these patterns are stricter than the live ones where those
let part of a secret through (a quoted password with a blank in it, `Authorization: Basic ...`, an unterminated key
block), and narrower where those hit ordinary words: `sk-` only counts at the start of a word ("disk-pressure" is no
key), and four numbers with dots are no address after "version" or a letter.

Every pattern works in time linear in the text: bodies come from users and language models, and a body that takes
minutes to redact would stop all notifications. So nothing here can start a long match at every position: runs begin
behind a look-behind, and an unclosed quote or block matches to the end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import unescape
from urllib.parse import quote, unquote

PLACEHOLDER = "[REDACTED]"

_JSON_STRING = r'"(?:[^"\\]|\\.)*(?:"|\Z)'
_PLAIN_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|["']?[^\s"',}]+["']?)"""


@dataclass(frozen=True, slots=True)
class RedactionClass:
    """One class: its number in the contract, a name, the pattern, what replaces a match.

    `hints` are lower-case texts one of which every match contains; a text without any of them is not searched.
    """

    number: int
    name: str
    pattern: re.Pattern[str]
    replacement: str
    hints: tuple[str, ...] = ()

    def apply(self, text: str) -> str:
        """Return `text` with every match replaced."""
        return self.pattern.sub(self.replacement, text)


def _json(number: int, name: str, keys: str, hints: tuple[str, ...]) -> RedactionClass:
    pattern = re.compile(rf'("(?:{keys})"\s{{0,64}}:\s{{0,64}}){_JSON_STRING}', re.IGNORECASE | re.DOTALL)
    return RedactionClass(number, name, pattern, rf'\1"{PLACEHOLDER}"', hints)


def _plain(number: int, name: str, keys: str, hints: tuple[str, ...]) -> RedactionClass:
    pattern = re.compile(rf"({keys})\s{{0,64}}[:=]\s{{0,64}}{_PLAIN_VALUE}", re.IGNORECASE)
    return RedactionClass(number, name, pattern, rf"\1: {PLACEHOLDER}", hints)


def _database(number: int, name: str, scheme: str) -> RedactionClass:
    pattern = re.compile(rf"({scheme}://[^:/\s@]*):[^\s@]+(?:@[^\s/@]+)*@")
    return RedactionClass(number, name, pattern, rf"\1:{PLACEHOLDER}@", ("://",))


def _block(number: int, name: str, label: str) -> RedactionClass:
    pattern = re.compile(rf"-----BEGIN {label}-----.*?(?:-----END {label}-----|\Z)", re.DOTALL)
    return RedactionClass(number, name, pattern, PLACEHOLDER, ("-----begin ",))


def _generator(number: int) -> RedactionClass:
    pattern = re.compile(rf'"generatorURL?"\s{{0,64}}:\s{{0,64}}{_JSON_STRING}', re.IGNORECASE | re.DOTALL)
    return RedactionClass(number, "generator-url", pattern, f'"generatorURL":"{PLACEHOLDER}"', ("generatorur",))


def _annotations(number: int) -> RedactionClass:
    pattern = re.compile(r'"annotations"\s{0,64}:\s{0,64}\{[^}]*(?:\}|\Z)', re.IGNORECASE)
    return RedactionClass(number, "annotations", pattern, f'"annotations":{PLACEHOLDER}', ("annotations",))


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_KEYS_OF_3 = r"password|passwd|pwd"
_KEYS_OF_11 = r"(?:access|refresh|id|auth|session)[_-]token|token"

CLASSES: tuple[RedactionClass, ...] = (
    _generator(1),
    _annotations(2),
    _json(3, "password-json", _KEYS_OF_3, ("passw", "pwd")),
    _plain(4, "password", _KEYS_OF_3, ("passw", "pwd")),
    RedactionClass(
        5,
        "url-userinfo",
        re.compile(r"://([^:/\s@]+):[^\s/@]+(?:@[^\s/@]+)*@"),
        rf"://\1:{PLACEHOLDER}@",
        ("://",),
    ),
    _json(6, "api-key-json", r"api[_-]?key", ("api",)),
    _plain(7, "api-key", r"api[_-]?key", ("api",)),
    RedactionClass(8, "sk-key", re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{4,}"), PLACEHOLDER, ("sk-",)),
    RedactionClass(
        9,
        "bearer",
        re.compile(r"\bbearer\s{1,64}[A-Za-z0-9._~+/=-]+", re.IGNORECASE),
        f"Bearer {PLACEHOLDER}",
        ("bearer",),
    ),
    RedactionClass(10, "github-token", re.compile(r"ghp_[A-Za-z0-9]{36,}"), PLACEHOLDER, ("ghp_",)),
    _json(11, "token-json", _KEYS_OF_11, ("token",)),
    _plain(12, "token", rf"\b(?:{_KEYS_OF_11})\b", ("token",)),
    _json(13, "secret-json", r"client_secret|secret", ("secret",)),
    _plain(14, "secret", r"\b(?:client_secret|secret)\b", ("secret",)),
    RedactionClass(
        15,
        "authorization",
        # A scheme other than Bearer stands before the credential; both words go.
        re.compile(
            r"\b(authorization)\s{0,64}:\s{0,64}(?:(?:basic|digest|negotiate|apikey|token)\s{1,64})?\S+", re.IGNORECASE
        ),
        rf"\1: {PLACEHOLDER}",
        ("authorization",),
    ),
    RedactionClass(
        16,
        "aws-access-key",
        re.compile(
            r"""(aws_access_key(?:_id)?)["']?\s{0,64}[:=]\s{0,64}["']?[A-Za-z0-9]{20}(?![A-Za-z0-9])["']?""",
            re.IGNORECASE,
        ),
        rf"\1={PLACEHOLDER}",
        ("aws_access_key",),
    ),
    RedactionClass(
        17,
        "aws-secret-key",
        re.compile(
            r"""(aws_secret(?:_access)?_key)["']?\s{0,64}[:=]\s{0,64}["']?[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])["']?""",
            re.IGNORECASE,
        ),
        rf"\1={PLACEHOLDER}",
        ("aws_secret",),
    ),
    _database(18, "postgresql-url", r"postgres(?:ql)?"),
    _database(19, "mysql-url", "mysql"),
    _database(20, "mongodb-url", r"mongodb(?:\+srv)?"),
    _database(21, "redis-url", "rediss?"),
    _block(22, "certificate", "CERTIFICATE"),
    _block(23, "private-key", r"(?:RSA |EC |DSA |OPENSSH |ENCRYPTED )?PRIVATE KEY"),
    RedactionClass(
        24,
        "secret-line",
        re.compile(
            r"^[ \t]*(username|password|token|key|secret|credential)[ \t]*:[ \t]*[A-Za-z0-9+/]{8,}={0,2}[ \t]*$",
            re.MULTILINE,
        ),
        rf"  \1: {PLACEHOLDER}",
        ("username", "password", "token", "key", "secret", "credential"),
    ),
    _generator(25),
    _annotations(26),
    RedactionClass(
        27,
        "email",
        re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}"),
        PLACEHOLDER,
        ("@",),
    ),
    RedactionClass(
        28,
        "ipv4",
        re.compile(
            rf"(?<![\w.])(?<!version )(?<!Version )(?<!version: )(?<!release ){_OCTET}(?:\.{_OCTET}){{3}}"
            r"(?![0-9])(?!\.[0-9])(?!-[A-Za-z])"
        ),
        PLACEHOLDER,
        (".",),
    ),
)
"""All classes, in the order in which they are applied; the first two are applied twice, as in the contract."""

_NOT_IN_LINKS = frozenset({27, 28})
_SHORTEST_PART = 4
_ESCAPE = re.compile(r"\\(?:u00([2-7][0-9a-fA-F])|/)")


def redact(text: str) -> str:
    """Return `text` with everything that looks like a secret replaced; a text without secrets comes back unchanged."""
    return _apply(text, frozenset())


def redact_link(url: str) -> str:
    """Return a link without credentials but with its host: a link to an address must still lead there."""
    return _apply(url, _NOT_IN_LINKS)


_SECRET_KEY = re.compile(rf".*(?:{_KEYS_OF_3}|api[_-]?key|{_KEYS_OF_11}|client_secret|secret)", re.IGNORECASE)


def redact_value(key: str, value: str) -> str:
    """Return the `value` that stands under `key` in a map: the key may be what tells that the value is a secret.

    As in a JSON text, `{"password": "x"}` gives its value away by its key alone; nothing in `x` would.
    """
    return PLACEHOLDER if value and _SECRET_KEY.fullmatch(key) else redact(value)


def without_secrets(text: str, secrets: Iterable[str], *, cut_off: bool = False) -> str:
    """Return `text`, which came from a receiver, without the `secrets` that were used to talk to it.

    Receivers quote what they got as JSON, in HTML or percent-encoded: escapes are undone, encoded forms are found. A
    text that was `cut_off` may end in the middle of a secret; such an end goes too.
    """
    forms = {form for secret in secrets if secret for form in (secret, unquote(secret), quote(secret, safe=""))}
    known = sorted(forms, key=len, reverse=True)
    text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else "/", unescape(text))
    if known:
        text = re.sub("|".join(map(re.escape, known)), PLACEHOLDER, text, flags=re.IGNORECASE)
    for secret in known if cut_off else ():
        for length in range(min(len(secret) - 1, len(text)), _SHORTEST_PART - 1, -1):
            if text.endswith(secret[:length]):
                text = text[:-length] + PLACEHOLDER
                break
    return text


def _apply(text: str, left_out: frozenset[int]) -> str:
    lowered = text.lower()
    for entry in CLASSES:
        if entry.number not in left_out and any(hint in lowered for hint in entry.hints):
            text = entry.apply(text)
    return text

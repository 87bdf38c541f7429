"""Text from outside, made safe to store, log and send.

Answers of other services, exceptions and users' texts end up in status fields, JSON lines and other people's APIs.
Three things can go wrong with them everywhere, so they are handled once: control characters (they forge log lines),
lone surrogates (they are not UTF-8), and length.
"""

from __future__ import annotations

import re

ELLIPSIS = "…"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def cut(text: str, limit: int, marker: str = ELLIPSIS) -> str:
    """Return `text` with at most `limit` code points; when shortened, it ends with `marker` (counted in)."""
    if len(text) <= limit:
        return text
    return text[: max(0, limit - len(marker))] + marker[:limit]


def encodable(text: str) -> str:
    """Return `text` with lone surrogates replaced, so that it can be written as UTF-8."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Return `text` on one line: each run of control characters and line ends becomes one blank."""
    return encodable(_CONTROL.sub(" ", text)).strip()

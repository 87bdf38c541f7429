"""Placeholders: `<name>` in a source, replaced by a service's word. PromQL and Grafana have nothing of that form."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"<([A-Za-z_]+)>")


def filled_in(text: str, words: Mapping[str, str], source: str) -> str:
    """Return `text` with its placeholders replaced. Raises ValueError, which names `source`, for an unknown one."""
    unknown = sorted({name for name in _PLACEHOLDER.findall(text) if name not in words})
    if unknown:
        raise ValueError(f"cannot use {source}: nobody says what <{unknown[0]}> stands for; add it to services.py")
    return _PLACEHOLDER.sub(lambda match: words[match[1]], text)

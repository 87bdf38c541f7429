"""JSON payloads: their bytes on the wire, and texts made shorter until those bytes fit a receiver's limit.

PagerDuty and Teams refuse a request above a number of *bytes*, while a text may only be cut between code points, and
one code point is one to four bytes of UTF-8, or up to six where JSON escapes it. So sizes are always those of the
encoded text, by the same function that makes what is sent; a limit that was checked is a limit that holds.
"""

from __future__ import annotations

import json
from typing import Any

from kubernaut_runtime.text import encodable


def to_json(payload: Any) -> bytes:
    """Return `payload` as compact UTF-8 JSON; lone surrogates, which are not UTF-8, are replaced."""
    return encodable(json.dumps(payload, ensure_ascii=False, separators=(",", ":"))).encode()


def json_size(text: str) -> int:
    """Return the bytes that `text` takes inside a JSON string, quotes not counted."""
    return len(to_json(text)) - 2


def shortened(text: str, excess: int, marker: str) -> str:
    """Return `text` with at least `excess` bytes less on the wire: cut on a code point, with `marker` at its end.

    Where too little would be left, only the marker is; a text that is no longer than the marker comes back as it is.
    """
    kept = text.removesuffix(marker)  # a text that is cut again is marked once
    room = json_size(text) - excess - json_size(marker)
    low, high = 0, len(kept)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if json_size(kept[:middle]) <= room else (low, middle - 1)
    short = kept[:low] + marker
    return short if json_size(short) < json_size(text) else text

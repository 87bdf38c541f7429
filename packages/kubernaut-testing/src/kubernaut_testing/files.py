"""Files that change under a program that follows them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: Path, content: str | bytes) -> None:
    """Put new content in place in one step, as kubelet does: a write in place may be seen half-way.

    What it is written to first has two points before its name, as kubelet's own files have, which followers of a folder
    leave out.
    """
    fresh = path.with_name(f"..{path.name}.new")
    fresh.write_bytes(content if isinstance(content, bytes) else content.encode())
    fresh.replace(path)

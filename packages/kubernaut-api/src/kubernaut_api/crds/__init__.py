"""The generated CRDs, as YAML files beside this module, and how they are made and kept true.

`python -m kubernaut_api.crds` writes them, `--check` compares: a model changed without its CRD is a difference that
the check prints and fails on.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from kubernaut_api.crd import CustomResource, crd_of, sorted_keys
from kubernaut_api.resources import KINDS

FOLDER = Path(__file__).parent


def render(kind: CustomResource) -> str:
    """Return the YAML text of the CRD of `kind`; the same models always give the same bytes."""
    text: str = yaml.safe_dump(sorted_keys(crd_of(kind)), sort_keys=False, allow_unicode=True, width=100)
    return "---\n" + text


def crd_path(plural: str) -> Path:
    """Return the path of the generated file of the kind with this plural name.

    Raises KeyError if there is no such kind.
    """
    for kind in KINDS:
        if kind.resource.plural == plural:
            return FOLDER / kind.file_name
    known = ", ".join(sorted(kind.resource.plural for kind in KINDS))
    raise KeyError(f"cannot find a CRD for {plural!r}: known are {known}")


def load_crd(plural: str) -> dict[str, Any]:
    """Return the generated CRD of the kind with this plural name, ready to be applied.

    Raises KeyError if there is no such kind.
    """
    crd: dict[str, Any] = yaml.safe_load(crd_path(plural).read_text(encoding="utf-8"))
    return crd


def write_crds(folder: Path = FOLDER) -> list[Path]:
    """Write the CRD of every kind into `folder` and return the paths written."""
    paths = []
    for kind in KINDS:
        path = folder / kind.file_name
        path.write_text(render(kind), encoding="utf-8")
        paths.append(path)
    return paths


def difference(folder: Path = FOLDER) -> str:
    """Return a unified diff from the files in `folder` to what the models give now; empty if they agree."""
    parts = []
    for kind in KINDS:
        path = folder / kind.file_name
        stored = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = difflib.unified_diff(
            stored.splitlines(keepends=True),
            render(kind).splitlines(keepends=True),
            fromfile=f"{path.name} (committed)",
            tofile=f"{path.name} (from the models)",
        )
        parts.append("".join(lines))
    return "".join(parts)

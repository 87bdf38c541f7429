"""What a container image is here: the command that its entrypoint would run.

No image is ever pulled. A pod's ``image`` is looked up by its whole name without tag and digest, then by the last
part of that name, in the mapping that the kubelet was given; the program itself comes from the environment that this
interpreter runs in, or from the system. A name that is not in the mapping fails as a pull would.
"""

from __future__ import annotations

import re
import shutil
import site
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

__all__ = ["DEFAULT_PATH", "Image", "find_image", "find_program", "visible_folders"]

DEFAULT_PATH = f"{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin"
"""A container's ``PATH``: the programs of this environment come first."""


@dataclass(frozen=True)
class Image:
    """What an image would bring along.

    Attributes:
        entrypoint: the program and its fixed arguments; a container's ``command`` replaces it.
        arguments: default arguments; a container's ``args`` or ``command`` replace them.
        env: variables that the image sets.
        folders: further folders of this machine that are visible, read-only, in its containers.
        user: the uid it runs as when the pod does not say; 65532 is the "nonroot" of distroless images.
    """

    entrypoint: Sequence[str]
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[Path] = ()
    user: int = 65532


def find_image(images: Mapping[str, Image | Sequence[str]], name: str) -> Image | None:
    """The image of a container, or None if it is unknown; a sequence of words stands for its entrypoint."""
    repository = re.sub(r"(:[\w.-]+)?(@[\w:]+)?$", "", name)
    found = images.get(repository, images.get(repository.rpartition("/")[2]))
    return Image(tuple(str(word) for word in found)) if found is not None and not isinstance(found, Image) else found


def find_program(word: str) -> str | None:
    """The path of the program that a command's first word names, or None.

    A path that exists is taken as it is. The file name of any other is looked up in this environment and the system's
    folders, because a chart's ``/usr/local/bin/manager`` is a place inside an image that does not exist here.
    """
    if word.startswith("/") and Path(word).exists():
        return word
    return shutil.which(word.rpartition("/")[2], path=DEFAULT_PATH)


@cache
def visible_folders() -> tuple[Path, ...]:
    """The folders that programs of this environment need: itself, its Python, packages installed in place."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent}
    for packages in map(Path, site.getsitepackages()):
        for pth in packages.glob("*.pth"):
            for line in pth.read_text(errors="replace").splitlines():
                if line.startswith("/") and Path(line).is_dir():
                    folders.add(Path(line))
    system = (Path("/usr"), Path("/bin"), Path("/lib"))
    return tuple(sorted(folder for folder in folders if not any(folder.is_relative_to(other) for other in system)))

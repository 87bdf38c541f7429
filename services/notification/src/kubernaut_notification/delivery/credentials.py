"""Credentials from a folder: one file each, its name the credential's name, its trimmed content the value.

The folder is a mounted Secret, whose files are swapped while the process runs. A value is therefore looked up at each
use, and read again when its file has changed: a rotated credential reaches channels that are already built. A file
that can no longer be read keeps its last value; a deleted one is gone. Values appear in no text that is made here.

An attempt whose credential is gone fails for good and names the file: who removes a credential means it, a retry would
find nothing else, and the terminal phase with its `Stalled` condition is what a person sees. The same
holds for a file that could never be read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class _Credential:
    value: str = field(repr=False)
    stamp: _Stamp | None


class Secret(Protocol):
    """A value that a channel needs and that no text may show."""

    def value(self) -> str:
        """Return the value as it is now; empty if there is none."""
        ...

    def advice(self) -> str:
        """Return what to do when there is none; without the value."""
        ...


@dataclass(frozen=True, slots=True)
class InlineSecret:
    """A secret that stands in the routing file. `where` is the advice if it is empty."""

    text: str = field(repr=False)
    where: str

    def value(self) -> str:
        """Return the text."""
        return self.text

    def advice(self) -> str:
        """Return where the text belongs."""
        return self.where


class CredentialStore:
    """The credentials in `folder`. A folder that does not exist is an empty one, until it appears."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, _Credential] = {}

    def get(self, name: str) -> str:
        """Return the credential's value, as its file has it now; empty if there is none."""
        if not _is_plain(name):
            return ""
        path = self.folder / name
        try:
            stat = path.stat()
        except FileNotFoundError:
            self._known.pop(name, None)
            return ""
        except OSError as error:
            return self._keep(name, error)
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = self._known.get(name)
        if known is not None and known.stamp == stamp:
            return known.value
        try:
            value = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            self._known.pop(name, None)
            return ""
        except (OSError, UnicodeDecodeError) as error:
            return self._keep(name, error)
        self._known[name] = _Credential(value, stamp)
        return value

    def secret(self, name: str) -> Secret:
        """Return the credential `name`, to be looked up at each use."""
        return _Reference(self, name)

    def advice(self, name: str) -> str:
        """Return what to do about a credential that has no value."""
        path = self.folder / name
        try:
            if _is_plain(name) and path.exists():
                path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return f"the credential file {name!r} cannot be read ({_cause(error)}); correct it or its permissions"
        return f"put it into the credential file {name!r}"

    def names(self) -> list[str]:
        """Return the names of all credentials, sorted; hidden files and folders are none."""
        try:
            return sorted(path.name for path in self.folder.iterdir() if _is_plain(path.name) and path.is_file())
        except OSError:
            return []

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that have no value, each once, in order."""
        return [name for name in dict.fromkeys(names) if not self.get(name)]

    def _keep(self, name: str, error: Exception) -> str:
        known = self._known.get(name)
        log.warning(
            "cannot read credential file %s: %s; %s",
            self.folder / name,
            _cause(error),
            "its last value stays in use" if known else "check its permissions",
        )
        return known.value if known else ""


@dataclass(frozen=True, slots=True)
class _Reference:
    store: CredentialStore
    name: str

    def value(self) -> str:
        return self.store.get(self.name)

    def advice(self) -> str:
        return self.store.advice(self.name)


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name and "\x00" not in name

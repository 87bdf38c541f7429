"""Reactive or proactive: whether a signal tells of something that happened, or that is predicted.

One YAML file with one key names the proactive signals and the signal that each predicts:

    proactive_signal_mappings:
      PredictedOOMKill: OOMKilled

A name is looked up exactly. A hit is proactive and goes on under the base signal's name; all else is reactive. A new
file replaces the whole table; one that is refused leaves the former in force. So is one that has other keys in place of
this one: taken as empty, a slip of the pen would make every signal reactive. Beside it they are ignored, but for
`--check-config`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from kubernaut_runtime.checked import Fact, file_fact
from kubernaut_runtime.text import one_line
from kubernaut_runtime.yamlfile import UniqueKeyLoader, yaml_problem
from kubernaut_signalprocessing.config import DEFAULT_MAPPINGS_PATH, MAPPINGS_PATH_ENV

KEY = "proactive_signal_mappings"


class SignalModeError(ValueError):
    """A mapping file that cannot be used; the text names file, place and what to do."""


class SignalMode(NamedTuple):
    """The mode of one signal; `signal_name` is what it goes on as, `source_signal_name` is empty unless proactive."""

    mode: Literal["reactive", "proactive"]
    signal_name: str
    source_signal_name: str = ""


class SignalModes:
    """The table of proactive signals; empty until a file is loaded."""

    def __init__(self, base_names: Mapping[str, str] | None = None) -> None:
        self._base_names = dict(base_names or {})

    def __len__(self) -> int:
        """How many proactive signals are known."""
        return len(self._base_names)

    def load(self, content: bytes, source: str) -> None:
        """Replace the table by the file's. Raises `SignalModeError` and changes nothing if it cannot be used."""
        self._base_names = parse_mappings(content, source)

    def of(self, name: str) -> SignalMode:
        """Return the mode of the signal with this name."""
        base = self._base_names.get(name)
        return SignalMode("reactive", name) if base is None else SignalMode("proactive", base, name)


def parse_mappings(content: bytes, source: str, *, strict: bool = False) -> dict[str, str]:
    """Return the table in the file `source`, empty if that is. `strict`: no other keys. Raises `SignalModeError`."""
    try:
        whole = yaml.load(content.decode(), UniqueKeyLoader)
    except UnicodeDecodeError:
        raise _refusal(source, "it is not UTF-8; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise _refusal(source, yaml_problem(error)) from None
    if whole is None:
        return {}
    if not isinstance(whole, dict):
        raise _refusal(source, f"it must be a map with the key {KEY}")
    others = [one_line(str(key)) for key in whole if key != KEY]
    if others and (strict or KEY not in whole):
        raise _refusal(source, f"{others[0]}: unknown key; what is mapped stands under {KEY}, the only one")
    table = whole.get(KEY)
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise _refusal(source, f"{KEY} must map the names of proactive signals to those that they predict")
    for name, base in table.items():
        if not isinstance(name, str) or not isinstance(base, str) or not name or not base:
            raise _refusal(source, f"{KEY}.{name} must map a signal's name to another; quote what looks like a number")
    return dict(table)


def find_mappings(environ: Mapping[str, str] | None = None) -> tuple[Path, bool]:
    """Return the path of the mapping file, and whether it is named by the environment: then it should be there."""
    named = (os.environ if environ is None else environ).get(MAPPINGS_PATH_ENV)
    return (Path(named), True) if named else (DEFAULT_MAPPINGS_PATH, False)


def check_mappings(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with the mapping file, one line; nothing is if there is none and none is named."""
    path, named = find_mappings(environ)
    try:
        parse_mappings(path.read_bytes(), str(path), strict=True)
    except OSError as error:
        if named or path.exists():
            why = f"{error.strerror}; correct {MAPPINGS_PATH_ENV}" if named else str(error.strerror)
            return [f"cannot read the signal mode mappings {path}: {why}"]
    except SignalModeError as error:
        return [str(error)]
    return []


def mapping_facts(environ: Mapping[str, str] | None = None) -> list[Fact]:
    """Return which table of proactive signals it is, of a mapping file that was found right."""
    path, _ = find_mappings(environ)
    try:
        content = path.read_bytes()
    except OSError:
        return [("proactive", f"no file {path}: all signals are reactive")]
    count = len(parse_mappings(content, str(path)))
    told = f"{count} proactive signals" if count != 1 else "1 proactive signal"
    return [("proactive", file_fact(path, hashlib.sha256(content).hexdigest(), told))]


def _refusal(source: str, why: str) -> SignalModeError:
    return SignalModeError(f"cannot use the signal mode mappings {source}: {why}")

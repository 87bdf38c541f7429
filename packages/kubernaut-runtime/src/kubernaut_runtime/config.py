"""Reading a controller's config file: the Go controllers' files unchanged, every mistake named.

* Unknown keys do not stop a process (a file may be newer than the program), but each gives one warning with file, key
  and the nearest known key; in `--check-config` they are errors.
* Bad values stop it, one line each, all of them at once: file, key, what is wrong, what is allowed.
* A key with nothing behind it (`delivery:`) counts as absent, as it does for Go.
* Values under keys that sound secret never appear in a message.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from .sections import ConfigModel, ControllerConfig
from .yamlfile import UniqueKeyLoader, yaml_problem

C = TypeVar("C", bound=ConfigModel)

_SECRET = re.compile(r"passw|token|secret|credential|api_?key|private|authorization", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SHOWN = 60


class ConfigError(Exception):
    """A config file that cannot be used; `problems` holds one line per mistake, each with file and key."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class LoadedConfig(Generic[C]):
    """A config file that was read: the typed values, what to warn of, and the sha256 of what was read."""

    config: C
    path: Path
    warnings: tuple[str, ...]
    digest: str


def load_config(path: Path, model: type[C], *, strict: bool = False) -> LoadedConfig[C]:
    """Read the YAML file `path` into `model`.

    `strict` makes unknown keys errors (`--check-config`). Raises `ConfigError` with every mistake found.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"cannot read config file {path}: {_os_reason(error)}"]) from None
    return parse_config(content, path, model, strict=strict)


def parse_config(content: bytes, path: Path, model: type[C], *, strict: bool = False) -> LoadedConfig[C]:
    """As `load_config`, from bytes that were read already (hot reload); `path` only names them."""
    data = _without_empty(_parse_yaml(content, path))
    unknown = [f"cannot use {path}: {line}" for line in unknown_keys(data, model)]
    problems: list[str] = []
    config: C | None = None
    try:
        config = model.model_validate(data, by_alias=True, by_name=False, context={"file": True})
    except ValidationError as error:
        problems = [f"cannot use {path}: {line}" for line in _describe(error, data)]
    if problems or config is None or (strict and unknown):
        raise ConfigError(problems + (unknown if strict else []))
    warnings = [line.replace("cannot use ", "", 1) + "; it is ignored" for line in unknown]
    if isinstance(config, ControllerConfig):
        warnings += [f"{path}: {line}" for line in config.advice()]
    return LoadedConfig(config, path, tuple(warnings), hashlib.sha256(content).hexdigest())


def effective_values(config: BaseModel) -> str:
    """Return the values in force as YAML with the file's keys, defaults filled in and secrets hidden."""
    dumped = config.model_dump(by_alias=True, mode="json", exclude_none=True)
    return yaml.safe_dump(_hidden(dumped), sort_keys=False, allow_unicode=True)


def _parse_yaml(content: bytes, path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(content.decode("utf-8-sig"), Loader=UniqueKeyLoader)
    except UnicodeDecodeError as error:
        raise ConfigError([f"cannot use {path}: byte {error.start} is not UTF-8; save the file as UTF-8"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"cannot use {path}: {yaml_problem(error)}; correct the YAML"]) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError([f"cannot use {path}: the file must hold keys and values, not a {type(data).__name__}"])
    return data


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_empty(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value


def _models_in(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield (`""`, model) for a plain section, (`"list"`/`"dict"`, model) for containers of sections."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    origin = typing.get_origin(annotation)
    container = origin if isinstance(origin, type) else None
    for argument in typing.get_args(annotation):
        for kind, model in _models_in(argument):
            if container is not None and issubclass(container, Mapping):
                yield "dict", model
            elif container is not None and issubclass(container, (list, tuple, set, frozenset)):
                yield "list", model
            else:
                yield kind, model


def _known_keys(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _known_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for key, annotation in _known_keys(model).items():
        yield prefix + key
        for kind, inner in _models_in(annotation):
            if not kind:
                yield from _known_paths(inner, f"{prefix}{key}.")


def unknown_keys(data: Any, model: type[BaseModel]) -> list[str]:
    """Return one line for each key of `data` that `model` does not have, with its path and the nearest key that it has.

    `data` is what the YAML holds; lists and sections within it are looked into, free mappings are not.
    """
    paths = list(_known_paths(model))
    return [f"{path}: unknown key{_nearest(path, known, paths)}" for path, known in _walk(data, model, "")]


def _walk(data: Any, model: type[BaseModel], prefix: str) -> Iterator[tuple[str, list[str]]]:
    if not isinstance(data, dict) or model.model_config.get("extra") == "allow":
        return
    known = _known_keys(model)
    for key, value in data.items():
        path = f"{prefix}{key}"
        if key not in known:
            yield path, list(known)
            continue
        for kind, inner in _models_in(known[key]):
            if kind == "list" and isinstance(value, list):
                for index, item in enumerate(value):
                    yield from _walk(item, inner, f"{path}[{index}].")
            elif kind == "dict" and isinstance(value, dict):
                for name, item in value.items():
                    yield from _walk(item, inner, f"{path}.{name}.")
            elif not kind:
                yield from _walk(value, inner, f"{path}.")


def _nearest(path: str, siblings: list[str], paths: list[str]) -> str:
    prefix, _, key = path.rpartition(".")
    folded = {name.lower(): name for name in siblings}
    plain = key.replace("_", "").replace("-", "").lower()
    near = [plain] if plain in folded else difflib.get_close_matches(plain, folded, n=1, cutoff=0.6)
    if near:
        return f", did you mean {prefix + '.' if prefix else ''}{folded[near[0]]}?"
    elsewhere = next((known for known in paths if known.rpartition(".")[2].lower() == plain), None)
    if elsewhere:
        return f", did you mean {elsewhere}?"
    return f"; known here: {', '.join(sorted(siblings))}"


def _describe(error: ValidationError, data: Any) -> Iterator[str]:
    for item in error.errors(include_url=False):
        path, value = _location(item["loc"], data)
        yield f"{path}: {_reason(item)}{_shown(path, value)}" if path else _reason(item)


def _location(loc: tuple[int | str, ...], data: Any) -> tuple[str, Any]:
    path, value = "", data
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif isinstance(value, dict) and step not in value and not _is_key(step):
            continue  # pydantic names union branches in the location; a file has no such level
        else:
            path += f".{step}" if path else step
            value = value.get(step) if isinstance(value, dict) else None
    return path, value


def _is_key(step: str) -> bool:
    return re.fullmatch(r"[a-z][A-Za-z0-9]*", step) is not None


def _reason(item: Any) -> str:
    kind, message = item["type"], str(item["msg"])
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "literal_error":
        return "must be one of " + str(item["ctx"]["expected"]).replace(" or ", ", ").replace("'", "")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a section with keys and values"
    message = re.sub(r"^(Input|Value|String|List) should", "must", message)
    message = message.replace("be a valid integer", "be an integer").replace("be a valid", "be a")
    return message.partition(", unable to ")[0]


def _shown(path: str, value: Any) -> str:
    """What the file has there, short; nothing for sections and for whatever may be secret."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    if _SECRET.search(path):
        return " (its value is not shown)"
    text = _USERINFO.sub("***@", str(value))
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return f", not {text!r}" if isinstance(value, str) else f", not {text}"


def _hidden(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _hidden(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, key) for item in value]
    if isinstance(value, str) and value:
        # A reference to a secret (a name, a file, a folder) is not the secret.
        reference = key.lower().endswith(("ref", "name", "dir", "path", "file", "url"))
        return "***" if _SECRET.search(key) and not reference else _USERINFO.sub("***@", value)
    return value


def _os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; give the right one with --config"
    if isinstance(error, IsADirectoryError):
        return "it is a folder; name the file in it"
    return f"{error.strerror}; check the file and its permissions"

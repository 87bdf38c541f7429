"""A container's environment and command, from its spec: sources, references, ``$(NAME)`` expansion."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubernaut_testing.kubelet.api import Object
from kubernaut_testing.kubelet.fields import NodeFacts, field_value, resource_value

__all__ = ["ConfigError", "command_line", "environment", "expand"]

_REFERENCE = re.compile(r"\$\$|\$\(([^()\s]+)\)")


class ConfigError(Exception):
    """The container cannot be made from what is there; the text is what its status says."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; an unknown name stays as it is, and ``$$`` is a dollar sign."""

    def one(found: re.Match[str]) -> str:
        return "$" if found.group() == "$$" else env.get(found.group(1), found.group())

    return _REFERENCE.sub(one, text)


def environment(
    container: Mapping[str, Any],
    pod: Object,
    find: Callable[[str, str], Object | None],
    base: Mapping[str, str],
    *,
    address: str,
    node: NodeFacts,
) -> dict[str, str]:
    """The environment of a container; later wins: ``base``, ``envFrom`` in order, ``env`` in order.

    Args:
        container: its spec.
        pod: the pod.
        find: looks up ("ConfigMap" | "Secret", name) in the pod's namespace.
        base: what the image and the node set.
        address: the pod's.
        node: the node's resources.

    Raises ConfigError for a reference that is missing and not optional.
    """
    env = dict(base)
    for source in container.get("envFrom") or []:
        env |= _all_keys(source, pod, find)
    for entry in container.get("env") or []:
        if "valueFrom" not in entry:
            env[entry["name"]] = expand(entry.get("value", ""), env)
            continue
        value = _value(entry["valueFrom"], container, pod, find, address=address, node=node)
        if value is not None:
            env[entry["name"]] = value
    return env


def _value(
    source: Mapping[str, Any],
    container: Mapping[str, Any],
    pod: Object,
    find: Callable[[str, str], Object | None],
    *,
    address: str,
    node: NodeFacts,
) -> str | None:
    if "fieldRef" in source:
        return field_value(source["fieldRef"]["fieldPath"], pod, address)
    if "resourceFieldRef" in source:
        return resource_value(source["resourceFieldRef"], container, node)
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source:
            reference = source[field]
            content = _content(kind, reference, pod, find)
            if content is not None and reference["key"] in content:
                return content[reference["key"]]
            if reference.get("optional"):
                return None
            place = f"{pod['metadata']['namespace']}/{reference.get('name', '')}"
            raise ConfigError(f"couldn't find key {reference['key']} in {kind} {place}")
    raise ConfigError(f"cannot set an environment variable from {', '.join(source)}: not emulated here")


def _all_keys(source: Mapping[str, Any], pod: Object, find: Callable[[str, str], Object | None]) -> Mapping[str, str]:
    prefix = source.get("prefix", "")
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if field in source:
            content = _content(kind, source[field], pod, find) or {}
            return {f"{prefix}{key}": value for key, value in content.items()}
    return {}


def _content(
    kind: str, reference: Mapping[str, Any], pod: Object, find: Callable[[str, str], Object | None]
) -> Mapping[str, str] | None:
    name = reference.get("name", "")
    found = find(kind, name)
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data: Mapping[str, str] = found.get("data") or {}
    if kind == "ConfigMap":
        return data
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}


def command_line(
    container: Mapping[str, Any], entrypoint: Sequence[str], arguments: Sequence[str], env: Mapping[str, str]
) -> list[str]:
    """Program and arguments: ``command`` replaces the image's both, ``args`` the image's arguments only."""
    if container.get("command"):
        words = [*container["command"], *(container.get("args") or [])]
    else:
        words = [*entrypoint, *(container.get("args") or arguments)]
    return [expand(word, env) for word in words]

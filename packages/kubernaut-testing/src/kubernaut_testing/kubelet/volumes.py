"""Volumes: ConfigMaps, Secrets, tokens and the downward API as files, changed as a kubelet changes them.

A program that reads its config must never see half of an update, so a node never writes into a mounted file. A
volume is a folder of links: ``config.yaml -> ..data/config.yaml``, ``..data -> ..<time>``. An update writes a whole new
folder beside the old and swaps the one link ``..data`` by a rename. A ``subPath`` mount is bound to the file behind the
links as it was when the container started: it never changes. Programs that watch their files rely on these details, so
they are done here to the letter.

A container without root reads a mounted file by its mode as "others", or as group when the pod sets ``fsGroup``.
Here all files belong to the one user there is, so the mode which this user gets is computed: a Secret with
``defaultMode: 0400`` and no fsGroup is unreadable for uid 65532 here, too.
"""

from __future__ import annotations

import base64
import datetime as dt
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernaut_testing.kubelet.api import KubeApi, KubeError, Object
from kubernaut_testing.kubelet.fields import NodeFacts, field_value, resource_value

__all__ = ["MountError", "Payload", "PodVolumes", "write_atomically"]

Payload = dict[str, tuple[bytes, int]]
"""A volume's files: relative path -> content and mode."""

Find = Callable[[str, str], Object | None]
"""Looks up ("ConfigMap" | "Secret", name) in the pod's namespace."""


class MountError(Exception):
    """A volume cannot be set up yet; the text is what a node's Event says."""


@dataclass
class _Token:
    value: str
    renew_at: float


@dataclass
class PodVolumes:
    """The volumes of one pod, below one folder; ``sync`` brings them up to date.

    Attributes:
        folder: holds a folder per volume, named after it.
        find: looks up a ConfigMap or Secret.
        api: for TokenRequests.
        node: the node's resources.
        address: the pod's.
        token_refresh: renew projected tokens after so many seconds; default is 80 % of their life, as on a node.
    """

    folder: Path
    find: Find
    api: KubeApi
    node: NodeFacts
    address: str
    token_refresh: float | None = None
    _tokens: dict[tuple[str, str], _Token] = field(default_factory=dict)
    _written: dict[str, Payload] = field(default_factory=dict)
    _host: dict[str, Path] = field(default_factory=dict)

    async def sync(self, pod: Object) -> None:
        """Write what has changed; MountError if a source that is not optional is missing."""
        for volume in pod["spec"].get("volumes") or []:
            name, place = volume["name"], self.folder / volume["name"]
            if "emptyDir" in volume:
                if not place.is_dir():
                    place.mkdir(parents=True)
                    place.chmod(0o777)
                continue
            if "hostPath" in volume:
                self._host[name] = Path(volume["hostPath"]["path"])
                if not self._host[name].exists():
                    raise MountError(f'hostPath of volume "{name}" does not exist: {self._host[name]}')
                continue
            payload = await self._payload(volume, pod)
            if self._written.get(name) != payload:
                write_atomically(place, payload)
                self._written[name] = payload

    def source(self, name: str, sub_path: str = "") -> Path:
        """What to bind for a mount; with ``sub_path`` the very file or folder behind the links."""
        place = self._host.get(name, self.folder / name)
        if not sub_path:
            return place
        target = place / sub_path
        if name not in self._written:
            if not target.exists():
                target.mkdir(parents=True)
                target.chmod(0o777)
            return target
        if not target.exists():
            raise MountError(f'failed to prepare subPath for volumeMount "{name}": {sub_path} does not exist in it')
        return target.resolve()

    def is_data(self, name: str) -> bool:
        """Whether the volume is made of files that the kubelet writes; those are always mounted read-only."""
        return name in self._written

    async def _payload(self, volume: Mapping[str, Any], pod: Object) -> Payload:
        try:
            for kind in ("configMap", "secret", "downwardAPI"):
                if kind in volume:
                    mode = _mode(volume[kind].get("defaultMode", 0o644), pod)
                    return await self._source(kind, _renamed(volume[kind]), pod, mode)
            if "projected" in volume:
                mode = _mode(volume["projected"].get("defaultMode", 0o644), pod)
                files: Payload = {}
                for source in volume["projected"].get("sources") or []:
                    for kind, content in source.items():
                        files |= await self._source(kind, content, pod, mode)
                return files
        except (MountError, KubeError) as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{volume["name"]}": {error}') from None
        kinds = ", ".join(key for key in volume if key != "name")
        raise MountError(f'MountVolume.SetUp failed for volume "{volume["name"]}": {kinds} is not emulated here')

    async def _source(self, kind: str, source: Mapping[str, Any], pod: Object, mode: int) -> Payload:
        if kind == "serviceAccountToken":
            token = await self._token(source, pod)
            # A node gives the token to the container's user alone; everything here belongs to that user.
            return {source["path"]: (token.encode(), 0o600)}
        if kind == "downwardAPI":
            return {
                item["path"]: (self._downward(item, pod).encode(), _item_mode(item, mode, pod))
                for item in source.get("items") or []
            }
        if kind in ("configMap", "secret"):
            return self._keys("ConfigMap" if kind == "configMap" else "Secret", source, pod, mode)
        raise MountError(f"projected {kind} is not emulated here")

    def _keys(self, kind: str, source: Mapping[str, Any], pod: Object, mode: int) -> Payload:
        name, optional = source.get("name", ""), bool(source.get("optional"))
        found = self.find(kind, name)
        if found is None:
            if optional:
                return {}
            raise MountError(f'{kind.lower()} "{name}" not found')
        content = _content(kind, found)
        items = source.get("items")
        if not items:
            return {key: (value, mode) for key, value in content.items()}
        files: Payload = {}
        for item in items:
            if item["key"] in content:
                files[item["path"]] = (content[item["key"]], _item_mode(item, mode, pod))
            elif not optional:
                raise MountError(f'references non-existent {kind.lower()} key: {item["key"]} in "{name}"')
        return files

    def _downward(self, item: Mapping[str, Any], pod: Object) -> str:
        if "fieldRef" in item:
            return field_value(item["fieldRef"]["fieldPath"], pod, self.address)
        reference = item["resourceFieldRef"]
        containers = {container["name"]: container for container in pod["spec"]["containers"]}
        return resource_value(reference, containers[reference["containerName"]], self.node)

    async def _token(self, source: Mapping[str, Any], pod: Object) -> str:
        meta = pod["metadata"]
        account = pod["spec"].get("serviceAccountName", "default")
        audience, seconds = source.get("audience", ""), int(source.get("expirationSeconds", 3600))
        key = (audience, str(source["path"]))
        known = self._tokens.get(key)
        if known is not None and time.monotonic() < known.renew_at:
            return known.value
        reference = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": reference}
        if audience:
            spec["audiences"] = [audience]
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.api.insist("POST", path, request)
        life = self.token_refresh or min(seconds * 0.8, 24 * 3600.0)
        self._tokens[key] = _Token(answer["status"]["token"], time.monotonic() + life)
        return str(answer["status"]["token"])


def write_atomically(place: Path, files: Payload) -> None:
    """Make ``place`` hold exactly ``files``, by the swap of one link; readers see the old or the new whole."""
    place.mkdir(parents=True, exist_ok=True)
    stamp = dt.datetime.now(dt.UTC).strftime("..%Y_%m_%d_%H_%M_%S.%f")
    fresh = place / stamp
    for relative, (content, mode) in files.items():
        target = fresh / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)
    fresh.mkdir(exist_ok=True)
    data = place / "..data"
    old = data.readlink() if data.is_symlink() else None
    link = place / "..data_tmp"
    link.symlink_to(stamp)
    link.replace(data)
    wanted = {Path(relative).parts[0] for relative in files}
    for name in wanted:
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    for present in place.iterdir():
        # What is no link is a place for another volume that is mounted inside this one.
        if not present.name.startswith("..") and present.name not in wanted and present.is_symlink():
            present.unlink()
    if old is not None:
        shutil.rmtree(place / old, ignore_errors=True)


def _renamed(source: Mapping[str, Any]) -> Mapping[str, Any]:
    # A Secret volume says secretName where everything else says name.
    return {**source, "name": source.get("secretName", source.get("name", ""))}


def _content(kind: str, found: Object) -> dict[str, bytes]:
    if kind == "Secret":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}


def _item_mode(item: Mapping[str, Any], default: int, pod: Object) -> int:
    return _mode(item["mode"], pod) if item.get("mode") is not None else default


def _mode(mode: int, pod: Object) -> int:
    """The mode with which the pod's user sees a file of root's with ``mode``."""
    security = pod["spec"].get("securityContext") or {}
    users = [
        (container.get("securityContext") or {}).get("runAsUser", security.get("runAsUser"))
        for container in pod["spec"]["containers"]
    ]
    if all(user == 0 for user in users):
        bits = mode >> 6
    elif security.get("fsGroup") is not None:
        bits = (mode >> 3) | 0o4  # a node adds group read to what it gives to fsGroup
    else:
        bits = mode
    return (bits & 0o5) << 6

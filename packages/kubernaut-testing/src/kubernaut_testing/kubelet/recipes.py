"""From a container's spec to the sandbox's recipe: who it runs as, what it sees, what it is told."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernaut_testing.kubelet.api import Object
from kubernaut_testing.kubelet.context import Context
from kubernaut_testing.kubelet.environment import ConfigError, command_line, environment, expand
from kubernaut_testing.kubelet.images import DEFAULT_PATH, Image, find_program, visible_folders
from kubernaut_testing.kubelet.sandbox import Bind, Recipe, StartError
from kubernaut_testing.kubelet.volumes import PodVolumes

__all__ = ["beside", "recipe", "termination_log"]


def recipe(
    container: Mapping[str, Any],
    image: Image,
    pod: Object,
    context: Context,
    volumes: PodVolumes,
    *,
    address: str,
    folder: Path,
) -> Recipe:
    """The recipe of one start of a container.

    Args:
        container: its spec.
        image: what its image stands for.
        pod: the pod.
        context: the kubelet's.
        volumes: the pod's, synced.
        address: the pod's.
        folder: the pod's, for the files that every container gets (hosts, termination log).

    Raises ConfigError for what a node calls CreateContainerConfigError, MountError for a subPath that is not there,
    StartError if the program does not exist.
    """
    env = environment(
        container,
        pod,
        context.finder(pod["metadata"]["namespace"]),
        _base_environment(pod, image, context, address),
        address=address,
        node=context.node,
    )
    uid, gid = _user(container, image, pod)
    words = command_line(container, image.entrypoint, image.arguments, env)
    last_words = termination_log(folder, container["name"])
    last_words.parent.mkdir(parents=True, exist_ok=True)
    last_words.write_bytes(b"")
    programs = [Bind(path, str(path)) for path in (*visible_folders(), *image.folders)]
    binds = programs + _etc(pod, context, address, folder)
    binds.append(Bind(last_words, container.get("terminationMessagePath", "/dev/termination-log"), writable=True))
    binds += _mounts(container, volumes, env)
    _show_again(programs, binds)
    return Recipe(
        command=_resolved(words),
        env=env,
        binds=binds,
        hostname=pod["spec"].get("hostname", pod["metadata"]["name"])[:63],
        uid=uid,
        gid=gid,
        read_only_root=bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem")),
        workdir=container.get("workingDir") or "/",
    )


def beside(made: Recipe, command: Sequence[str]) -> Recipe:
    """The recipe of a command that sees what the container sees, for probes and hooks."""
    try:
        return dataclasses.replace(made, command=_resolved(list(command)))
    except StartError as error:
        raise ConfigError(str(error)) from None


def termination_log(folder: Path, container: str) -> Path:
    """The file behind a container's terminationMessagePath."""
    return folder / container / "termination-log"


def _base_environment(pod: Object, image: Image, context: Context, address: str) -> dict[str, str]:
    host, port = context.server()
    return {
        "PATH": DEFAULT_PATH,
        "HOME": "/",
        **image.env,
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
        # The network is shared: a program that listened on all addresses would take the port from its siblings.
        "KUBERNAUT_BIND_HOST": address,
    }


def _user(container: Mapping[str, Any], image: Image, pod: Object) -> tuple[int, int]:
    security = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    place = f'(pod: "{pod["metadata"]["name"]}", container: {container["name"]})'
    uid = security.get("runAsUser")
    if security.get("runAsNonRoot"):
        if uid == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {place}")
        if uid is None and image.user == 0:
            raise ConfigError(f"container has runAsNonRoot and image will run as root {place}")
    uid = image.user if uid is None else int(uid)
    return uid, int(security.get("runAsGroup", uid))


def _resolved(words: list[str]) -> list[str]:
    if not words:
        raise StartError("no command specified")
    program = find_program(words[0])
    if program is None:
        raise StartError(f'exec: "{words[0]}": executable file not found in $PATH')
    return [program, *words[1:]]


def _etc(pod: Object, context: Context, address: str, folder: Path) -> list[Bind]:
    lines = ["127.0.0.1\tlocalhost", f"{address}\t{pod['metadata']['name']}"]
    lines += [f"{where}\t{name}" for name, where in context.settings().hosts.items()]
    for alias in pod["spec"].get("hostAliases") or []:
        lines.append(f"{alias['ip']}\t{' '.join(alias.get('hostnames') or [])}")
    files = {
        "hosts": "\n".join(lines) + "\n",
        "passwd": "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
        "group": "root:x:0:\nnonroot:x:65532:\n",
    }
    place = folder / "etc"
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    binds = [Bind(place / name, f"/etc/{name}") for name in files]
    return [*binds, Bind(Path("/etc/resolv.conf"), "/etc/resolv.conf")] if Path("/etc/resolv.conf").exists() else binds


def _mounts(container: Mapping[str, Any], volumes: PodVolumes, env: Mapping[str, str]) -> list[Bind]:
    binds = []
    for mount in sorted(container.get("volumeMounts") or [], key=lambda item: os.path.normpath(item["mountPath"])):
        name = mount["name"]
        sub_path = expand(mount["subPathExpr"], env) if mount.get("subPathExpr") else mount.get("subPath", "")
        writable = not mount.get("readOnly") and not volumes.is_data(name)
        binds.append(Bind(volumes.source(name, sub_path), os.path.normpath(mount["mountPath"]), writable))
        _make_mount_point(binds)
    return binds


def _show_again(programs: Sequence[Bind], binds: list[Bind]) -> None:
    """Mount once more the programs that lie beneath a volume's place, such as a checkout below /tmp."""
    targets = [bind.target for bind in binds if bind not in programs]
    for bind in programs:
        if any(bind.target.startswith(f"{target}/") for target in targets):
            binds.append(bind)
            _make_mount_point(binds)


def _make_mount_point(binds: Sequence[Bind]) -> None:
    """Give the last mount its place in the volume that it lies in: a read-only one has to bring it along."""
    *outer, last = binds
    for bind in reversed(outer):
        if last.target.startswith(f"{bind.target}/") and bind.source.is_dir():
            place = bind.source / last.target.removeprefix(f"{bind.target}/")
            if last.source.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            elif not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            return

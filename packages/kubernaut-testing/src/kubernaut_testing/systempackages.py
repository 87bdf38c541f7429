"""Programs that come as Debian packages: ``bwrap``, ``prometheus``, ``promtool``.

They are not built from Go modules like the rest (see ``binaries.py``), and asking for an installed package would
mean that a test run needs root. So a program is taken from

1. ``PATH``;
2. the user's cache (``$XDG_CACHE_HOME/kubernaut-testing/debian``), a folder per package and platform;
3. the package, downloaded with ``apt-get download`` and unpacked with ``dpkg-deb -x`` into that folder: no root, no
   service is started, nothing on the system changes. Package lists that are missing are fetched into the cache, too.

Only the libraries that the program needs and the system lacks are unpacked beside it (a package's other
dependencies, such as the web fonts of prometheus' pages, are of no use here); a small script that points the loader
at them then takes the program's place. Where all of this fails and we are root, ``apt-get install`` is the last try.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kubernaut_testing.binaries import ToolUnavailableError, cache_dir, locked, say, target_platform

__all__ = ["SYSTEM_PROGRAMS", "SystemProgram", "find_system_program"]

_TIMEOUT = 300.0


@dataclass(frozen=True)
class SystemProgram:
    """A program of the distribution.

    Attributes:
        name: of the executable.
        package: the Debian package that holds it at ``/usr/bin/<name>``.
        purpose: what it is for, told when it is missing.
    """

    name: str
    package: str
    purpose: str


SYSTEM_PROGRAMS: dict[str, SystemProgram] = {
    program.name: program
    for program in (
        SystemProgram("bwrap", "bubblewrap", "the local kubelet runs containers with it"),
        SystemProgram("prometheus", "prometheus", "alerts and dashboards are tried on it"),
        SystemProgram("promtool", "prometheus", "alert rules are checked with it"),
    )
}
"""The programs by name. All of them are optional: what needs one says so when it is missing."""


def find_system_program(name: str, *, fetch: bool = True) -> Path:
    """The path of a program, fetched and unpacked once if need be.

    Args:
        name: a key of ``SYSTEM_PROGRAMS``.
        fetch: False only looks.

    Raises ToolUnavailableError, which names the one command to run, when there is none.
    """
    program = SYSTEM_PROGRAMS[name]
    if (on_path := shutil.which(name)) is not None:
        return Path(on_path)
    folder = _folder(program)
    cached = folder / "usr" / "bin" / name
    if _runs(cached):
        return cached
    if not fetch:
        raise _unavailable(program, "it is neither on PATH nor in the cache")
    with locked(cache_dir() / "locks" / f"{program.package}.lock"):
        if _runs(cached):
            return cached
        try:
            _unpack(program, folder)
        except (OSError, subprocess.SubprocessError) as error:
            reason = str(error)
        else:
            if _runs(cached):
                return cached
            reason = "its package was unpacked and it does not run"
        if os.geteuid() == 0 and (installed := _install(program)) is not None:
            return installed
    raise _unavailable(program, reason)


def _folder(program: SystemProgram) -> Path:
    return cache_dir() / "debian" / f"{program.package}-{target_platform()}"


def _unavailable(program: SystemProgram, reason: str) -> ToolUnavailableError:
    return ToolUnavailableError(
        f"cannot find {program.name} ({program.purpose}): {reason}; run `sudo apt-get install {program.package}`"
    )


def _runs(path: Path) -> bool:
    if not os.access(path, os.X_OK):
        return False
    return _quietly([str(path), "--version"]).returncode == 0


def _quietly(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _demand(command: list[str], cwd: Path | None = None) -> str:
    done = _quietly(command, cwd)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise OSError(f"`{' '.join(command[:1] + command[-2:])}` failed: {words[-1]}")
    return done.stdout


def _unpack(program: SystemProgram, folder: Path) -> None:
    say(f"no {program.name} on PATH: fetching the Debian package {program.package}, once")
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "root").mkdir(parents=True)
    try:
        archive = _download(program.package, scratch)
        _demand(["dpkg-deb", "-x", str(archive), str(scratch / "root")])
        executables = [
            path
            for other in SYSTEM_PROGRAMS.values()
            if other.package == program.package and (path := scratch / "root" / "usr" / "bin" / other.name).is_file()
        ]
        if any(_missing_libraries(path) for path in executables):
            _unpack_libraries(archive, scratch)
            for path in executables:
                _wrap(path, scratch / "root", folder)
        shutil.rmtree(folder, ignore_errors=True)
        (scratch / "root").rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(package: str, scratch: Path) -> Path:
    (target := scratch / "archives" / package).mkdir(parents=True)
    first = _quietly(["apt-get", "download", package], target)
    if first.returncode != 0:
        # No package lists here (container images remove them): fetch them into the cache, which needs no root.
        state = cache_dir() / "debian" / "apt"
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        options = [
            *("-o", f"Dir::State::lists={state / 'lists'}", "-o", f"Dir::Cache={state / 'cache'}"),
            *("-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"),
        ]
        _demand(["apt-get", *options, "update"])
        _demand(["apt-get", *options, "download", package], target)
    return next(target.glob("*.deb"))


def _missing_libraries(executable: Path) -> list[str]:
    # A static program makes ldd fail with words to that effect, and misses nothing.
    return re.findall(r"(\S+) => not found", _quietly(["ldd", str(executable)]).stdout)


def _unpack_libraries(archive: Path, scratch: Path) -> None:
    waiting, seen = [archive], set[str]()
    while waiting:
        depends = _demand(["dpkg-deb", "-f", str(waiting.pop()), "Depends", "Pre-Depends"])
        for name in re.findall(r"(?:^|[,:])\s*(lib[\w.+-]+)", depends, re.MULTILINE):
            if name in seen or name.startswith("libjs-") or _quietly(["dpkg-query", "-W", name]).returncode == 0:
                continue
            seen.add(name)
            library = _download(name, scratch)
            _demand(["dpkg-deb", "-x", str(library), str(scratch / "root")])
            waiting.append(library)


def _wrap(executable: Path, root: Path, folder: Path) -> None:
    """Put a script in the program's place that lets the loader find the libraries beside it."""
    places = sorted({path.parent for path in root.rglob("*.so*")})
    search = ":".join(str(folder / place.relative_to(root)) for place in places)
    real = executable.with_name(f"{executable.name}.real")
    executable.rename(real)
    at_last = folder / real.relative_to(root)
    executable.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(search)} exec {shlex.quote(str(at_last))} "$@"\n',
    )
    executable.chmod(0o755)


def _install(program: SystemProgram) -> Path | None:
    say(f"installing the Debian package {program.package} with apt-get")
    _quietly(["apt-get", "update"])
    _quietly(["apt-get", "install", "-y", "--no-install-recommends", program.package])
    found = shutil.which(program.name)
    return Path(found) if found else None

"""Programs of Debian packages are found, or fetched and unpacked without root, or named with the way to get them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kubernaut_testing import cli, systempackages
from kubernaut_testing.binaries import ToolUnavailableError
from kubernaut_testing.systempackages import SYSTEM_PROGRAMS, find_system_program

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb makes the packages of this test")

CONTROL = "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: test <test@example.com>\nDescription: test\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the programs, whose apt-get takes packages from ``<folder>/archive``; returns the folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    for name in ("sh", "cp", "dpkg-deb", "dpkg-query", "tar", "ldd", "cat", "rm"):
        if (found := shutil.which(name)) is not None:
            (tmp_path / "bin" / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def archive(machine: Path, package: str, program: str, *, needs_update: bool = False) -> None:
    """Make ``package`` available to the machine's apt-get; ``needs_update`` means only after ``apt-get update``."""
    tree = machine / "tree"
    script(tree / "usr" / "bin" / program, "echo 1.0")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(CONTROL.format(name=package))
    (machine / "archive").mkdir()
    target = machine / "archive" / f"{package}_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", tree, target], check=True, capture_output=True, env={"PATH": "/usr/bin:/bin"})
    ready = "*update) echo > {0}/updated;;" if needs_update else "*update);;"
    guard = "test -e {0}/updated || exit 100;" if needs_update else ""
    text = f'case "$*" in {ready} *download*) {guard} cp {{0}}/archive/* .;; esac'
    script(machine / "bin" / "apt-get", text.format(machine))


@needs_dpkg
@pytest.mark.parametrize("needs_update", [False, True])
def test_a_program_is_unpacked_into_the_cache_once(machine: Path, needs_update: bool) -> None:
    with pytest.raises(ToolUnavailableError, match="neither on PATH nor in the cache; run `sudo apt-get install bubb"):
        find_system_program("bwrap", fetch=False)
    archive(machine, "bubblewrap", "bwrap", needs_update=needs_update)
    found = find_system_program("bwrap")
    assert found.is_relative_to(machine / "cache")
    assert (machine / "updated").exists() is needs_update
    (machine / "bin" / "apt-get").unlink()
    assert find_system_program("bwrap", fetch=False) == found
    script(machine / "bin" / "bwrap", "echo 2.0")
    assert find_system_program("bwrap") == machine / "bin" / "bwrap"


@pytest.mark.parametrize("name", SYSTEM_PROGRAMS)
def test_a_program_that_cannot_be_fetched_is_named_with_one_command(machine: Path, name: str) -> None:
    package = SYSTEM_PROGRAMS[name].package
    with pytest.raises(ToolUnavailableError, match=rf"cannot find {name} .*; run `sudo apt-get install {package}`$"):
        find_system_program(name)
    assert not list((machine / "cache").rglob(f"*{package}*-*")), "nothing half-made is left"


@needs_dpkg
def test_libraries_that_the_system_lacks_are_found_beside_the_program(tmp_path: Path) -> None:
    """The script that takes the program's place points the loader at every folder with libraries."""
    root, folder = tmp_path / "root", tmp_path / "at last"
    script(root / "usr" / "bin" / "tool", 'echo "$LD_LIBRARY_PATH" "$@"')
    library = root / "usr" / "lib" / "x" / "libx.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    systempackages._wrap(root / "usr" / "bin" / "tool", root, folder)
    root.rename(folder)
    shown = subprocess.run([folder / "usr/bin/tool", "a b"], capture_output=True, text=True, check=True).stdout
    assert shown == f"{folder}/usr/lib/x a b\n"


def test_fetch_goes_on_without_a_program_that_is_only_welcome(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Path:
        raise ToolUnavailableError(f"cannot find {name}")

    monkeypatch.setattr(cli, "find_system_program", missing)
    monkeypatch.setattr(cli.binaries, "find", lambda name: Path("/bin") / name)
    assert cli.main(["fetch"]) == 0
    printed = capsys.readouterr()
    assert "kube-apiserver\t/bin/kube-apiserver\n" in printed.out
    assert "going on without bwrap: cannot find bwrap" in printed.err
    assert cli.main(["fetch", "bwrap"]) == 1

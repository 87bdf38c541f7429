"""What users install: every member builds a wheel with its types and its data."""

import os
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(
    path.parent for path in [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Distribution name -> the files in its wheel."""
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    out = tmp_path_factory.mktemp("dist")
    command = [uv, "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(out)]
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name.split("-")[0]: zipfile.ZipFile(path).namelist() for path in out.glob("*.whl")}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_each_wheel_has_its_sources_and_its_types(wheels: dict[str, list[str]], member: Path) -> None:
    package = next((member / "src").iterdir())
    files = wheels[package.name]
    wanted = {str(path.relative_to(member / "src")) for path in package.rglob("*.py")}
    assert wanted <= set(files)
    assert f"{package.name}/py.typed" in files


def test_the_wheels_carry_what_is_needed_at_run_time(wheels: dict[str, list[str]]) -> None:
    assert "kubernaut_api/crds/kubernaut.ai_notificationrequests.yaml" in wheels["kubernaut_api"]
    assert "kubernaut_signalprocessing/policy/default.rego" in wheels["kubernaut_signalprocessing"]
    for module in ("controlplane", "helm"):
        for name in ("go.mod", "go.sum"):
            assert f"kubernaut_testing/gomod/{module}/{name}" in wheels["kubernaut_testing"]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_each_member_has_a_readme_that_says_what_it_is(member: Path) -> None:
    assert len((member / "README.md").read_text().splitlines()) > 10


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_a_member_asks_for_the_others_as_they_are_now(member: Path) -> None:
    """They are versioned together: a newer one with an older one would fail at its first import at best."""
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    ours = [need for need in project.get("dependencies", []) if need.startswith("kubernaut-")]
    minor = ".".join(project["version"].split(".")[:2])
    assert [need for need in ours if f">={minor},<" not in need] == []

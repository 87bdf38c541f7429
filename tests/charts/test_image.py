"""The Dockerfile, as far as it can be tried without a container engine: its own RUN lines, in empty environments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "services" / "notification" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), continuation lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, _, rest in pairs]


def of_stage(number: int) -> list[tuple[str, str]]:
    """The instructions of a build stage, counted from 1."""
    stage, found = 0, []
    for word, rest in instructions():
        stage += word == "FROM"
        if stage == number and word != "FROM":
            found.append((word, rest))
    return found


def variables(stage: int) -> dict[str, str]:
    pairs = [pair.partition("=") for word, rest in of_stage(stage) if word == "ENV" for pair in rest.split()]
    return {key: value.strip('"') for key, _, value in pairs}


def test_the_image_runs_as_nobody_and_writes_nothing() -> None:
    last = of_stage(2)
    assert ("USER", "65532:65532") in last
    assert ("ENTRYPOINT", '["kubernaut-notification"]') in last
    assert [rest for word, rest in last if word == "RUN"] == []
    assert variables(2)["PYTHONDONTWRITEBYTECODE"] == "1"
    assert variables(1)["UV_COMPILE_BYTECODE"] == "1"


def test_the_base_is_a_build_argument_with_a_full_tag_and_no_host() -> None:
    (_, argument), *_ = instructions()
    assert re.fullmatch(r"PYTHON_IMAGE=python:\d+\.\d+-slim-[a-z]+", argument)
    assert [rest.split()[0] for word, rest in instructions() if word == "FROM"] == ["${PYTHON_IMAGE}"] * 2


def test_make_image_builds_every_service_on_the_base_that_is_asked_for(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)
    base = "registry.example.com/python:3.12-slim-bookworm@sha256:" + "a" * 64
    for more, expected in (([], []), ([f"PYTHON_IMAGE={base}"], [f"PYTHON_IMAGE={base}"])):
        command = ["make", "--silent", "image", f"DOCKER={docker}", *more]
        words = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        assert words[words.index("--file") + 1] == "services/notification/Dockerfile"
        assert words[words.index("--tag") + 1] == "kubernaut-notification:0.1.0"
        assert [word for word in words if word.startswith("PYTHON_IMAGE=")] == expected
        assert words[-1] == "."


def test_the_build_uses_the_same_uv_as_the_makefile() -> None:
    pinned = re.findall(r"uv==([\d.]+)", (ROOT / "Makefile").read_text() + DOCKERFILE.read_text())
    assert len(pinned) == 2
    assert len(set(pinned)) == 1


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def ignored(path: Path) -> bool:
    """Whether .dockerignore leaves a path out, for the few forms of patterns that it uses."""
    relative = path.relative_to(ROOT)
    wanted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    dropped = [line[3:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("**/")]
    if relative.parts[0] not in wanted:
        return True
    return any(Path(part).match(pattern) for part in relative.parts for pattern in dropped)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first stage, run in folders of its own: /src and /opt of the image lie below the returned one."""
    root = tmp_path_factory.mktemp("image")
    source = root / "src"
    for word, rest in of_stage(1):
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                origin = ROOT / name
                if origin.is_dir():
                    shutil.copytree(
                        origin,
                        source / target,
                        ignore=lambda folder, inside: [name for name in inside if ignored(Path(folder) / name)],
                    )
                else:
                    assert not ignored(origin)
                    source.mkdir(exist_ok=True)
                    shutil.copy(origin, source / target)
    inherited = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    here = {key: value.replace("/opt/", f"{root}/opt/") for key, value in variables(1).items()}
    environment = {**inherited, **here}
    # A build in a container has no cache; here a shared one saves the downloads.
    environment.pop("UV_NO_CACHE")
    folder = root
    for word, rest in of_stage(1):
        if word == "WORKDIR":
            folder = root / rest.lstrip("/")
        if word == "RUN":
            command = rest.replace("/opt/", f"{root}/opt/").replace("python -m venv", f"{sys.executable} -m venv")
            done = subprocess.run(
                ["sh", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return root


def test_the_install_steps_give_a_program_that_needs_nothing_of_the_sources(built: Path) -> None:
    shutil.rmtree(built / "src")
    folder = built / "opt" / "kubernaut"
    program = folder / "bin" / "kubernaut-notification"
    clean = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([program, "--version"], env=clean, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "kubernaut-notification 0.1.0\n"), done.stderr
    config = built / "config.yaml"
    config.write_text("logging: {level: INFO}\n")
    command = [program, "--check-config", "--config", config]
    done = subprocess.run(command, env=clean, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = subprocess.run(
        [folder / "bin" / "python", "-c", "import sys, kubernaut_notification.app, kubernaut_api as a;"
         "print(*sys.path, a.__file__, sep='\\n')"],
        env=clean, cwd="/", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert str(ROOT) not in seen
    assert f"{folder}/lib" in seen


def test_what_is_for_tests_is_not_in_the_image(built: Path) -> None:
    packages = {path.name for path in (built / "opt" / "kubernaut").glob("lib/python*/site-packages/*")}
    assert "kubernaut_notification" in packages
    assert not packages & {"kubernaut_testing", "pytest", "mypy", "ruff"}


def test_everything_is_compiled(built: Path) -> None:
    (package,) = (built / "opt" / "kubernaut").glob("lib/python*/site-packages/kubernaut_notification")
    sources = [path.stem for path in package.glob("*.py")]
    compiled = {path.name.split(".")[0] for path in (package / "__pycache__").glob("*.pyc")}
    assert set(sources) <= compiled

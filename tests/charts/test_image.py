"""The Dockerfile of all services, as far as it can be tried without a container engine.

Its own RUN lines are run, for each service, in folders that stand for the image's.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from charts.generate import SERVICES

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "services" / "Dockerfile"
NAMES = [service.name for service in SERVICES]
X86_64 = platform.machine() in ("x86_64", "AMD64")
ENGINES = {"signalprocessing": [{"engine": engine} for engine in ("regopy", "regorus")[: 1 + X86_64]]}
"""Sections `classifier` that a service's image must be able to work with."""


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


(WORK,) = [rest.lstrip("/") for word, rest in of_stage(1) if word == "WORKDIR"]
OWN = of_stage(1).index(("ARG", "SERVICE"))
"""Where the first stage begins to differ between the services."""


def test_the_image_runs_as_nobody_and_writes_nothing() -> None:
    last = of_stage(2)
    assert ("USER", "65532:65532") in last
    assert ("ENTRYPOINT", '["controller"]') in last
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
        builds = " ".join(words).split("build --file ")[1:]
        assert [build.split()[:3] for build in builds] == [
            ["services/Dockerfile", "--tag", f"kubernaut-{name}:0.1.0"] for name in NAMES
        ]
        for name, build in zip(NAMES, builds, strict=True):
            assert f"--build-arg SERVICE={name} " in build
            assert [word for word in build.split() if word.startswith("PYTHON_IMAGE=")] == expected
            assert build.split()[-1] == "."


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


def run_instruction(command: str, folder: Path, root: Path, service: str) -> subprocess.CompletedProcess[str]:
    """A RUN of the first stage, with `root` in the place of the image's."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    here = {key: value.replace("/opt/", f"{root}/opt/") for key, value in variables(1).items()}
    environment = {**inherited, **here, "SERVICE": service}
    # A build in a container has no cache; here a shared one saves the downloads.
    environment.pop("UV_NO_CACHE")
    moved = command.replace("/opt/", f"{root}/opt/").replace("python -m venv", f"{sys.executable} -m venv")
    return subprocess.run(
        ["sh", "-ec", moved], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@dataclass(frozen=True)
class Image:
    """What the build of a service's image leaves: /src and /opt of the first stage lie below `root`."""

    service: str
    root: Path

    @property
    def environment(self) -> Path:
        """The folder that the image gets."""
        return self.root / "opt" / "kubernaut"

    @property
    def package(self) -> str:
        """The service's package."""
        return f"kubernaut_{self.service}"

    @property
    def packages(self) -> set[str]:
        """Everything that is installed."""
        return {path.name for path in self.environment.glob("lib/python*/site-packages/*")}

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the image with the environment of the image alone."""
        (name, *arguments) = command
        clean = {"PATH": f"{self.environment / 'bin'}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        program = [self.environment / "bin" / name, *arguments]
        return subprocess.run(program, env=clean, cwd="/", capture_output=True, text=True, check=False)


def run_all(steps: list[tuple[str, str]], root: Path, service: str = "") -> None:
    """Instructions of the first stage, in the working directory that they are written for."""
    for word, rest in steps:
        if word == "COPY":
            copy_into(root / WORK, rest)
        if word == "RUN":
            (root / WORK).mkdir(exist_ok=True)
            done = run_instruction(rest, root / WORK, root, service)
            assert done.returncode == 0, f"{rest}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the images have in common: the first stage up to the argument that names the service."""
    root = tmp_path_factory.mktemp("layers")
    run_all(of_stage(1)[:OWN], root)
    return root


@pytest.fixture(scope="module", params=NAMES)
def image(request: pytest.FixtureRequest, layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A service's image, built once; its sources are gone."""
    root = tmp_path_factory.mktemp(request.param)
    shutil.copytree(layers, root, symlinks=True, dirs_exist_ok=True)
    run_all(of_stage(1)[OWN:], root, request.param)
    shutil.rmtree(root / WORK)
    return Image(request.param, root)


def copy_into(source: Path, arguments: str) -> None:
    """A COPY of the first stage, without what .dockerignore leaves out."""
    *names, target = arguments.split()
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
            shutil.copy(origin, source / target)


def test_the_install_steps_give_a_program_that_needs_nothing_of_the_sources(image: Image) -> None:
    done = image.run("controller", "--version")
    assert (done.returncode, done.stdout) == (0, f"kubernaut-{image.service} 0.1.0\n"), done.stderr
    seen = image.run(
        "python",
        "-c",
        f"import sys, {image.package}.app, kubernaut_api as a; print(*sys.path, a.__file__, sep='\\n')",
    ).stdout
    assert str(ROOT) not in seen
    assert f"{image.environment}/lib" in seen


def test_the_program_of_the_image_checks_its_files(image: Image) -> None:
    policy = image.root / "policy.rego"
    policy.write_text(
        "package signalprocessing\n\nimport rego.v1\n\nseverity := lower(input.signal.severity)\n\n"
        'environment := {"environment": "Test"}\n\npriority := {"priority": "P3"}\n'
    )
    for engine in ENGINES.get(image.service, [{}]):
        config = image.root / "config.yaml"
        config.write_text(json.dumps({"classifier": {"policyDir": str(image.root), **engine}} if engine else {}))
        done = image.run("controller", "--check-config", "--config", config)
        assert done.returncode == 0, done.stderr


def test_what_is_for_tests_is_not_in_the_image(image: Image) -> None:
    assert image.package in image.packages
    assert not image.packages & {"kubernaut_testing", "pytest", "mypy", "ruff"}
    others = {f"kubernaut_{name}" for name in NAMES} - {image.package}
    assert not image.packages & others


def test_everything_is_compiled(image: Image) -> None:
    (package,) = image.environment.glob(f"lib/python*/site-packages/{image.package}")
    sources = [path.stem for path in package.glob("*.py")]
    compiled = {path.name.split(".")[0] for path in (package / "__pycache__").glob("*.pyc")}
    assert set(sources) <= compiled


def test_a_build_that_names_no_service_says_so(tmp_path: Path) -> None:
    (command,) = [rest for word, rest in of_stage(1) if word == "RUN" and "SERVICE" in rest]
    done = run_instruction(command, tmp_path, tmp_path, service="")
    assert done.returncode != 0
    assert "cannot build without --build-arg SERVICE=" in done.stderr

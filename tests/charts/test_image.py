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
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from charts.generate import SERVICES
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "services" / "Dockerfile"
NAMES = [service.name for service in SERVICES]
X86_64 = platform.machine() in ("x86_64", "AMD64")
ENGINES = {"signalprocessing": [{"engine": engine} for engine in ("regopy", "regorus")[: 1 + X86_64]]}
"""Sections `classifier` that a service's image must be able to work with."""
OF_THE_BASE = {
    *("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
    *("libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "libcrypto.so.3", "libssl.so.3"),
}
"""Libraries of the official slim images: Debian's own, and what Python is linked with."""
ADDED = {"libatomic1": "libatomic.so.1"}
"""Debian packages that an image may add, and what they bring."""
ONLY_ON = {"aarch64": {"celine-regorus"}}
"""What is left out, by its marker, where there is no wheel."""


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
    assert last.index(("USER", "65532:65532")) > max(i for i, (word, _) in enumerate(last) if word in ("RUN", "COPY"))
    assert variables(2)["PYTHONDONTWRITEBYTECODE"] == "1"
    assert variables(1)["UV_COMPILE_BYTECODE"] == "1"


def test_the_base_is_a_build_argument_with_a_full_tag_and_no_host() -> None:
    (_, argument), *_ = instructions()
    assert re.fullmatch(r"PYTHON_IMAGE=python:\d+\.\d+-slim-[a-z]+", argument)
    assert [rest.split()[0] for word, rest in instructions() if word == "FROM"] == ["${PYTHON_IMAGE}"] * 2


def make_image(docker: Path, *more: str, **environment: str) -> list[str]:
    """The words that the container tool gets."""
    command = ["make", "--silent", "image", f"DOCKER={docker}", *more]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A program in docker's place that tells its arguments."""
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    return program


def test_make_image_builds_every_service_on_the_base_that_is_asked_for(docker: Path) -> None:
    base = "registry.example.com/python:3.12-slim-bookworm@sha256:" + "a" * 64
    for more, expected in (([], []), ([f"PYTHON_IMAGE={base}"], [f"PYTHON_IMAGE={base}"])):
        words = make_image(docker, *more)
        builds = " ".join(words).split("build --file ")[1:]
        assert [build.split()[:3] for build in builds] == [
            ["services/Dockerfile", "--tag", f"kubernaut-{name}:0.1.0"] for name in NAMES
        ]
        for name, build in zip(NAMES, builds, strict=True):
            assert f"--build-arg SERVICE={name} " in build
            assert [word for word in build.split() if word.startswith("PYTHON_IMAGE=")] == expected
            assert build.split()[-1] == "."


def test_an_image_names_the_commit_it_was_built_from_and_whether_files_were_changed(docker: Path) -> None:
    (revision,) = {word for word in make_image(docker) if word.startswith("REVISION=")}
    assert re.fullmatch(r"REVISION=[0-9a-f]{40}(-dirty)?", revision)
    (unknown,) = {word for word in make_image(docker, GIT_DIR="/nonexistent") if word.startswith("REVISION=")}
    assert unknown == "REVISION=unknown"


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


def test_the_build_gets_what_the_images_are_made_of_and_nothing_else() -> None:
    for member in (*ROOT.glob("packages/*"), *ROOT.glob("services/*")):
        if not (member / "pyproject.toml").is_file():
            continue
        sources = [path for path in member.glob("src/**/*") if path.is_file() and path.suffix != ".pyc"]
        assert sources
        assert [path for path in (*sources, member / "pyproject.toml", member / "README.md") if ignored(path)] == []
        for name in (".mypy_cache/3.11/cache.db", ".venv/pyvenv.cfg", "dist/a.whl", "src/a.egg-info/PKG-INFO"):
            assert ignored(member / name)
        for name in ("tests/test_a.py", "deploy/role.yaml", "BEHAVIOURS.md", "src/a/__pycache__/a.cpython-312.pyc"):
            assert ignored(member / name)
    assert ignored(ROOT / "charts" / "notification" / "Chart.yaml")


def test_no_pattern_takes_back_what_lies_below_a_folder_that_is_left_out() -> None:
    """Buildah leaves such a path out all the same."""
    taken_back = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert taken_back
    assert [line for line in taken_back if "/" in line] == []


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


def unchecked(compiled: Path) -> bool:
    """Whether Python uses a compiled file without a look at its source, as PEP 552 tells it in the header."""
    return int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01


def test_everything_is_compiled_whatever_a_layer_does_to_times(image: Image) -> None:
    (package,) = image.environment.glob(f"lib/python*/site-packages/{image.package}")
    sources = [path.stem for path in package.glob("*.py")]
    compiled = {path.name.split(".")[0] for path in (package / "__pycache__").glob("*.pyc")}
    assert set(sources) <= compiled
    everything = [*image.environment.glob("lib/**/*.pyc")]
    assert len(everything) > 1000
    assert [path for path in everything if not unchecked(path)] == []


def test_the_standard_library_is_compiled_too(tmp_path: Path) -> None:
    (command,) = [rest for word, rest in of_stage(2) if word == "RUN" and "compileall" in rest]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    done = subprocess.run(["sh", "-ec", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    place = tmp_path / os.__file__.rpartition("/")[0].lstrip("/")
    for module in ("os", "ssl", "asyncio/events", "multiprocessing/spawn", "concurrent/futures/process"):
        (compiled,) = place.glob(f"{module}.*.pyc")
        assert unchecked(compiled)
    assert [*place.glob("**/site-packages")] == [*place.glob("**/test")] == []


def test_nobody_but_root_may_write_into_the_image(image: Image) -> None:
    everything = [image.environment, *image.environment.rglob("*")]
    writable = [path for path in everything if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert writable == []


def test_the_base_has_every_library_that_the_packages_need(image: Image) -> None:
    """This machine has more than a slim image, so that the programs run here tells nothing."""
    libraries = [path for path in image.environment.rglob("*.so*") if path.is_file()]
    names = rb"(?<=\0)lib[\w.+-]+\.so(?:\.\d+)+(?=\0)"
    wanted = {name.decode() for path in libraries for name in re.findall(names, path.read_bytes())}
    added = " ".join(rest for word, rest in of_stage(2) if word == "RUN" and "apt-get install" in rest).split()
    brought = {library for package, library in ADDED.items() if package in added}
    assert wanted - {path.name for path in libraries} <= OF_THE_BASE | brought


def test_the_image_of_either_architecture_needs_no_compiler(image: Image) -> None:
    """Every package has a wheel for the base's Python, which is not the one that runs this."""
    found = re.search(r"python:3\.(\d+)-", instructions()[0][1])
    assert found
    interpreter = (3, int(found[1]))
    locked = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    names = {re.sub(r"[-_.]+", "-", name.split("-")[0]).lower() for name in image.packages if "dist-info" in name}
    foreign = {name: locked[name] for name in names if "registry" in locked[name]["source"]}
    assert len(foreign) > 20
    for machine in ("x86_64", "aarch64"):
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(36, 4, -1)]
        platforms += [f"manylinux{legacy}_{machine}" for legacy in ("2014", "2010", "1")]
        usable = {*cpython_tags(interpreter, platforms=platforms), *compatible_tags(interpreter, platforms=platforms)}
        wheels = {
            name: [parse_wheel_filename(unquote(wheel["url"]).rpartition("/")[2])[3] for wheel in package["wheels"]]
            for name, package in foreign.items()
        }
        missing = {name for name, offered in wheels.items() if not any(tags & usable for tags in offered)}
        assert missing <= ONLY_ON.get(machine, set())


def test_a_build_that_names_no_service_says_so(tmp_path: Path) -> None:
    (command,) = [rest for word, rest in of_stage(1) if word == "RUN" and "SERVICE" in rest]
    done = run_instruction(command, tmp_path, tmp_path, service="")
    assert done.returncode != 0
    assert "cannot build without --build-arg SERVICE=" in done.stderr

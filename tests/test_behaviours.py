"""The catalogues of behaviours and the tests agree."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "behaviours.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("behaviours", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ("notification", r"\d+ of 87 behaviours are shown by tests, \d argued"),
        (
            "signalprocessing",
            r"\d+ of 106 behaviours and \d+ of 24 weak points are shown by tests, \d argued",
        ),
    ],
)
def test_everything_in_a_service_s_catalogue_is_shown_by_a_test_or_argued(service: str, told: str) -> None:
    done = run(f"services/{service}")
    assert done.returncode == 0, done.stderr
    assert re.search(f"^{told}$", done.stdout, re.MULTILINE)


MARKED = """
import pytest

@pytest.mark.behaviour(1, 3)
@pytest.mark.parametrize("value", [1, 2])
def test_a(value): ...

@pytest.mark.behaviour(1, "W1")
class TestB:
    def test_b(self): ...
"""
ELSEWHERE = """
import pytest

@pytest.mark.behaviour(3, service="shop")
@pytest.mark.behaviour(2, service="bank")
def test_c(): ...
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A service's folder with tests and a catalogue, and a folder of tests of a package."""
    service, package = tmp_path / "shop", tmp_path / "package"
    service.mkdir()
    package.mkdir()
    (service / "test_marked.py").write_text(MARKED)
    (service / "not_collected.py").write_text(MARKED.replace("(1, 3)", "(4)"))
    (service / "BEHAVIOURS.md").write_text("1. one\n2. two\n3. three\n\n## Weak points\n\nW1. weak\n")
    (package / "test_elsewhere.py").write_text(ELSEWHERE)
    return service


def test_tests_are_found_by_pytest_s_own_collection_and_count_for_their_service(shop: Path) -> None:
    """Cases of one function count once, and a mark on a class counts for its tests."""
    done = run(shop, "--further", shop.parent / "package", "--list")
    assert done.returncode == 1
    lines = [line.split()[0:2] for line in done.stdout.splitlines()[:-1] if line[:4].strip()]
    assert lines == [["1", "2"], ["2", "not"], ["3", "2"], ["W1", "1"]]
    assert "2 of 3 behaviours and 1 of 1 weak points are shown by tests, 0 argued" in done.stdout
    (problem,) = done.stderr.splitlines()
    assert "no test shows 2: mark one with @pytest.mark.behaviour" in problem


def test_a_test_outside_of_the_services_must_say_whose_behaviour_it_shows(shop: Path) -> None:
    (shop.parent / "package" / "test_elsewhere.py").write_text(ELSEWHERE.replace(', service="bank"', ""))
    done = run(shop, "--further", shop.parent / "package")
    assert done.returncode == 1
    assert "test_elsewhere.py::test_c is in no service's folder: its mark must name one, service=..." in done.stderr
    assert "no test shows 2" in done.stderr, "a number without a service counts for none"


def test_tests_that_cannot_be_collected_are_an_error(shop: Path) -> None:
    (shop / "test_broken.py").write_text("import nothing_of_this_name\n")
    done = run(shop, "--further")
    assert done.returncode == 1
    assert "cannot collect the tests" in done.stderr


def test_a_service_without_a_catalogue_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, "--further")
    assert done.returncode == 1
    assert done.stderr == f"cannot read the catalogue {tmp_path}/BEHAVIOURS.md: No such file or directory\n"


@pytest.mark.parametrize(
    ("text", "shown", "complaint"),
    [
        ("1. a\n2. b\n", ["1", "2"], ""),
        ("1. a\n2. b\nW1. c\n", ["1", "2", "W1"], ""),
        ("1. a\n2. b\n## Not shown by a test here\n\n* **2**: because\n", ["1"], ""),
        ("1. a\nW1. b\n## Not shown by a test here\n\n* **W1**: because\n", ["1"], ""),
        ("1. a\n2. b\n", ["1"], "no test shows 2"),
        ("1. a\nW1. b\nW2. c\n", ["1"], "no test shows W1, W2"),
        ("1. a\n3. b\n", ["1", "3"], "the numbers must be 1 to 2"),
        ("1. a\nW2. b\n", ["1", "W2"], "the numbers must be W1 to W1"),
        ("1. a\n1. b\n", ["1"], "each once"),
        ("1. a\n", ["1", "7", "W1"], "tests show 7, W1, which the catalogue does not have"),
        ("1. a\n## Not shown by a test here\n\n* **1**: because\n", ["1"], "1 is shown by a test: remove it"),
        ("1. a\n## Not shown by a test here\n\n* **9**: because\n", ["1"], "argues about 9"),
        ("1. a\n2. b\n## Not shown by a test here\n\n* **2**:\n", ["1"], "no test shows 2"),
        (
            "".join(f"{n}. a\n" for n in range(1, 6))
            + "## Not shown by a test here\n"
            + "".join(f"* **{n}**: because\n" for n in range(2, 6)),
            ["1"],
            "4 items are argued away, at most 3",
        ),
    ],
)
def test_catalogue_and_tests_are_held_against_each_other(
    script: ModuleType, text: str, shown: list[str], complaint: str
) -> None:
    found = script.problems(script.read_catalogue(text), dict.fromkeys(shown))
    assert (complaint in found[0]) if complaint else found == []

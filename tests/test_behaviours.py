"""The catalogue of behaviours and the tests agree."""

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
CATALOGUE = ROOT / "services" / "notification" / "BEHAVIOURS.md"


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
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_every_behaviour_of_the_notification_service_is_shown_by_a_test_or_argued() -> None:
    done = run(CATALOGUE, "services/notification", "packages")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ of 87 behaviours are shown by tests, \d argued$", done.stdout, re.MULTILINE)


MARKED = """
import pytest

@pytest.mark.behaviour(1, 3)
@pytest.mark.parametrize("value", [1, 2])
def test_a(value): ...

@pytest.mark.behaviour(1)
class TestB:
    def test_b(self): ...
"""


def test_tests_are_found_by_pytest_s_own_collection(script: ModuleType, tmp_path: Path) -> None:
    """Cases of one function count once, and a mark on a class counts for its tests."""
    (tmp_path / "test_marked.py").write_text(MARKED)
    (tmp_path / "not_collected.py").write_text(MARKED.replace("(1, 3)", "(4)"))
    (tmp_path / "catalogue.md").write_text("1. one\n2. two\n3. three\n")
    done = run(tmp_path / "catalogue.md", tmp_path, "--list")
    assert done.returncode == 1
    lines = [line.split()[0:2] for line in done.stdout.splitlines()[:-1] if line[:4].strip()]
    assert lines == [["1", "2"], ["2", "not"], ["3", "1"]]
    assert "no test shows 2: mark one with @pytest.mark.behaviour" in done.stderr


def test_tests_that_cannot_be_collected_are_an_error(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "catalogue.md").write_text("1. one\n")
    done = run(tmp_path / "catalogue.md", tmp_path)
    assert done.returncode == 1
    assert "cannot collect the tests" in done.stderr


@pytest.mark.parametrize(
    ("text", "shown", "complaint"),
    [
        ("1. a\n2. b\n", [1, 2], ""),
        ("1. a\n2. b\n## Not shown by a test here\n\n* **2**: because\n", [1], ""),
        ("1. a\n2. b\n", [1], "no test shows 2"),
        ("1. a\n3. b\n", [1, 3], "the numbers must be 1 to 2"),
        ("1. a\n1. b\n", [1], "each once"),
        ("1. a\n", [1, 7], "tests show 7, which the catalogue does not have"),
        ("1. a\n## Not shown by a test here\n\n* **1**: because\n", [1], "1 is shown by a test: remove it"),
        ("1. a\n## Not shown by a test here\n\n* **9**: because\n", [1], "argues about 9"),
        ("1. a\n2. b\n## Not shown by a test here\n\n* **2**:\n", [1], "no test shows 2"),
        (
            "".join(f"{n}. a\n" for n in range(1, 6))
            + "## Not shown by a test here\n"
            + "".join(f"* **{n}**: because\n" for n in range(2, 6)),
            [1],
            "4 behaviours are argued away, at most 3",
        ),
    ],
)
def test_catalogue_and_tests_are_held_against_each_other(
    script: ModuleType, text: str, shown: list[int], complaint: str
) -> None:
    found = script.problems(script.read_catalogue(text), dict.fromkeys(shown))
    assert (complaint in found[0]) if complaint else found == []

"""The example in the README is a real file, and it passes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]


def run_pytest(path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=path.parent)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_example_test_for_a_kopf_operator_passes() -> None:
    run_pytest(HERE / "examples")


def test_the_readmes_quick_start_passes(tmp_path: Path) -> None:
    block = re.search(r"```python\n(def test_.*?)```", (HERE / "README.md").read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "test_quick_start.py").write_text(block.group(1))
    run_pytest(tmp_path / "test_quick_start.py")


def test_the_readme_shows_the_example_as_it_is() -> None:
    readme = (HERE / "README.md").read_text()
    for name in ("greeter.py", "test_greeter.py"):
        assert (HERE / "examples" / name).read_text().strip() in readme, f"README.md shows another {name}"


def test_a_folder_whose_options_are_not_those_of_the_running_control_plane_is_told(tmp_path: Path) -> None:
    test = "def test_it(namespace):\n    assert namespace\n"
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"test_{name}.py").write_text(test)
    (tmp_path / "second" / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def control_plane_options():\n"
        "    return {'record_bodies': ['example.org']}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path)
    assert "1 passed, 1 error" in done.stdout
    assert "cannot use the session's control plane" in done.stdout

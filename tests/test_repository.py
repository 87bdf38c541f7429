"""Promises that the repository makes about itself, read from its own syntax trees."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py")) + sorted(ROOT.glob("services/*/src/**/*.py"))


def builds_a_status_path(path: Path) -> bool:
    """Whether a string in the module's code (docstrings apart) ends a path with the status subresource."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and node.value.endswith("/status")
        for node in ast.walk(tree)
    )


def test_exactly_one_module_builds_a_status_path() -> None:
    shipped = [path for path in SOURCES if "kubernaut_testing" not in path.parts]
    assert [path.name for path in shipped if builds_a_status_path(path)] == ["wire.py"]


def test_the_search_for_status_paths_sees_f_strings_and_plain_strings(tmp_path: Path) -> None:
    for code in ('x = f"{path}/status"', 'x = path + "/status"', 'x = "/apis/a/v1/b/status"'):
        module = tmp_path / "module.py"
        module.write_text(code)
        assert builds_a_status_path(module), code


def test_every_source_file_fits_a_room() -> None:
    """A file of more than 20 kB wants to be several."""
    assert [path.name for path in SOURCES if path.stat().st_size > 20_000] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []

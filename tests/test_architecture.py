"""What `docs/architecture.md` says of the rooms is so."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SERVICES = sorted(path.parent for path in ROOT.glob("services/*/src/*/app.py"))


def rooms() -> set[str]:
    """The files in the first column of the table of rooms."""
    table = PAGE.partition("| room | holds |")[2].partition("\n\n")[0]
    names = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\.py)`", row.split("|")[1])}
    assert len(names) > 8
    return names


def names_in(module: Path) -> set[str]:
    """Every name and attribute that a module's code uses."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} | {
        node.id for node in nodes if isinstance(node, ast.Name)
    }


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_each_service_has_the_same_rooms(service: Path) -> None:
    assert rooms() <= {path.name for path in service.iterdir()}


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_rooms_that_only_one_service_has_are_told(service: Path) -> None:
    own = {path.name for path in service.glob("*.py")} - rooms() - {"__init__.py"}
    own |= {f"{path.name}/" for path in service.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    told = PAGE.partition("What only one service has:")[2].partition("\n\n## ")[0]
    assert {name for name in own if f"`{name}`" not in told} == set()


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_only_the_status_room_asks_for_a_write_and_only_the_commits_room_calls_it(service: Path) -> None:
    modules = {str(path.relative_to(service)): names_in(path) for path in service.rglob("*.py")}
    writing = {"atomic_status_update", "StatusManager", "update_status", "write_status"}
    assert {name for name, used in modules.items() if used & writing} == {"status.py"}

    writer = ast.parse((service / "status.py").read_text())
    [form] = [
        node
        for node in ast.walk(writer)
        if isinstance(node, ast.ClassDef) and any(isinstance(item, ast.AsyncFunctionDef) for item in node.body)
    ]
    committing = {item.name for item in form.body if isinstance(item, ast.AsyncFunctionDef)}
    awaited = {
        name
        for name, path in ((name, service / name) for name in modules)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Await)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in committing
        and isinstance(node.value.func.value, ast.Attribute)
        and node.value.func.value.attr == "_status"
    }
    assert awaited == {"commits.py"}


def test_the_packages_name_no_class_of_a_service() -> None:
    services = {path.name for path in SERVICES}
    for package in ("runtime", "status", "policy", "testing"):
        for path in (ROOT / "packages" / f"kubernaut-{package}" / "src").rglob("*.py"):
            imported = {
                (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names
            }
            assert not imported & services, path

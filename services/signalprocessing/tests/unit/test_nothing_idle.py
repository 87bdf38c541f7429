"""Nothing is in the code that nothing uses: no function, no table, no setting but those that are said to be idle."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from pydantic.alias_generators import to_camel

SERVICE = Path(__file__).parents[2]
SOURCE = SERVICE / "src" / "kubernaut_signalprocessing"
PAGE = (SERVICE.parents[1] / "docs" / "signalprocessing" / "configuration.md").read_text()

OF_OTHERS = {
    "main": "the console script",
    "reconcile": "called by the runtime's controller",
    "datastorage": "read by the runtime, as its members are",
    "url": "",
    "health_url": "",
}
"""What the service has for others to use, and who does."""

IDLE = {
    "cache_ttl": "enrichment.cacheTtl",
    "hot_reload_interval": "classifier.hotReloadInterval",
}
"""Settings of the Go controller's file that are taken and do nothing: name -> key."""

IDLE_SECTION = {"scopes", "tls_ca_file", "mcp_gateway_type"}
"""Settings of `fleet` that nothing but the check of the section looks at."""


def unused(folder: Path) -> set[str]:
    """The names of functions, classes, methods, fields and constants that no other code of the folder mentions."""
    defined, used = set(), set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    if not any("validator" in ast.unparse(each) for each in node.decorator_list):
                        defined.add(node.name)
                case ast.Name(ctx=ast.Load()):
                    used.add(node.id)
                case ast.Name():
                    defined.add(node.id)
                case ast.Attribute():
                    used.add(node.attr)
                case ast.keyword():
                    used.add(node.arg)
    return {name for name in defined - used if not name.startswith("__") and name != "_"}


@pytest.mark.behaviour("W23")
def test_every_name_is_used_or_said_to_be_idle() -> None:
    assert unused(SOURCE) == OF_OTHERS.keys() | IDLE.keys() | IDLE_SECTION


@pytest.mark.behaviour("W23")
@pytest.mark.parametrize("key", IDLE.values())
def test_a_setting_without_effect_is_called_so_by_the_page(key: str) -> None:
    assert re.search(rf"^\| `{re.escape(key)}` .*without effect", PAGE, re.MULTILINE)


@pytest.mark.behaviour("W23")
def test_the_section_that_is_only_checked_is_called_so_by_the_page() -> None:
    _, _, section = PAGE.partition("\n## fleet\n")
    words, _, table = section.partition("\n| key |")
    assert re.search(r"clusterID.*ends? Failed", words)
    for name in IDLE_SECTION:
        assert re.search(rf"\| `fleet\.(oauth2\.)?{to_camel(name).replace('Ca', 'CA')}`", table)


def test_a_name_that_nobody_uses_is_found(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("TABLE = {}\n\ndef helper(): ...\n\ndef used():\n    return used\n")
    assert unused(tmp_path) == {"TABLE", "helper"}

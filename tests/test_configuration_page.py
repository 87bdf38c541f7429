"""The pages of config keys name every key, default, variable and path that a controller reads, and no other.

What all controllers have is on one page; a service's page has its own, and shared keys whose defaults it changes.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from pydantic import BaseModel

from kubernaut_notification.config import NotificationConfig
from kubernaut_runtime.durations import parse_duration
from kubernaut_runtime.sections import ControllerConfig
from kubernaut_signalprocessing.classification.signal_mode import SignalModes
from kubernaut_signalprocessing.config import SignalProcessingConfig

DOCS = Path(__file__).parents[1] / "docs"


class Subject(NamedTuple):
    """A page, the code that it speaks of, and the config model of that code."""

    page: str
    package: str
    model: type[ControllerConfig]


SHARED = Subject("configuration-shared.md", "kubernaut_runtime", ControllerConfig)
SERVICES = [
    Subject("notification/configuration.md", "kubernaut_notification", NotificationConfig),
    Subject("signalprocessing/configuration.md", "kubernaut_signalprocessing", SignalProcessingConfig),
]
SUBJECTS = [SHARED, *SERVICES]


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and default of every leaf."""
    for field in model.model_fields.values():
        key = f"{prefix}{field.alias}"
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        section = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if section is not None:
            yield from keys_of(section, f"{key}.")
        else:
            yield key, field.get_default(call_default_factory=True) if not field.is_required() else "required"


COMMON = dict(keys_of(ControllerConfig))


def expected(subject: Subject) -> dict[str, Any]:
    """The keys that a page has to name, with their defaults."""
    keys = dict(keys_of(subject.model))
    assert keys.keys() >= COMMON.keys()
    return (
        keys if subject is SHARED else {key: keys[key] for key in keys if key not in COMMON or keys[key] != COMMON[key]}
    )


def rows(page: str, *columns: str) -> dict[str, str]:
    """First cell -> second cell of the tables with these heads, over all names in the first cell."""
    found: dict[str, str] = {}
    head = r"\| " + r" \| ".join(columns) + r" \|.*\n\|[-|]+\n"
    for table in re.findall(rf"^{head}((?:\|.*\n)*)", (DOCS / page).read_text(), re.MULTILINE):
        for line in table.splitlines():
            names, value = line.strip("| ").split(" | ")[:2]
            for name in re.findall(r"`([^`]+)`", names):
                assert name not in found, f"{name} is told twice"
                found[name] = value
    return found


CASES = [(subject.page, key, default) for subject in SUBJECTS for key, default in sorted(expected(subject).items())]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.page)
def test_a_page_names_every_key_and_no_other(subject: Subject) -> None:
    assert sorted(rows(subject.page, "key", "default", "meaning")) == sorted(expected(subject))


@pytest.mark.parametrize(("page", "key", "default"), CASES)
def test_a_page_gives_the_default(page: str, key: str, default: Any) -> None:
    told = rows(page, "key", "default", "meaning")[key].strip("`")
    if key == "controller.leaderElectionId":
        assert (default, told) == (None, "<controller>.kubernaut.ai")
    elif default == "required":
        assert told.startswith("required")
    elif default in (None, ""):
        assert told == "none"
    elif isinstance(default, bool):
        assert told == str(default).lower()
    elif isinstance(default, float):
        assert parse_duration(told) == default
    elif isinstance(default, tuple):
        assert told.split(", ") == list(default)
    else:
        assert told == str(default)


# The environment and the mounts, read from the code's syntax trees ----------------------------------------


def trees(package: str) -> list[ast.Module]:
    (folder,) = import_module(package).__path__
    return [ast.parse(path.read_text()) for path in sorted(Path(folder).rglob("*.py"))]


def constants(modules: list[ast.Module]) -> dict[str, str]:
    """The texts that modules give names to."""
    return {
        target.id: node.value.value
        for module in modules
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def environment_keys(module: ast.Module) -> Iterator[ast.expr]:
    """The keys by which a module asks a mapping called `env` or `environ`."""
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Attribute(value=asked, attr="get"), args=[key, *_]):
                pass
            case ast.Subscript(value=asked, slice=key):
                pass
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[asked]):
                pass
            case _:
                continue
        if re.search(r"\benv(iron)?\b", ast.unparse(asked)) and "Mapping" not in ast.unparse(asked):
            yield key


def variables(modules: list[ast.Module], names: Mapping[str, str]) -> set[str]:
    """The environment variables that modules read."""
    return {
        key.value if isinstance(key, ast.Constant) else names[ast.unparse(key)]
        for module in modules
        for key in environment_keys(module)
    }


def mounted(modules: list[ast.Module]) -> set[str]:
    """The absolute paths below /etc and /var that modules name in code."""
    texts = (node.value for module in modules for node in ast.walk(module) if isinstance(node, ast.Constant))
    return {text.rstrip("/") for text in texts if isinstance(text, str) and re.fullmatch(r"/(etc|var)/\S+", text)}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.page)
def test_a_page_names_every_environment_variable_and_no_other(subject: Subject) -> None:
    modules = trees(subject.package)
    assert set(rows(subject.page, "variable", "meaning")) == variables(modules, constants(modules))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.page)
def test_a_page_names_every_mounted_path_and_no_other(subject: Subject) -> None:
    assert set(rows(subject.page, "path", "what")) == mounted(trees(subject.package))


def test_a_variable_is_found_however_it_is_asked_for() -> None:
    module = ast.parse(
        'A_ENV = "A"\nx = os.environ.get(A_ENV)\nenv["B"]\n"C" in env\n'
        '(os.environ if environ is None else environ).get("D", "")\nother.get("E")\n'
    )
    assert variables([module], constants([module])) == {"A", "B", "C", "D"}


# The example of the mapping file ---------------------------------------------------------------------------


def test_the_proactive_signals_of_the_page_are_what_it_says() -> None:
    text = (DOCS / "signalprocessing/configuration.md").read_text()
    (mappings,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    promises = re.findall(r"^> `(.+?)` → `(.+?)`, goes on as `(.+?)`$", text, re.MULTILINE)
    modes = SignalModes()
    modes.load(mappings.encode(), "the page")
    assert len(promises) == 3
    for name, mode, goes_on_as in promises:
        assert modes.of(name)[:2] == (mode, goes_on_as)

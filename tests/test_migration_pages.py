"""The pages on migration: their commands are the charts', and what they install is not in the way of what is there."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from against_opa import Engine, compare, engines, rules_of, signals
from tests.rego_files import DEFAULT, blocks

from kubernaut_policy import Policy, PolicyCompileError, Value
from kubernaut_policy.engines import ENGINES
from kubernaut_testing import opa
from kubernaut_testing.helm import Helm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ["notification/migration.md", "signalprocessing/migration.md"]


class Command(NamedTuple):
    """One helm command: its chart, and the values that it sets."""

    verb: str
    chart: str
    values: dict[str, str]


def commands(page: str) -> list[list[str]]:
    """The words of the commands on a page."""
    text = (DOCS / page).read_text()
    indented = re.findall(r"^    ((?:helm|kubectl) (?:.*\\\n)*.*)$", text, re.MULTILINE)
    return [shlex.split(command.replace("\\\n", " ")) for command in indented]


def helm_commands(page: str) -> Iterator[Command]:
    for words in commands(page):
        if words[:2] in (["helm", "install"], ["helm", "upgrade"]):
            pairs = pairwise(words)
            values = dict(value.split("=", 1) for flag, value in pairs if flag in ("--set", "--set-file"))
            yield Command(words[1], words[3], values)


def nested(values: dict[str, str]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for key, value in values.items():
        room = whole
        *path, last = key.split(".")
        for step in path:
            room = room.setdefault(step, {})
        room[last] = value if not value.endswith(".rego") else DEFAULT.read_text()
    return whole


def rendered(command: Command) -> set[tuple[str, str]]:
    """Kind and name of all that a command installs."""
    needed = {"policies": {"content": "package signalprocessing"}} if command.chart.endswith("signalprocessing") else {}
    objects = Helm().template("release", ROOT / command.chart, namespace="ns", values=needed | nested(command.values))
    return {(thing["kind"], thing["metadata"]["name"]) for thing in objects}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_helm_render(page: str) -> None:
    found = list(helm_commands(page))
    assert [command.verb for command in found] == ["install", "upgrade"]
    for command in found:
        assert command.chart == f"charts/{page.partition('/')[0]}"
        assert rendered(command)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_that_is_installed_has_a_name_of_what_is_there(page: str) -> None:
    text = (DOCS / page).read_text()
    owners = re.findall(r"^ *\| ((?:Deployment|ConfigMap|Service).+?) \|", text, re.MULTILINE)
    there = {name for row in owners for name in re.findall(r"`([^`]+)`", row)}
    assert len(there) >= 3
    (install,) = [command for command in helm_commands(page) if command.verb == "install"]
    assert {name for _, name in rendered(install)} & there == set()
    default = install._replace(
        values={key: value for key, value in install.values.items() if key != "fullnameOverride"}
    )
    assert {name for _, name in rendered(default)} >= there, "without an override the names are those"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_stopped_and_started_again_is_one_deployment(page: str) -> None:
    scaled = [words for words in commands(page) if "scale" in words]
    assert [words[-1] for words in scaled] == ["--replicas=0", "--replicas=1"]
    assert scaled[0][:-1] == scaled[1][:-1]


# The line that OPA refuses ---------------------------------------------------------------------------------

SP = (DOCS / PAGES[1]).read_text()
HEAD = "package signalprocessing\n\nimport rego.v1\n\n"


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with engines() as get:
        yield get(request.param)


@pytest.mark.parametrize("engine", sorted(ENGINES), indirect=True)
def test_the_example_is_refused_and_what_replaces_it_is_not(engine: Engine, tmp_path: Path) -> None:
    (before,) = re.findall(r"^```\n(.*?)^```$", SP, re.MULTILINE | re.DOTALL)
    (after,) = blocks(SP)
    path = tmp_path / "policy.rego"
    path.write_text(HEAD + before)
    line = 1 + (HEAD + before).splitlines().index(next(text for text in before.splitlines() if " else " in text))
    assert f":{line}: rego_parse_error" in opa.check(path)
    with pytest.raises(PolicyCompileError, match=rf"^cannot use the policy: policy.rego:{line}\b"):
        engine.load(Policy(HEAD + before))
    path.write_text(HEAD + after)
    assert opa.check(path) == ""
    engine.load(Policy(HEAD + after))
    compared = compare(engine, HEAD + after, rules_of(HEAD + after), signals(HEAD + after, 50))
    assert not compared.wrong, str(compared)
    document = {"namespace": {"name": "a", "labels": {"kubernaut.ai/tier": "gold"}}}
    answers = engine.evaluate({"labels": "data.signalprocessing.labels"}, document)
    assert answers == {"labels": Value({"tier": ["gold"]})}


def test_the_readme_installs_each_chart_with_files_that_are_there() -> None:
    found = list(helm_commands("../README.md"))
    assert {command.chart for command in found} == {
        f"charts/{path.parent.name}" for path in ROOT.glob("charts/*/values.yaml")
    }
    for command in found:
        assert all((ROOT / value).is_file() for value in command.values.values())
    installed = [rendered(command) for command in found]
    assert not set.intersection(*installed)

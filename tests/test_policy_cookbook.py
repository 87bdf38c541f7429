"""Every recipe, example and command of the policy cookbook does what the page says, in both engines and in OPA."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from against_opa import Engine, compare, engines, rules_of, signals
from tests.rego_files import COOKBOOK, DEFAULT, blocks

from kubernaut_api import KubernetesContext, SignalProcessing
from kubernaut_policy import Policy, Results
from kubernaut_policy.engines import ENGINES
from kubernaut_signalprocessing.classification.document import input_document
from kubernaut_signalprocessing.classification.policy import QUERIES, Classification, Classifier, RuleFailure
from kubernaut_signalprocessing.classification.signal_mode import SignalModes
from kubernaut_testing import binaries

PAGE = COOKBOOK.read_text()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
INPUTS = 50
"""Generated inputs of a recipe; `test_policies` asks more of what is shipped."""


class Recipe(NamedTuple):
    title: str
    rules: str
    promises: list[tuple[str, str]]


RECIPES = [
    Recipe(title, rules, re.findall(r"^> (.+?) → (.+)$", rest, re.MULTILINE))
    for title, rules, rest in re.findall(
        r"^### (.+?)\n\s*^```rego\n(.*?)^```$(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
]
ENGINE_NAMES = sorted(ENGINES)
EngineOf = Callable[[str], Engine]


def sections(policy: str) -> dict[str, str]:
    """The parts of a policy that begin with `# --- <word>`; the empty word has what goes before."""
    parts = re.split(r"^(?=# --- )", policy, flags=re.MULTILINE)
    return {"": parts[0]} | {re.findall(r"^# --- ([\w ]+):", part)[0]: part for part in parts[1:]}


def whole(recipe: Recipe) -> str:
    """The default policy with the recipe in place of its section."""
    ((_, _), (word, part)) = sections(recipe.rules).items()
    parts = sections(DEFAULT.read_text())
    assert word in parts
    return "\n".join(text.strip("\n") + "\n" for text in (parts | {word: part}).values())


def signal_processing(document: Mapping[str, Any]) -> SignalProcessing:
    """The object whose input is `document`."""
    signal = {"name": "a", "fingerprint": "a" * 64, "targetType": "kubernetes", "receivedTime": "2026-03-01T00:00:00Z"}
    return SignalProcessing.model_validate(
        {
            "metadata": {"name": "sp", "namespace": "ns"},
            "spec": {
                "remediationRequestRef": {"name": "rr"},
                "signal": {**signal, "targetResource": {"kind": "Pod", "name": "p"}, **document["signal"]},
            },
            "status": {"kubernetesContext": {name: document[name] for name in ("namespace", "workload", "cluster")}},
        }
    )


@pytest.fixture(scope="module")
def engine_of() -> Iterator[EngineOf]:
    with engines() as get:
        yield get


class Evaluator:
    """An engine with a policy, as the classifier asks it."""

    def __init__(self, engine: Engine, text: str) -> None:
        self._engine, self._policy = engine, Policy(text)
        engine.load(self._policy, QUERIES)

    async def evaluate(self, queries: Mapping[str, str], document: Any, /) -> Results:
        return Results(self._policy.hash, self._engine.evaluate(queries, document))


def classifier(text: str, engine: Engine) -> Classifier:
    return Classifier(Evaluator(engine, text), SignalModes())


def test_every_recipe_promises_something_and_replaces_a_section() -> None:
    assert len(RECIPES) == PAGE.partition("## Recipes")[2].count("```rego") >= 8
    assert all(recipe.promises for recipe in RECIPES)
    assert all(whole(recipe) for recipe in RECIPES)


@pytest.mark.parametrize("engine", ENGINE_NAMES)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_gives_what_opa_gives(recipe: Recipe, engine: str, engine_of: EngineOf) -> None:
    text = whole(recipe)
    compared = compare(engine_of(engine), text, rules_of(text), signals(text, INPUTS))
    assert not compared.wrong, str(compared)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
async def test_no_signal_fails_by_a_recipe(recipe: Recipe, engine_of: EngineOf) -> None:
    text = whole(recipe)
    asked = classifier(text, engine_of("regopy"))
    for document in signals(text, INPUTS):
        sp = signal_processing(document)
        assert input_document(sp.spec.signal, sp.status.kubernetes_context) == document
        assert isinstance(await asked.classify(sp, NOW), Classification)


# What stands beneath a recipe ------------------------------------------------------------------------------

_PLACES = {
    "namespace": ("namespace", "name"),
    "workload": ("workload", "kind"),
    "severity": ("signal", "severity"),
    "source": ("signal", "source"),
}


def document_of(what: str) -> dict[str, Any]:
    """The input that a promise speaks of."""
    document: dict[str, Any] = {
        "namespace": {"name": "shop"},
        "workload": {"kind": "Pod", "name": "cart-0"},
        "signal": {"severity": "", "type": "alert", "source": ""},
        "cluster": {},
    }
    for name, value in re.findall(r"([a-z ]+?) `([^`]*)`(?:, |$)", what):
        if name in _PLACES:
            room, key = _PLACES[name]
            document[room][key] = value
        else:
            room, _, kind = name.partition(" ")
            key, _, value = value.partition("=")
            document[room].setdefault({"label": "labels", "annotation": "annotations"}[kind], {})[key] = value
    return document


async def said(asked: Classifier, document: Mapping[str, Any]) -> dict[str, str]:
    """What the controller makes of an input, in the page's words."""
    sp = signal_processing(document)
    found = await asked.classify(sp, NOW)
    assert isinstance(found, Classification)
    context = sp.status.kubernetes_context
    labels = await asked.custom_labels(sp.spec.signal, context or KubernetesContext())
    return {
        "environment": found.environment.environment,
        "source": found.environment.source,
        "priority": found.priority.priority,
        "policy name": found.priority.policy_name,
        "severity": found.signal.severity,
        "cluster": found.signal.cluster_classification,
        **{f"custom labels {name}": ",".join(values) for name, values in labels.items()},
    }


@pytest.mark.parametrize("engine", ENGINE_NAMES)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
async def test_a_recipe_gives_what_the_page_says(recipe: Recipe, engine: str, engine_of: EngineOf) -> None:
    asked = classifier(whole(recipe), engine_of(engine))
    for what, promised in recipe.promises:
        answer = await said(asked, document_of(what))
        expected = re.findall(r"([a-z ]+?) `([^`]*)`(?:, |$)", promised)
        assert expected
        for name, value in expected:
            if name == "custom labels":
                name, _, value = f"{name} {value}".partition("=")
            assert answer[name] == value, what


# The input, the rules, failures ------------------------------------------------------------------------------


def leaves(value: Any, path: str = "input") -> set[str]:
    """Paths to texts, to maps of texts, and to what is empty."""
    if not isinstance(value, dict) or path.endswith(("labels", "annotations")) or not value:
        return {path}
    return {leaf for key, item in value.items() for leaf in leaves(item, f"{path}.{key}")}


def test_the_table_of_the_input_is_that_of_the_code() -> None:
    table = re.findall(r"^\| (`input.+?) \| .+? \| (.+?) \|$", PAGE, re.MULTILINE)
    paths = {path: present for names, present in table for path in re.findall(r"`([^`]+)`", names)}
    (example,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    full = json.loads(example)
    sp = signal_processing(full)
    assert input_document(sp.spec.signal, sp.status.kubernetes_context) == full
    assert leaves(full) | {"input.cluster.labels"} == set(paths)
    empty = input_document(sp.spec.signal.model_copy(update={"labels": {}}), None)
    assert leaves(empty) == {path for path, present in paths.items() if present.startswith("always")}
    assert leaves(signal_processing(full | {"cluster": {"labels": {"a": "b"}}}) and full) <= set(paths)


WHOLE = {
    "environment": 'environment := {"environment": "Test", "source": "x"}',
    "priority": 'priority := {"priority": "P3", "policy_name": "x"}',
    "severity": 'severity := "info"',
}


@pytest.mark.parametrize(
    ("cell", "error"),
    re.findall(
        r"^\| (.+?) \| `(.+?)` \|$",
        PAGE.partition("| a policy with | says |\n|---|---|\n")[2].partition("\n\n")[0],
        re.MULTILINE,
    ),
)
async def test_a_rule_that_fails_is_told_as_the_page_says(cell: str, error: str, engine_of: EngineOf) -> None:
    (code,) = re.findall(r"`(.+)`", cell)
    rule = code.split()[0]
    rules = WHOLE | {rule: code}
    asked = classifier(
        "\n\n".join(["package signalprocessing", "import rego.v1", *rules.values()]), engine_of("regopy")
    )
    failure = await asked.classify(signal_processing(document_of("")), NOW)
    assert isinstance(failure, RuleFailure)
    assert failure.text == error


# The commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the files that the page speaks of."""
    (tmp_path / "policy.rego").write_bytes(DEFAULT.read_bytes())
    (tests,) = [block for block in blocks(PAGE) if block.startswith("package signalprocessing_test")]
    (tmp_path / "policy_test.rego").write_text(tests)
    for name, kind in (("input.json", "json"), ("config.yaml", "yaml")):
        (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    places = [str(binaries.find("opa").parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    return subprocess.run(
        command.split(), cwd=folder, env={"PATH": ":".join(places)}, capture_output=True, text=True, timeout=60
    )


def test_the_commands_do_what_they_are_for(desk: Path) -> None:
    commands = re.findall(r"^    ((?:opa|kubernaut-signalprocessing|sha256sum) .+)$", PAGE, re.MULTILINE)
    outputs = {}
    for command in commands:
        done = run(command, desk)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        outputs[" ".join(command.split()[:2])] = done.stdout
    assert json.loads(outputs["opa eval"]) == {"policy_name": "production-critical", "priority": "P0"}
    assert outputs["opa test"].strip() == "PASS: 2/2"
    assert outputs["kubernaut-signalprocessing --config"].startswith("OK: config.yaml")
    assert outputs["sha256sum policy.rego"].split()[0] == Policy.from_bytes(DEFAULT.read_bytes()).hash
    assert len(outputs) == 5


def test_the_test_of_the_page_can_fail(desk: Path) -> None:
    policy = desk / "policy.rego"
    policy.write_text(policy.read_text().replace('default severity := "unknown"', 'default severity := "what"'))
    failed = run("opa test policy.rego policy_test.rego", desk)
    assert failed.returncode != 0
    assert "FAIL: 1/2" in failed.stdout


async def test_a_test_package_is_no_policy(engine_of: EngineOf) -> None:
    (tests,) = [block for block in blocks(PAGE) if block.startswith("package signalprocessing_test")]
    asked = classifier(tests, engine_of("regopy"))
    assert isinstance(await asked.classify(signal_processing(document_of("")), NOW), RuleFailure)

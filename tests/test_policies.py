"""Every policy that the repository ships or shows gives the same answers in both engines and in OPA itself."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from against_opa import Engine, compare, engines, rules_of, signals
from tests.rego_files import DEFAULT, ROOT, Found, policies, policies_in

from kubernaut_policy.engines import ENGINES
from kubernaut_testing import opa

INPUTS = 200
FOUND = policies()
OF_THE_PACKAGE = "packages/kubernaut-policy/tests/policies/"  # test_against_opa.py takes all of that folder


def to_compare() -> Iterable[Found]:
    seen = set()
    for found in FOUND:
        whole = re.search(r"^package signalprocessing$", found.text, re.MULTILINE)
        if whole and not found.where.startswith(OF_THE_PACKAGE) and found.text not in seen:
            seen.add(found.text)
            yield found


COMPARED = list(to_compare())
PAGES_WITH_PARTS = {  # page -> the module that makes policies of its parts and compares those
    "docs/signalprocessing/policies.md": "test_policy_cookbook.py",
    "docs/signalprocessing/migration.md": "test_migration_pages.py",
}


@pytest.fixture(scope="module")
def engine_of() -> Iterator[Callable[[str], Engine]]:
    with engines() as get:
        yield get


def test_the_default_policy_is_found_and_opa_takes_it() -> None:
    assert str(DEFAULT.relative_to(ROOT)) in [found.where for found in COMPARED]
    assert opa.check(DEFAULT) == ""


@pytest.mark.parametrize("engine", sorted(ENGINES))
@pytest.mark.parametrize("found", COMPARED, ids=lambda found: found.where)
def test_a_policy_gives_the_same_answers_everywhere(
    found: Found, engine: str, engine_of: Callable[[str], Engine]
) -> None:
    compared = compare(engine_of(engine), found.text, rules_of(found.text), signals(found.text, INPUTS))
    assert not compared.wrong, str(compared)


def test_no_policy_escapes() -> None:
    compared = {found.text for found in COMPARED}
    rest = [
        found.where
        for found in FOUND
        if found.text not in compared
        and not found.where.startswith(OF_THE_PACKAGE)
        and found.where.partition("#")[0] not in PAGES_WITH_PARTS
    ]
    assert rest == [], "nobody compares these with OPA"


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.rego", "package a\n", 1),
        ("a.md", "x\n\n```rego\npackage a\n```\n\n```rego\ny := 1\n```\n", 2),
        ("values.yaml", "policies:\n  content: |\n    package a\n    x := 1\n", 1),
        ("templates/a.yaml", "{{ if .Values.a }}\n  package a\n{{ end }}\n", 1),
        ("demo/a.py", 'POLICY = """package a\nx := 1\n"""\n', 1),
        ("tests/a.py", 'POLICY = """package a\nx := 1\n"""\n', 0),
        ("b.md", "the package a\n", 0),
    ],
)
def test_a_policy_is_found_wherever_it_stands(name: str, text: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / Path(name).name
    path.write_text(text)
    assert len(list(policies_in(path, name))) == count


def test_another_answer_would_be_seen(monkeypatch: pytest.MonkeyPatch, engine_of: Callable[[str], Engine]) -> None:
    monkeypatch.setattr(opa, "answers", lambda *_: [{"severity": "high"}])
    text = 'package signalprocessing\n\nseverity := "low"\n'
    compared = compare(engine_of("regorus"), text, ["severity"], [{}])
    assert [name for name, *_ in compared.wrong] == ["severity", "signalprocessing"]

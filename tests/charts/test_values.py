"""The schema of the values, their documentation, and everything in the charts that repeats another file."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import generate

from kubernaut_testing.helm import Helm, HelmError

from .services import CHARTED, NOTIFICATION, SIGNALPROCESSING, Charted, merged


@pytest.fixture
def helm() -> Helm:
    return Helm()


def test_the_chart_lints_without_warnings(helm: Helm, chart: Path) -> None:
    assert "0 chart(s) failed" in helm.lint(chart)


SHARED: list[tuple[dict[str, Any], str]] = [
    ({"replica": 2}, "additional properties 'replica' not allowed"),
    ({"replicas": "two"}, "/replicas"),
    ({"controller": {"leaderElektion": True}}, "additional properties 'leaderElektion' not allowed"),
    ({"controller": {"statusUpdateMode": "fast"}}, "'atomic', 'sequential'"),
    ({"controller": {"maxConcurrentReconciles": 0}}, "/controller/maxConcurrentReconciles': minimum: got 0, want 1"),
    ({"controller": {"leaseDuration": "0s"}}, "/controller/leaseDuration': '0s' does not match"),
    ({"controller": {"metricsAddr": "9090"}}, "/controller/metricsAddr': '9090' does not match"),
    ({"controller": {"leaderElectionId": ""}}, "/controller/leaderElectionId"),
    ({"datastorage": {"url": "data-storage:8080"}}, "/datastorage/url': 'data-storage:8080' does not match"),
    ({"datastorage": {"buffer": {"batchSize": 0}}}, "/datastorage/buffer/batchSize': exclusiveMinimum"),
    ({"logging": {"level": "LOUD"}}, "/logging/level': 'LOUD' does not match pattern '(?i)^(DEBUG|INFO|WARN|ERROR|)$'"),
    ({"logging": {"format": "xml"}}, "(?i)^(json|console|)$"),
    ({"config": {"deliveries": {}}}, "additional properties 'deliveries' not allowed"),
    ({"datastorage": {"buffer": {"size": 1}}}, "additional properties 'size' not allowed"),
    ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    ({"networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1"]}}}, "/networkPolicy/apiServer/cidrs/0"),
    ({"networkPolicy": {"smpt": {}}}, "additional properties 'smpt' not allowed"),
    ({"metrics": {"serviceMonitor": {"on": True}}}, "additional properties 'on' not allowed"),
    ({"fullnameOverride": "a.b"}, "/fullnameOverride"),
    ({"fullnameOverride": "1a"}, "/fullnameOverride"),
    ({"pdb": None}, "missing property 'pdb'"),
    ({"metrics": {"service": None}}, "missing property 'service'"),
]
OWN: list[tuple[Charted, dict[str, Any], str]] = [
    (NOTIFICATION, {"slack": {"secret": "x"}}, "additional properties 'secret' not allowed"),
    (
        NOTIFICATION,
        {"config": {"delivery": {"slack": {"timeOut": "1s"}}}},
        "additional properties 'timeOut' not allowed",
    ),
    (NOTIFICATION, {"config": {"delivery": {"slack": {"timeout": "soon"}}}}, "does not match pattern"),
    (NOTIFICATION, {"delivery": {"maxCallsPerChannel": 0}}, "/delivery/maxCallsPerChannel': minimum: got 0, want 1"),
    (NOTIFICATION, {"credentials": [{"name": "../x", "secretName": "y"}]}, "/credentials/0/name"),
    (NOTIFICATION, {"credentials": [{"name": "x"}]}, "missing property 'secretName'"),
    (
        NOTIFICATION,
        {"networkPolicy": {"externalWebhooks": {"cidrs": ["10.0.0.1"]}}},
        "/networkPolicy/externalWebhooks/cidrs/0",
    ),
    (SIGNALPROCESSING, {"policies": {"contents": "x"}}, "additional properties 'contents' not allowed"),
    (SIGNALPROCESSING, {"policies": {"existingConfigMap": "a_b"}}, "/policies/existingConfigMap"),
    (SIGNALPROCESSING, {"classifier": {"engine": "opa"}}, "'regopy', 'regorus'"),
    (SIGNALPROCESSING, {"enrichment": {"timeout": "soon"}}, "does not match pattern"),
    (SIGNALPROCESSING, {"config": {"enrichment": {"maxAttempts": 101}}}, "maximum: got 101, want 100"),
    (SIGNALPROCESSING, {"classifier": {"regoConfigMapKey": ""}}, "/classifier/regoConfigMapKey"),
    (SIGNALPROCESSING, {"fleet": {"oauth2": {"tokenUrl": ""}}}, "additional properties 'tokenUrl' not allowed"),
]


@pytest.mark.parametrize(
    ("service", "values", "complaint"),
    [(service, *case) for service in CHARTED for case in SHARED] + OWN,
    ids=lambda value: value if isinstance(value, str) else str(value) if isinstance(value, Charted) else "",
)
def test_values_that_are_wrong_are_refused_with_their_place(
    helm: Helm, service: Charted, values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template("n", service.chart, values=merged(service.needed, values))
    assert complaint in refused.value.output


def test_every_value_is_documented(chart: Path) -> None:
    assert generate.undocumented((chart / "values.yaml").read_text()) == []


def test_every_documented_value_is_known_to_the_schema(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    for value in generate.documented((chart / "values.yaml").read_text()):
        assert _known(schema, schema, value.key.split(".")), value.key


def test_every_value_of_the_schema_is_documented_unless_helm_or_an_umbrella_sets_it(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    told = {value.key.split(".")[0] for value in generate.documented((chart / "values.yaml").read_text())}
    assert set(schema["properties"]) - told == {"kubernaut-common", "enabled"}


def _known(root: dict[str, Any], schema: dict[str, Any], path: list[str]) -> bool:
    while reference := schema.get("$ref") or schema.get("allOf", [{}])[0].get("$ref"):
        schema = root
        for step in reference.removeprefix("#/").split("/"):
            schema = schema[step]
    if not path or schema.get("additionalProperties", True) is not False:
        return True
    return path[0] in schema["properties"] and _known(root, schema["properties"][path[0]], path[1:])


def test_everything_generated_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_a_change_anywhere_is_seen_by_the_check(
    service: Charted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(generate.CHARTS, tmp_path / "charts", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(generate, "CHARTS", tmp_path / "charts")
    monkeypatch.setattr(generate, "LIBRARY", tmp_path / "charts" / "kubernaut-common")
    folder = tmp_path / "charts" / service.name
    assert generate.main(["--check"]) == 0
    for name, old, new in (
        ("charts/kubernaut-common/templates/_names.tpl", "52", "53"),
        (f"files/crds/kubernaut.ai_{service.plural}.yaml", "listKind", "listSort"),
        ("files/role.yaml", "[get, list, watch]", "[get, list, watch, delete]"),
        ("values.yaml", "replicas: 1", "replicas: 2"),
        ("values.schema.json", '"leaseDuration"', '"leaseTime"'),
        ("README.md", "| `replicas` | `1` |", "| `replicas` | `2` |"),
    ):
        path = folder / name
        text = path.read_text()
        assert old in text, name
        path.write_text(text.replace(old, new, 1))
        assert generate.main(["--check"]) == 1, name
        assert name in capsys.readouterr().out
        assert generate.main([]) == 0
        assert path.read_text() == text
    (folder / "files" / "crds" / "old.yaml").write_text("")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_values_that_all_charts_have_stand_in_each_of_them_once(service: Charted) -> None:
    text = (service.chart / "values.yaml").read_text()
    for wrong in (text.replace("# shared pods: end", ""), text + "# shared pods: begin\n# shared pods: end\n"):
        with pytest.raises(ValueError, match=rf"cannot write {service.name}/values\.yaml: it needs marks for each of"):
            generate.with_shared_values(wrong, service.generated)


def test_a_packaged_chart_is_complete_and_has_nothing_that_only_generates_it(
    helm: Helm, service: Charted, tmp_path: Path
) -> None:
    helm.run("package", str(service.chart), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = {name.removeprefix(f"{service.name}/") for name in archive.getnames()}
    assert {"values.schema.json", "files/role.yaml", "charts/kubernaut-common/Chart.yaml"} <= names
    assert not {name for name in names if "own.schema" in name or "/values/" in name}
    values = dict(service.everything)
    assert helm.template("n", package, values=values) == helm.template("n", service.chart, values=values)


def test_the_dependency_is_the_library_as_it_is(chart: Path) -> None:
    library = yaml.safe_load((generate.LIBRARY / "Chart.yaml").read_text())
    (dependency,) = yaml.safe_load((chart / "Chart.yaml").read_text())["dependencies"]
    assert (dependency["name"], dependency["version"]) == (library["name"], library["version"])
    assert dependency["repository"] == "file://../kubernaut-common"


def test_one_version_is_told_everywhere(service: Charted, chart: Path) -> None:
    root = generate.CHARTS.parent
    told = {
        "appVersion": str(yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"]),
        "package": import_module(f"kubernaut_{service.name}").__version__,
        "image": re.findall(r"^ARG VERSION=(.+)$", (root / "services/Dockerfile").read_text(), re.M)[0],
        "make": re.findall(r"^VERSION \?= (.+)$", (root / "Makefile").read_text(), re.M)[0],
    }
    assert len(set(told.values())) == 1, told

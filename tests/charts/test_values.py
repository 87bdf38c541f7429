"""The schema of the values, their documentation, and everything in the charts that repeats another file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import generate

from kubernaut_notification import __version__
from kubernaut_testing.helm import Helm, HelmError


@pytest.fixture
def helm() -> Helm:
    return Helm()


def test_the_chart_lints_without_warnings(helm: Helm, chart: Path) -> None:
    assert "0 chart(s) failed" in helm.lint(chart)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"replicas": "two"}, "/replicas"),
        ({"slack": {"secret": "x"}}, "additional properties 'secret' not allowed"),
        ({"controller": {"leaderElektion": True}}, "additional properties 'leaderElektion' not allowed"),
        ({"controller": {"statusUpdateMode": "fast"}}, "'atomic', 'sequential'"),
        ({"config": {"delivery": {"slack": {"timeOut": "1s"}}}}, "additional properties 'timeOut' not allowed"),
        ({"config": {"delivery": {"slack": {"timeout": "soon"}}}}, "does not match pattern"),
        ({"config": {"deliveries": {}}}, "additional properties 'deliveries' not allowed"),
        ({"datastorage": {"buffer": {"size": 1}}}, "additional properties 'size' not allowed"),
        ({"credentials": [{"name": "../x", "secretName": "y"}]}, "/credentials/0/name"),
        ({"credentials": [{"name": "x"}]}, "missing property 'secretName'"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"networkPolicy": {"externalWebhooks": {"cidrs": ["10.0.0.1"]}}}, "/networkPolicy/externalWebhooks/cidrs/0"),
        ({"metrics": {"serviceMonitor": {"on": True}}}, "additional properties 'on' not allowed"),
        ({"fullnameOverride": "a.b"}, "/fullnameOverride"),
        ({"fullnameOverride": "1a"}, "/fullnameOverride"),
        ({"pdb": None}, "missing property 'pdb'"),
        ({"metrics": {"service": None}}, "missing property 'service'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_that_are_wrong_are_refused_with_their_place(
    helm: Helm, chart: Path, values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template("n", chart, values=values)
    assert complaint in refused.value.output


def test_the_live_charts_config_file_can_be_given_as_it_is(helm: Helm, chart: Path) -> None:
    live = yaml.safe_load((generate.CHARTS.parent / "services/notification/tests/live-config.yaml").read_text())
    documents = helm.template("n", chart, values={"config": live})
    (config,) = [d for d in documents if d["metadata"]["name"] == "notification-controller-config"]
    rendered = yaml.safe_load(config["data"]["config.yaml"])
    for section, content in live.items():
        assert rendered[section] == content if not isinstance(content, dict) else content.items() <= {
            **rendered[section], **{key: content[key] for key in content if isinstance(content[key], dict)}
        }.items()  # fmt: skip


def test_every_value_is_documented() -> None:
    for service in generate.SERVICES:
        assert generate.undocumented((service.folder / "values.yaml").read_text()) == []


def test_every_documented_value_is_known_to_the_schema() -> None:
    for service in generate.SERVICES:
        schema = json.loads((service.folder / "values.schema.json").read_text())
        for value in generate.documented((service.folder / "values.yaml").read_text()):
            assert _known(schema, schema, value.key.split(".")), value.key


def _known(root: dict[str, Any], schema: dict[str, Any], path: list[str]) -> bool:
    while "$ref" in schema or "allOf" in schema:
        reference = schema["$ref"] if "$ref" in schema else schema["allOf"][0]["$ref"]
        schema = root
        for step in reference.removeprefix("#/").split("/"):
            schema = schema[step]
    if not path or schema.get("additionalProperties", True) is not False:
        return True
    return path[0] in schema["properties"] and _known(root, schema["properties"][path[0]], path[1:])


def test_everything_generated_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_a_change_anywhere_is_seen_by_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(generate.CHARTS, tmp_path / "charts", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(generate, "CHARTS", tmp_path / "charts")
    monkeypatch.setattr(generate, "LIBRARY", tmp_path / "charts" / "kubernaut-common")
    folder = tmp_path / "charts" / "notification"
    assert generate.main(["--check"]) == 0
    for name, old, new in (
        ("charts/kubernaut-common/templates/_names.tpl", "52", "53"),
        ("files/crds/kubernaut.ai_notificationrequests.yaml", "maxLength: 500", "maxLength: 501"),
        ("values.schema.json", '"leaseDuration"', '"leaseTime"'),
        ("README.md", "| `replicas` | `1` |", "| `replicas` | `2` |"),
    ):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        assert generate.main(["--check"]) == 1, name
        assert name in capsys.readouterr().out
        assert generate.main([]) == 0
        assert path.read_text() == text
    (folder / "files" / "crds" / "old.yaml").write_text("")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_the_dependency_is_the_library_as_it_is(chart: Path) -> None:
    library = yaml.safe_load((generate.LIBRARY / "Chart.yaml").read_text())
    (dependency,) = yaml.safe_load((chart / "Chart.yaml").read_text())["dependencies"]
    assert (dependency["name"], dependency["version"]) == (library["name"], library["version"])
    assert dependency["repository"] == "file://../kubernaut-common"


def test_one_version_is_told_everywhere(chart: Path) -> None:
    root = generate.CHARTS.parent
    told = {
        "appVersion": str(yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"]),
        "package": __version__,
        "image": re.findall(r"^ARG VERSION=(.+)$", (root / "services/Dockerfile").read_text(), re.M)[0],
        "make": re.findall(r"^VERSION \?= (.+)$", (root / "Makefile").read_text(), re.M)[0],
    }
    assert len(set(told.values())) == 1, told

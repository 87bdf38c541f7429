"""The helm wrapper: values arrive as they are, failures say why, a user's own settings have no say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.helm import Helm, HelmError


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart of one ConfigMap that holds its values."""
    folder = tmp_path / "tiny"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 1.0.0\nicon: https://example.com/i.png\n")
    (folder / "values.yaml").write_text("text: default\n")
    (folder / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-map\n"
        "data:\n  text: {{ required `text is needed` .Values.text | quote }}\n"
    )
    return folder


@pytest.mark.parametrize("text", ["1e3", "on", "007", "null", "ä\n: {{ x }} 'y'", "2001-01-01"])
def test_values_arrive_as_they_were_given(chart: Path, text: str) -> None:
    (rendered,) = Helm().template("r", chart, values={"text": text})
    assert rendered["data"]["text"] == text


def test_a_failure_carries_what_helm_said(chart: Path) -> None:
    with pytest.raises(HelmError, match="text is needed") as failed:
        Helm().template("r", chart, values={"text": ""})
    assert failed.value.code == 1
    assert "cannot run helm template r" in str(failed.value)


def test_a_users_own_settings_have_no_say(
    chart: Path, monkeypatch: pytest.MonkeyPatch, control_plane: ControlPlane
) -> None:
    """A cluster of the user's is never asked, whatever the environment names."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    monkeypatch.setenv("HELM_NAMESPACE", "elsewhere")
    assert "0 chart(s) failed" in Helm().lint(chart)
    with pytest.raises(HelmError, match=r"cluster unreachable|connection refused|no configuration"):
        Helm(timeout=10).run("list")


def test_a_release_lives_through_its_whole_life(chart: Path, control_plane: ControlPlane, namespace: str) -> None:
    helm = Helm(control_plane.kubeconfig, timeout=30)

    def text() -> str:
        return str(control_plane.api.get("v1", "ConfigMap", namespace, "r-map")["data"]["text"])

    helm.install("r", chart, namespace=namespace, values={"text": "one"}, wait=False)
    assert text() == "one"
    helm.upgrade("r", chart, namespace=namespace, wait=False)
    assert text() == "default"
    helm.rollback("r", 1, namespace=namespace, wait=False)
    assert text() == "one"
    state = helm.status("r", namespace=namespace)
    assert (state["version"], state["info"]["status"]) == (3, "deployed")
    helm.uninstall("r", namespace=namespace, wait=False)
    assert control_plane.api.find("v1", "ConfigMap", namespace, "r-map") is None

"""Who owns the CRD: this release, another one, or the live chart, which leaves it without an owner."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubernaut_api.crds import load_crd
from kubernaut_testing import eventually
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.helm import Helm

from .installed import CHART

NAME = "notificationrequests.kubernaut.ai"
NO_PODS = {"replicas": 0}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane of its own: the CRD belongs to the whole cluster."""
    with ControlPlane() as running:
        for namespace in ("one", "two"):
            running.create_namespace(namespace)
        yield running


class Releases:
    """Releases of the chart, without pods."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.helm = Helm(plane.kubeconfig, timeout=30)

    def install(self, release: str, namespace: str, *options: str, chart: Path = CHART, **values: Any) -> str:
        """Install or upgrade; returns the notes."""
        whole = {**NO_PODS, **values}
        self.helm.upgrade(
            release, chart, namespace=namespace, values=whole, wait=False, options=["--install", *options]
        )
        return str(self.helm.status(release, namespace=namespace)["info"]["notes"])

    def uninstall(self, release: str, namespace: str) -> str:
        return self.helm.uninstall(release, namespace=namespace, wait=False)

    def crd(self) -> dict[str, Any]:
        return self.plane.api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, NAME)

    def owner(self) -> tuple[str, str]:
        annotations = self.crd()["metadata"].get("annotations", {})
        return annotations.get("meta.helm.sh/release-namespace", ""), annotations.get("meta.helm.sh/release-name", "")


@pytest.fixture
def releases(plane: ControlPlane) -> Iterator[Releases]:
    """No release and no CRD at first, and at the end."""
    releases = Releases(plane)
    yield releases
    for namespace in ("one", "two"):
        for line in releases.helm.run("list", "--short", namespace=namespace).split():
            releases.uninstall(line, namespace)
    plane.api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, NAME)
    # It goes in two steps, and the next test must not meet the one that is going.
    eventually(lambda: plane.api.find("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, NAME) is None)


def test_the_first_release_owns_the_crd_and_its_upgrade_changes_it(releases: Releases, tmp_path: Path) -> None:
    older = tmp_path / "notification"
    shutil.copytree(CHART, older)
    file = older / "files" / "crds" / "kubernaut.ai_notificationrequests.yaml"
    file.write_text(file.read_text().replace("maxLength: 500", "maxLength: 400"))
    notes = releases.install("n", "one", chart=older)
    assert f"{NAME}, kept when the release is uninstalled" in notes
    assert releases.owner() == ("one", "n")
    assert "'maxLength': 400" in str(releases.crd())

    releases.install("n", "one")
    assert "'maxLength': 400" not in str(releases.crd())
    stored = releases.crd()["spec"]["versions"][0]["schema"]
    assert stored == load_crd("notificationrequests")["spec"]["versions"][0]["schema"]


def test_the_crd_outlives_its_release_and_is_found_again(releases: Releases) -> None:
    releases.install("n", "one")
    uid = releases.crd()["metadata"]["uid"]
    assert NAME in releases.uninstall("n", "one")
    assert releases.crd()["metadata"]["uid"] == uid
    releases.install("n", "one")
    assert releases.crd()["metadata"]["uid"] == uid
    # Handing it to somebody else later does not take it away either.
    releases.install("n", "one", crds={"install": False})
    assert releases.crd()["metadata"]["uid"] == uid


def test_a_crd_without_an_owner_is_left_alone_until_it_is_taken_over(releases: Releases, plane: ControlPlane) -> None:
    """The live chart installs its CRDs from crds/, without marks of ownership; Helm would refuse the release."""
    plane.apply(load_crd("notificationrequests"))
    before = releases.crd()
    notes = releases.install("n", "one")
    assert re.search(r"installed not by a Helm release, and is left as it is", notes)
    assert releases.crd()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    releases.install("n", "one", "--take-ownership", "--force-conflicts", crds={"takeOver": True})
    assert releases.owner() == ("one", "n")
    # From now on it is this release's, without further ado.
    assert "kept when the release is uninstalled" in releases.install("n", "one")
    assert releases.owner() == ("one", "n")


def test_a_second_release_leaves_the_crd_to_the_first(releases: Releases) -> None:
    releases.install("n", "one")
    notes = releases.install("n", "two")
    assert "installed by release n in namespace one, and is left as it is" in notes
    assert releases.owner() == ("one", "n")
    releases.uninstall("n", "two")
    assert releases.owner() == ("one", "n")

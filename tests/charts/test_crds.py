"""Who owns the CRD: this release, another one, or the Go controllers' chart, which leaves it without an owner."""

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

from .services import Charted, merged

NO_PODS = {"replicas": 0}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane of its own: the CRD belongs to the whole cluster."""
    with ControlPlane() as running:
        for namespace in ("one", "two"):
            running.create_namespace(namespace)
        yield running


class Releases:
    """Releases of a chart, without pods."""

    def __init__(self, plane: ControlPlane, service: Charted) -> None:
        self.plane, self.service = plane, service
        self.helm = Helm(plane.kubeconfig, timeout=120)

    def install(self, release: str, namespace: str, *options: str, chart: Path | None = None, **values: Any) -> str:
        """Install or upgrade; returns the notes."""
        whole = merged(NO_PODS, self.service.needed, values)
        self.helm.upgrade(
            release,
            chart or self.service.chart,
            namespace=namespace,
            values=whole,
            wait=False,
            options=["--install", *options],
        )
        return str(self.helm.status(release, namespace=namespace)["info"]["notes"])

    def uninstall(self, release: str, namespace: str) -> str:
        return self.helm.uninstall(release, namespace=namespace, wait=False)

    def crd(self) -> dict[str, Any]:
        return self.plane.api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, self.service.crd)

    def owner(self) -> tuple[str, str]:
        annotations = self.crd()["metadata"].get("annotations", {})
        return annotations.get("meta.helm.sh/release-namespace", ""), annotations.get("meta.helm.sh/release-name", "")


@pytest.fixture
def releases(plane: ControlPlane, service: Charted) -> Iterator[Releases]:
    """No release and no CRD at first, and at the end."""
    releases = Releases(plane, service)
    yield releases
    for namespace in ("one", "two"):
        for line in releases.helm.run("list", "--short", namespace=namespace).split():
            releases.uninstall(line, namespace)
    plane.api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, service.crd)
    # It goes in two steps, and the next test must not meet the one that is going.
    eventually(lambda: plane.api.find("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, service.crd) is None)


def test_the_first_release_owns_the_crd_and_its_upgrade_changes_it(
    service: Charted, releases: Releases, tmp_path: Path
) -> None:
    older = tmp_path / service.name
    shutil.copytree(service.chart, older)
    file = older / "files" / "crds" / f"kubernaut.ai_{service.plural}.yaml"
    new, old = f"kind: {service.kind}\n", f"kind: {service.kind}\n    categories: [older]\n"
    assert file.read_text().count(new) == 1
    file.write_text(file.read_text().replace(new, old))
    notes = releases.install("n", "one", chart=older)
    assert f"{service.crd}, kept when the release is uninstalled" in notes
    assert releases.owner() == ("one", "n")
    assert releases.crd()["spec"]["names"]["categories"] == ["older"]

    releases.install("n", "one")
    assert "categories" not in releases.crd()["spec"]["names"]
    stored = releases.crd()["spec"]["versions"][0]["schema"]
    assert stored == load_crd(service.plural)["spec"]["versions"][0]["schema"]


def test_the_crd_outlives_its_release_and_is_found_again(service: Charted, releases: Releases) -> None:
    releases.install("n", "one")
    uid = releases.crd()["metadata"]["uid"]
    assert service.crd in releases.uninstall("n", "one")
    assert releases.crd()["metadata"]["uid"] == uid
    releases.install("n", "one")
    assert releases.crd()["metadata"]["uid"] == uid
    # Handing it to somebody else later does not take it away either.
    releases.install("n", "one", crds={"install": False})
    assert releases.crd()["metadata"]["uid"] == uid


def test_a_crd_without_an_owner_is_left_alone_until_it_is_taken_over(
    service: Charted, releases: Releases, plane: ControlPlane
) -> None:
    """The Go controllers' chart installs CRDs from crds/, without marks of ownership; Helm would refuse the release."""
    plane.apply(load_crd(service.plural))
    before = releases.crd()
    notes = releases.install("n", "one")
    assert re.search(r"installed not by a Helm release, and is left as it is", notes)
    assert releases.crd()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    # Helm 3 has no server-side apply, and so no such conflicts and no such option.
    force = ["--force-conflicts"] if "--force-conflicts" in Helm().run("upgrade", "--help") else []
    releases.install("n", "one", "--take-ownership", *force, crds={"takeOver": True})
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

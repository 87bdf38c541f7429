"""What whoever installs a chart must be allowed to do: with a few values, nothing outside of the namespace."""

from __future__ import annotations

import pytest

from kubernaut_api.crds import load_crd
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.helm import Helm, HelmError

from .services import Charted, merged

EVERYTHING_HERE = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


@pytest.fixture
def helm(control_plane: ControlPlane, namespace: str, service: Charted) -> Helm:
    """Helm as somebody who may do everything in one namespace and nothing elsewhere."""
    control_plane.apply(load_crd(service.plural))
    control_plane.service_account(namespace, "installer", rules=EVERYTHING_HERE)
    return Helm(control_plane.kubeconfig_for(namespace, "installer"), timeout=120)


def test_rights_in_the_namespace_are_enough_to_install_upgrade_and_uninstall(
    helm: Helm, namespace: str, service: Charted
) -> None:
    values = merged(
        service.needed,
        {"replicas": 0, "crds": {"install": False}, "networkPolicy": {"apiServer": {"lookup": False}}},
        {"rbac": {"create": False}} if service.cluster_role else {},
    )
    chart = service.chart
    helm.install("n", chart, namespace=namespace, values=values, wait=False)
    helm.upgrade("n", chart, namespace=namespace, values={**values, "podLabels": {"a": "b"}}, wait=False)
    helm.rollback("n", namespace=namespace, wait=False)
    helm.uninstall("n", namespace=namespace, wait=False)


def test_without_these_values_helm_tells_which_right_is_missing(helm: Helm, namespace: str, service: Charted) -> None:
    values = merged(service.needed, {"crds": {"install": False}})
    with pytest.raises(HelmError, match=r'endpointslices\.discovery\.k8s\.io "kubernetes" is forbidden'):
        helm.install("n", service.chart, namespace=namespace, values=values, wait=False)
    if service.cluster_role:
        values = merged(values, {"networkPolicy": {"apiServer": {"lookup": False}}})
        with pytest.raises(HelmError, match=r"clusterroles\.rbac\.authorization\.k8s\.io .* is forbidden"):
            helm.install("n", service.chart, namespace=namespace, values=values, wait=False)


def test_a_role_that_was_changed_by_hand_is_put_back_by_an_upgrade_that_forces_it(
    control_plane: ControlPlane, namespace: str, service: Charted
) -> None:
    """As the runbook says; without the flag Helm 4 refuses the upgrade. Helm 3 has neither flag nor conflict."""
    if "--force-conflicts" not in Helm().run("upgrade", "--help"):
        pytest.skip("this Helm applies on the client's side")
    control_plane.apply(load_crd(service.plural))
    helm, values = Helm(control_plane.kubeconfig, timeout=120), merged(service.needed, {"replicas": 0})
    helm.install("n", service.chart, namespace=namespace, values=values, wait=False)
    role = ("rbac.authorization.k8s.io/v1", "Role", namespace, f"{service.name}-controller")
    granted = control_plane.api.get(*role)
    control_plane.api.patch(*role, {"rules": granted["rules"][:1]})
    with pytest.raises(HelmError, match="conflict occurred while applying object"):
        helm.upgrade("n", service.chart, namespace=namespace, values=values, wait=False)
    helm.upgrade("n", service.chart, namespace=namespace, values=values, wait=False, options=["--force-conflicts"])
    assert control_plane.api.get(*role)["rules"] == granted["rules"]
    helm.uninstall("n", namespace=namespace, wait=False)

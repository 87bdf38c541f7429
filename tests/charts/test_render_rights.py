"""What each chart grants: the service's own `deploy/role.yaml`, with the Lease as it is called here, and no more."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kubernaut_testing.helm import HelmError

from .rendered import only
from .services import Charted


def leases(objects: Any) -> dict[str, Any]:
    """The names of the Leases that each verb is allowed on; None for any."""
    rules = [rule for rule in only(objects, "Role")["rules"] if rule["resources"] == ["leases"]]
    return {verb: rule.get("resourceNames") for rule in rules for verb in rule["verbs"]}


@pytest.mark.behaviour("W18", service="signalprocessing")
def test_the_roles_are_those_that_the_service_ships(service: Charted, render: Any) -> None:
    shipped = [role for role in yaml.safe_load_all(service.generated.role.read_text()) if role]
    objects = render()
    assert {role["kind"] for role in shipped} == {kind for kind, _ in objects if kind in ("Role", "ClusterRole")}
    for role in shipped:
        assert only(objects, role["kind"])["rules"] == role["rules"]


def test_without_leader_election_there_are_no_leases(render: Any) -> None:
    with_leases = only(render(), "Role")["rules"]
    without = only(render(controller={"leaderElection": False}), "Role")["rules"]
    assert without == [rule for rule in with_leases if rule["resources"] != ["leases"]]
    assert len(without) < len(with_leases)


@pytest.mark.parametrize("name", ["", "mine"])
def test_of_the_namespaces_leases_the_role_reads_and_changes_its_own(service: Charted, render: Any, name: str) -> None:
    objects = render(controller={"leaderElectionId": name or None})
    own = [name or service.lease]
    assert leases(objects) == {"create": None, "get": own, "update": own}


def test_what_is_granted_in_the_whole_cluster_is_looking_and_nothing_of_secrets(service: Charted, render: Any) -> None:
    objects = render(service.everything)
    granted = [rule for (kind, _), thing in objects.items() if kind == "ClusterRole" for rule in thing["rules"]]
    assert {verb for rule in granted for verb in rule["verbs"]} <= {"get", "list", "watch"}
    assert not {"secrets", "configmaps", "*"} & {resource for rule in granted for resource in rule["resources"]}
    assert bool(granted) is service.cluster_role


def test_the_account_of_the_pods_is_what_every_role_is_bound_to(service: Charted, render: Any) -> None:
    objects = render(service.everything)
    account = {"kind": "ServiceAccount", "name": service.controller, "namespace": "kubernaut-system"}
    bindings = {name: thing for (kind, name), thing in objects.items() if kind.endswith("RoleBinding")}
    assert all(binding["subjects"] == [account] for binding in bindings.values())
    bound = {(binding["roleRef"]["kind"], binding["roleRef"]["name"]) for binding in bindings.values()}
    own = {(kind, name) for kind, name in objects if kind in ("Role", "ClusterRole")}
    assert bound == {*own, ("ClusterRole", "data-storage-client")}
    assert ("RoleBinding", f"{service.controller}-data-storage") in objects
    assert ("RoleBinding", f"{service.controller}-data-storage") not in render()


def test_releases_in_two_namespaces_have_cluster_roles_of_their_own(service: Charted, render: Any) -> None:
    names = [name for kind, name in render() if kind.startswith("ClusterRole")]
    assert names == [f"kubernaut-system:{service.controller}"] * len(names)


def test_nothing_is_granted_when_somebody_else_does_it(render: Any) -> None:
    assert not [kind for kind, _ in render(rbac={"create": False}) if "Role" in kind]


def test_several_pods_without_a_lease_are_refused(render: Any) -> None:
    with pytest.raises(HelmError, match=r"cannot run replicas=2 with controller.leaderElection=false.*; set"):
        render(replicas=2, controller={"leaderElection": False})

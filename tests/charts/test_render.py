"""What the Notification chart renders, read as YAML; no cluster. Names, pods, rights, umbrellas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut_api.crds import load_crd
from kubernaut_testing.helm import Helm, HelmError

from .rendered import EVERYTHING, NAME, ROOT, pod_spec


def test_the_objects_are_called_as_those_of_the_live_chart(render: Any) -> None:
    assert set(render()) == {
        ("Deployment", NAME),
        ("ServiceAccount", NAME),
        ("Role", NAME),
        ("RoleBinding", NAME),
        ("PodDisruptionBudget", NAME),
        ("NetworkPolicy", NAME),
        ("ConfigMap", "notification-controller-config"),
        ("ConfigMap", "notification-routing-config"),
        ("Service", "notification-metrics"),
        ("CustomResourceDefinition", "notificationrequests.kubernaut.ai"),
        ("Pod", "notification-controller-check"),
    }


def test_another_name_changes_every_name_and_the_selectors(render: Any) -> None:
    objects = render(EVERYTHING, fullnameOverride="second-controller")
    names = {name for kind, name in objects if kind != "CustomResourceDefinition"}
    assert [name for name in names if not name.startswith("second-")] == []
    deployment = objects["Deployment", "second-controller"]
    assert deployment["spec"]["selector"]["matchLabels"]["app"] == "second-controller"
    used = {volume["configMap"]["name"] for volume in pod_spec(objects, "second-controller")["volumes"]
            if "configMap" in volume}  # fmt: skip
    assert used == {"second-controller-config", "second-routing-config", "inter-service-ca"}


def test_names_that_yaml_takes_for_something_else_stay_names(render: Any) -> None:
    objects = render(
        release="n",
        fullnameOverride="on",
        slack={"secretName": "1e3", "secretKey": "on"},
        serviceAccount={"name": "0x1"},
        routing={"existingConfigMap": "007"},
        tls={"caConfigMap": "1.5", "caKey": "null"},
    )
    assert objects["Deployment", "on"]["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "n"
    spec = pod_spec(objects, "on")
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    secret = volumes["credentials"]["projected"]["sources"][0]["secret"]
    assert (secret["name"], secret["items"][0]["key"], spec["serviceAccountName"]) == ("1e3", "on", "0x1")
    assert volumes["routing"]["configMap"]["name"] == "007"
    assert (volumes["tls-ca"]["configMap"]["name"], volumes["config"]["configMap"]["name"]) == ("1.5", "on-config")


def test_every_object_has_the_common_labels_and_the_namespace(render: Any) -> None:
    for (kind, name), thing in render(EVERYTHING).items():
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "kubernaut", (kind, name)
        if kind not in ("CustomResourceDefinition", "Pod"):
            assert thing["metadata"]["namespace"] == "kubernaut-system", (kind, name)
            assert labels["app"] == NAME
            assert labels["control-plane"] == "controller-manager"
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["helm.sh/chart"].startswith("notification-")


def test_selectors_are_the_same_two_labels_everywhere_and_match_the_pods(render: Any) -> None:
    objects = render(EVERYTHING)
    selector = {"app": NAME, "app.kubernetes.io/instance": "notification"}
    deployment = objects["Deployment", NAME]["spec"]
    assert deployment["selector"]["matchLabels"] == selector
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
    assert objects["Service", "notification-metrics"]["spec"]["selector"] == selector
    for kind in ("PodDisruptionBudget", "ServiceMonitor", "PodMonitor"):
        name = "notification-monitor" if kind.endswith("Monitor") else NAME
        assert objects[kind, name]["spec"]["selector"]["matchLabels"] == selector
    assert objects["NetworkPolicy", NAME]["spec"]["podSelector"]["matchLabels"] == selector


def test_the_check_pod_is_selected_by_nothing(render: Any) -> None:
    labels = render()["Pod", "notification-controller-check"]["metadata"]["labels"]
    assert "app" not in labels


def test_the_role_is_the_one_that_the_service_ships(render: Any) -> None:
    shipped = yaml.safe_load((ROOT / "services" / "notification" / "deploy" / "role.yaml").read_text())
    assert render()["Role", NAME]["rules"] == shipped["rules"]


def test_without_leader_election_the_role_has_no_leases(render: Any) -> None:
    rules = render(controller={"leaderElection": False})["Role", NAME]["rules"]
    assert [rule["resources"] for rule in rules] == [
        ["notificationrequests"],
        ["notificationrequests/status"],
        ["events"],
    ]


def test_of_the_namespaces_leases_the_role_reads_and_changes_its_own(render: Any) -> None:
    rules = render(controller={"leaderElectionId": "mine"})["Role", NAME]["rules"]
    named = {
        verb: rule.get("resourceNames") for rule in rules if rule["resources"] == ["leases"] for verb in rule["verbs"]
    }
    assert named == {"create": None, "get": ["mine"], "update": ["mine"]}


def test_nothing_is_granted_in_the_whole_cluster(render: Any) -> None:
    objects = render(EVERYTHING)
    assert not [kind for kind, _ in objects if kind in ("ClusterRole", "ClusterRoleBinding")]
    binding = objects["RoleBinding", "notification-controller-data-storage"]
    assert binding["roleRef"]["name"] == "data-storage-client"
    assert ("RoleBinding", "notification-controller-data-storage") not in render()


def test_the_pod_is_as_confined_as_pods_can_be(render: Any) -> None:
    objects = render()
    for pod in (pod_spec(objects), objects["Pod", "notification-controller-check"]["spec"]):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_only_the_controller_gets_a_token(render: Any) -> None:
    objects = render()
    assert objects["ServiceAccount", NAME]["automountServiceAccountToken"] is False
    assert pod_spec(objects)["automountServiceAccountToken"] is True
    assert objects["Pod", "notification-controller-check"]["spec"]["automountServiceAccountToken"] is False


def test_the_check_pod_sees_what_the_controller_sees(render: Any) -> None:
    objects = render(EVERYTHING)
    controller, check = pod_spec(objects), objects["Pod", "notification-controller-check"]["spec"]
    assert check["volumes"] == controller["volumes"]
    for key in ("image", "env", "volumeMounts"):
        assert check["containers"][0][key] == controller["containers"][0][key]
    assert check["containers"][0]["args"] == ["--check-config", *controller["containers"][0]["args"]]


def test_the_check_pod_goes_where_the_controller_may_go_and_pulls_as_it_does(render: Any) -> None:
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": []}]}}
    objects = render(EVERYTHING, affinity={"nodeAffinity": node})
    controller, check = pod_spec(objects), objects["Pod", "notification-controller-check"]["spec"]
    for key in ("nodeSelector", "tolerations", "imagePullSecrets", "serviceAccountName"):
        assert check[key] == controller[key]
    assert check["affinity"]["nodeAffinity"] == node
    (near,) = check["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert near["podAffinityTerm"]["labelSelector"] == objects["Deployment", NAME]["spec"]["selector"]


def test_with_leader_election_pods_overlap_and_without_they_do_not(render: Any) -> None:
    strategy = render()["Deployment", NAME]["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    without = render(controller={"leaderElection": False})["Deployment", NAME]["spec"]
    assert without["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("how", ["controller", "config"])
def test_several_replicas_without_leader_election_are_refused(render: Any, how: str) -> None:
    off = {"controller": {"leaderElection": False}}
    with pytest.raises(HelmError, match=r"cannot run replicas=2 with controller.leaderElection=false.*; set"):
        render(off if how == "controller" else {"config": off}, replicas=2)


def test_the_crd_is_the_generated_one_and_is_kept(render: Any) -> None:
    crd = render()["CustomResourceDefinition", "notificationrequests.kubernaut.ai"]
    assert crd["spec"] == load_crd("notificationrequests")["spec"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not [kind for kind, _ in render(crds={"install": False}) if kind == "CustomResourceDefinition"]


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "kubernaut-notification:0.1.0"),
        ({"registry": "registry.example.com/team/"}, "registry.example.com/team/kubernaut-notification:0.1.0"),
        ({"tag": "1.2"}, "kubernaut-notification:1.2"),
        ({"tag": "1.2", "digest": "sha256:" + "a" * 64}, "kubernaut-notification@sha256:" + "a" * 64),
    ],
)
def test_the_image_is_put_together(render: Any, image: dict[str, str], reference: str) -> None:
    assert pod_spec(render(image=image))["containers"][0]["image"] == reference


def test_what_an_umbrella_shares_counts_unless_the_chart_says_otherwise(render: Any) -> None:
    shared = {
        "image": {"registry": "registry.example.com", "tag": "9"},
        "imagePullSecrets": [{"name": "shared"}],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
    }
    spec = pod_spec(render({"global": shared}))
    assert spec["containers"][0]["image"] == "registry.example.com/kubernaut-notification:9"
    assert (spec["imagePullSecrets"], spec["nodeSelector"]) == ([{"name": "shared"}], {"a": "b"})
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert pod_spec(render({"global": shared}, nodeSelector={"c": "d"}))["nodeSelector"] == {"c": "d"}


def test_probes_keep_their_target_and_can_be_left_out(render: Any) -> None:
    (container,) = pod_spec(render(readinessProbe={"periodSeconds": 1}, livenessProbe=None))["containers"]
    assert container["readinessProbe"]["periodSeconds"] == 1
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert "livenessProbe" not in container
    assert "startupProbe" not in container


def test_labels_that_select_the_pods_cannot_be_changed(render: Any) -> None:
    with pytest.raises(HelmError, match="cannot use podLabels: app is what selects the pods"):
        render(podLabels={"app": "x"})


def test_the_controller_knows_its_pod_its_namespace_and_its_ca(render: Any) -> None:
    (container,) = pod_spec(render(EVERYTHING))["containers"]
    env = {item["name"]: item for item in container["env"]}
    for name, field in (
        ("POD_NAME", "name"),
        ("POD_NAMESPACE", "namespace"),
        ("KUBERNAUT_CONTROLLER_NAMESPACE", "namespace"),
    ):
        assert env[name]["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.{field}"
    assert env["TLS_CA_FILE"]["value"] == "/etc/tls-ca/ca.crt"
    assert env["HTTPS_PROXY"]["value"] == "http://proxy:3128"


def test_a_budget_by_minimum_replaces_that_by_maximum(render: Any) -> None:
    assert render()["PodDisruptionBudget", NAME]["spec"]["maxUnavailable"] == 1
    spec = render(pdb={"minAvailable": 0})["PodDisruptionBudget", NAME]["spec"]
    assert spec["minAvailable"] == 0
    assert "maxUnavailable" not in spec
    with pytest.raises(HelmError, match=r"pdb.maxUnavailable and pdb.minAvailable: set one"):
        render(pdb={"maxUnavailable": None})


def test_in_an_umbrella_the_values_are_those_of_the_live_chart(chart: Path, tmp_path: Path) -> None:
    umbrella = tmp_path / "umbrella"
    (umbrella / "charts").mkdir(parents=True)
    (umbrella / "charts" / "notification").symlink_to(chart)
    (umbrella / "Chart.yaml").write_text("apiVersion: v2\nname: umbrella\nversion: 1.0.0\n")
    live = {
        "replicas": 2,
        "slack": {"secretName": "slack", "secretKey": "url", "channel": "#a"},
        "routing": {"content": "", "existingConfigMap": ""},
        "credentials": [{"name": "b", "secretName": "c", "secretKey": "d"}],
        "resources": {"limits": {"memory": "1Gi"}},
        "pdb": {"maxUnavailable": 1},
        "logging": {"level": "DEBUG"},
    }
    documents = Helm().template("u", umbrella, values={"notification": live, "other": 1})
    (deployment,) = [document for document in documents if document["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["metadata"]["name"] == NAME


def test_an_umbrella_may_switch_it_by_a_condition_and_call_it_by_an_alias(chart: Path, tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "notification").symlink_to(chart)
    dependency = {
        "name": "notification", "version": "0.1.0", "condition": "notifier.enabled", "alias": "notifier",
    }  # fmt: skip
    whole = {"apiVersion": "v2", "name": "umbrella", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(whole))
    values = {"metrics": {"podMonitor": {"enabled": True}}}
    documents = Helm().template("u", tmp_path, values={"notifier": {"enabled": True, **values}})
    by_kind = {document["kind"]: document for document in documents}
    assert by_kind["Deployment"]["metadata"]["name"] == NAME
    (endpoint,) = by_kind["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"][0] == {"targetLabel": "job", "replacement": "notification"}
    assert Helm().template("u", tmp_path, values={"notifier": {"enabled": False}}) == []

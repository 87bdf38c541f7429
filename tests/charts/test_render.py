"""What each chart renders, read as YAML; no cluster. Names, pods, umbrellas; rights are in `test_render_rights.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut_api.crds import load_crd
from kubernaut_testing.helm import Helm, HelmError

from .rendered import container_of, only, pod_spec, volumes_of
from .services import CHARTED, Charted


def test_the_objects_are_called_as_those_of_the_live_chart(service: Charted, render: Any) -> None:
    found = set(render())
    cluster = {(kind, name) for kind, name in found if kind.startswith("ClusterRole")}
    assert found - cluster == {
        ("Deployment", service.controller),
        ("ServiceAccount", service.controller),
        ("Role", service.controller),
        ("RoleBinding", service.controller),
        ("PodDisruptionBudget", service.controller),
        ("NetworkPolicy", service.controller),
        ("ConfigMap", service.config_map),
        *(("ConfigMap", name) for name, _, _ in service.followed.values()),
        ("Service", service.metrics_service),
        ("CustomResourceDefinition", service.crd),
        ("Pod", f"{service.controller}-check"),
    }
    assert bool(cluster) is service.cluster_role


def test_another_name_changes_every_name_and_the_selectors(service: Charted, render: Any) -> None:
    objects = render(service.everything, fullnameOverride="second-controller")
    names = {name.removeprefix("kubernaut-system:") for kind, name in objects if kind != "CustomResourceDefinition"}
    assert [name for name in names if not name.startswith("second-")] == []
    deployment = objects["Deployment", "second-controller"]
    assert deployment["spec"]["selector"]["matchLabels"]["app"] == "second-controller"
    used = {volume["configMap"]["name"] for volume in pod_spec(objects)["volumes"] if "configMap" in volume}
    made = {name for kind, name in objects if kind == "ConfigMap"}
    assert used == {*made, "inter-service-ca"}


def test_names_that_yaml_takes_for_something_else_stay_names(render: Any) -> None:
    objects = render(
        release="n",
        fullnameOverride="on",
        serviceAccount={"name": "0x1"},
        tls={"caConfigMap": "1.5", "caKey": "null"},
    )
    assert objects["Deployment", "on"]["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "n"
    assert pod_spec(objects)["serviceAccountName"] == "0x1"
    volumes = volumes_of(objects)
    assert volumes["tls-ca"]["configMap"]["name"] == "1.5"
    assert volumes["config"]["configMap"]["name"] == "on-config"


def test_every_object_has_the_common_labels_and_the_namespace(service: Charted, render: Any) -> None:
    for (kind, name), thing in render(service.everything).items():
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "kubernaut", (kind, name)
        if kind not in ("CustomResourceDefinition", "Pod"):
            namespace = None if kind.startswith("ClusterRole") else "kubernaut-system"
            assert thing["metadata"].get("namespace") == namespace, (kind, name)
            assert labels["app"] == service.controller
            assert service.pod_labels.items() <= labels.items()
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["helm.sh/chart"].startswith(f"{service.name}-")


def test_selectors_are_the_same_two_labels_everywhere_and_match_the_pods(service: Charted, render: Any) -> None:
    objects = render(service.everything)
    selector = {"app": service.controller, "app.kubernetes.io/instance": service.name}
    deployment = only(objects, "Deployment")["spec"]
    assert deployment["selector"]["matchLabels"] == selector
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
    assert objects["Service", service.metrics_service]["spec"]["selector"] == selector
    for kind in ("PodDisruptionBudget", "ServiceMonitor", "PodMonitor"):
        name = f"{service.name}-monitor" if kind.endswith("Monitor") else service.controller
        assert objects[kind, name]["spec"]["selector"]["matchLabels"] == selector
    assert only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == selector


def test_the_check_pod_is_selected_by_nothing(render: Any) -> None:
    labels = only(render(), "Pod")["metadata"]["labels"]
    assert "app" not in labels


def test_the_pod_is_as_confined_as_pods_can_be(render: Any) -> None:
    objects = render()
    for pod in (pod_spec(objects), only(objects, "Pod")["spec"]):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_only_the_controller_gets_a_token(render: Any) -> None:
    objects = render()
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod_spec(objects)["automountServiceAccountToken"] is True
    assert only(objects, "Pod")["spec"]["automountServiceAccountToken"] is False


def test_the_check_pod_sees_what_the_controller_sees(service: Charted, render: Any) -> None:
    objects = render(service.everything)
    controller, check = pod_spec(objects), only(objects, "Pod")["spec"]
    assert check["volumes"] == controller["volumes"]
    for key in ("image", "env", "volumeMounts"):
        assert check["containers"][0][key] == controller["containers"][0][key]
    assert check["containers"][0]["args"] == ["--check-config", *controller["containers"][0]["args"]]


def test_the_check_pod_goes_where_the_controller_may_go_and_pulls_as_it_does(service: Charted, render: Any) -> None:
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": []}]}}
    objects = render(service.everything, affinity={"nodeAffinity": node})
    controller, check = pod_spec(objects), only(objects, "Pod")["spec"]
    for key in ("nodeSelector", "tolerations", "imagePullSecrets", "serviceAccountName"):
        assert check[key] == controller[key]
    assert check["affinity"]["nodeAffinity"] == node
    (near,) = check["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert near["podAffinityTerm"]["labelSelector"] == only(objects, "Deployment")["spec"]["selector"]


def test_with_leader_election_pods_overlap_and_without_they_do_not(render: Any) -> None:
    strategy = only(render(), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    without = only(render(controller={"leaderElection": False}), "Deployment")["spec"]
    assert without["strategy"] == {"type": "Recreate"}


@pytest.mark.behaviour("W11", service="signalprocessing")
@pytest.mark.parametrize("how", ["controller", "config"])
def test_several_replicas_without_leader_election_are_refused(render: Any, how: str) -> None:
    off = {"controller": {"leaderElection": False}}
    with pytest.raises(HelmError, match=r"cannot run replicas=2 with controller.leaderElection=false.*; set"):
        render(off if how == "controller" else {"config": off}, replicas=2)


def test_the_crd_is_the_generated_one_and_is_kept(service: Charted, render: Any) -> None:
    crd = only(render(), "CustomResourceDefinition")
    assert crd["spec"] == load_crd(service.plural)["spec"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not [kind for kind, _ in render(crds={"install": False}) if kind == "CustomResourceDefinition"]


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "<program>:0.1.0"),
        ({"registry": "registry.example.com/team/"}, "registry.example.com/team/<program>:0.1.0"),
        ({"tag": "1.2"}, "<program>:1.2"),
        ({"tag": "1.2", "digest": "sha256:" + "a" * 64}, "<program>@sha256:" + "a" * 64),
    ],
)
def test_the_image_is_put_together(service: Charted, render: Any, image: dict[str, str], reference: str) -> None:
    assert container_of(render(image=image))["image"] == reference.replace("<program>", service.program)


def test_what_an_umbrella_shares_counts_unless_the_chart_says_otherwise(service: Charted, render: Any) -> None:
    shared = {
        "image": {"registry": "registry.example.com", "tag": "9"},
        "imagePullSecrets": [{"name": "shared"}],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
    }
    spec = pod_spec(render({"global": shared}))
    assert spec["containers"][0]["image"] == f"registry.example.com/{service.program}:9"
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


def test_the_controller_knows_its_pod_its_namespace_and_its_ca(service: Charted, render: Any) -> None:
    (container,) = pod_spec(render(service.everything))["containers"]
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
    assert only(render(), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    spec = only(render(pdb={"minAvailable": 0}), "PodDisruptionBudget")["spec"]
    assert spec["minAvailable"] == 0
    assert "maxUnavailable" not in spec
    with pytest.raises(HelmError, match=r"pdb.maxUnavailable and pdb.minAvailable: set one"):
        render(pdb={"maxUnavailable": None})


def test_in_an_umbrella_the_values_are_those_of_the_live_chart(service: Charted, tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / service.name).symlink_to(service.chart)
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: umbrella\nversion: 1.0.0\n")
    documents = Helm().template("u", tmp_path, values={service.name: dict(service.live), "other": 1})
    (deployment,) = [document for document in documents if document["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["metadata"]["name"] == service.controller


def test_an_umbrella_may_switch_it_by_a_condition_and_call_it_by_an_alias(service: Charted, tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / service.name).symlink_to(service.chart)
    dependency = {"name": service.name, "version": "0.1.0", "condition": "other.enabled", "alias": "other"}
    whole = {"apiVersion": "v2", "name": "umbrella", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(whole))
    values = {**service.needed, "metrics": {"podMonitor": {"enabled": True}}}
    documents = Helm().template("u", tmp_path, values={"other": {"enabled": True, **values}})
    by_kind = {document["kind"]: document for document in documents}
    assert by_kind["Deployment"]["metadata"]["name"] == service.controller
    (endpoint,) = by_kind["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"][0] == {"targetLabel": "job", "replacement": service.name}
    assert Helm().template("u", tmp_path, values={"other": {"enabled": False}}) == []


def test_two_services_in_one_namespace_have_no_object_in_common(tmp_path: Path) -> None:
    found = [
        (document["kind"], document["metadata"]["name"])
        for service in CHARTED
        for document in Helm().template("u", service.chart, values=dict(service.everything))
    ]
    assert len(found) == len(set(found))

"""What the Notification chart renders, read as YAML; no cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut_api.crds import load_crd
from kubernaut_notification.config import NotificationConfig
from kubernaut_notification.routing.config import load_routing
from kubernaut_runtime.config import parse_config
from kubernaut_testing.helm import Helm, HelmError

ROOT = Path(__file__).parents[2]
NAME = "notification-controller"
EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "slack": {"secretName": "slack"},
    "credentials": [{"name": "pagerduty", "secretName": "pager", "secretKey": "key", "optional": True}],
    "datastorage": {"url": "https://data-storage-service:8443"},
    "audit": {"file": "/var/log/kubernaut/audit.jsonl"},
    "tls": {"caConfigMap": "inter-service-ca"},
    "startupProbe": {"failureThreshold": 60},
    "networkPolicy": {"monitoring": {"namespace": "monitoring"}},
    "metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"team": "sre"},
    "podAnnotations": {"note": "1"},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}
"""Values that switch on what is off by default."""


def pod_spec(objects: dict[tuple[str, str], dict[str, Any]], name: str = NAME) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment", name]["spec"]["template"]["spec"]
    return spec


def config_of(objects: dict[tuple[str, str], dict[str, Any]]) -> str:
    text: str = objects["ConfigMap", "notification-controller-config"]["data"]["config.yaml"]
    return text


def routing_of(objects: dict[tuple[str, str], dict[str, Any]]) -> str:
    text: str = objects["ConfigMap", "notification-routing-config"]["data"]["routing.yaml"]
    return text


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


def test_the_config_file_is_one_that_the_program_takes_without_a_warning(render: Any) -> None:
    loaded = parse_config(config_of(render(EVERYTHING)).encode(), Path("config.yaml"), NotificationConfig, strict=True)
    assert loaded.warnings == ()
    config = loaded.config
    assert config.controller.leader_election
    assert config.datastorage is not None
    assert config.datastorage.health_url == "https://data-storage-service:8443/readyz"
    assert str(config.audit.file) == "/var/log/kubernaut/audit.jsonl"


def test_without_an_address_the_config_file_has_no_data_storage(render: Any) -> None:
    assert "datastorage" not in yaml.safe_load(config_of(render()))


def test_config_overrides_every_other_value_and_keeps_false_zero_and_empty(render: Any) -> None:
    text = config_of(
        render(
            controller={"leaderElection": True},
            datastorage={"url": "http://ds:8080", "buffer": {"maxRetries": 5}},
            config={
                "controller": {"leaderElection": False, "metricsAddr": ":9999"},
                "delivery": {"log": {"enabled": False}, "file": {"outputDir": ""}},
                "datastorage": {"buffer": {"maxRetries": 0}},
                "tlsProfile": "Modern",
            },
        )
    )
    config = yaml.safe_load(text)
    assert config["controller"]["leaderElection"] is False
    assert config["delivery"]["log"] == {"enabled": False, "format": "json"}
    assert config["delivery"]["file"]["outputDir"] == ""
    assert config["datastorage"]["buffer"] == {
        "maxRetries": 0, "bufferSize": 10000, "batchSize": 100, "flushInterval": "1s",
    }  # fmt: skip
    assert config["tlsProfile"] == "Modern"


def test_ports_and_mounts_follow_the_config_file(render: Any) -> None:
    objects = render(
        config={
            "controller": {"metricsAddr": "0.0.0.0:9999", "healthProbeAddr": ":8888"},
            "delivery": {"file": {"outputDir": "/data/out"}, "credentials": {"dir": "/secrets"}},
        }
    )
    (container,) = pod_spec(objects)["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"metrics": 9999, "health": 8888}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert (mounts["output"], mounts["credentials"]) == ("/data/out", "/secrets")


def test_without_the_file_channel_there_is_nothing_to_write_to(render: Any) -> None:
    spec = pod_spec(render(delivery={"file": {"outputDir": ""}}))
    assert "output" not in {volume["name"] for volume in spec["volumes"]}


def test_a_change_of_the_config_file_rolls_the_pods_and_no_other_does(render: Any) -> None:
    def template(**values: Any) -> Any:
        return render(**values)["Deployment", NAME]["spec"]["template"]

    before = template(slack={"secretName": "slack"})
    assert template(slack={"secretName": "slack", "channel": "#other"}) == before
    assert template(slack={"secretName": "slack"}, routing={"content": "route: {}"}) == before
    changed = template(slack={"secretName": "slack"}, controller={"maxConcurrentReconciles": 3})
    assert changed["metadata"]["annotations"]["checksum/config"] != before["metadata"]["annotations"]["checksum/config"]


def test_the_default_routing_is_the_console(render: Any) -> None:
    routing = load_routing(routing_of(render()), "routing.yaml")
    assert routing.route.receiver == "default-console"
    assert [receiver.name for receiver in routing.receivers] == ["default-console"]


def test_the_slack_values_make_a_receiver_and_its_credential(render: Any) -> None:
    objects = render(slack={"secretName": "my-slack", "secretKey": "url", "channel": "#ops"})
    routing = load_routing(routing_of(objects), "routing.yaml")
    (receiver,) = routing.receivers
    assert (receiver.name, routing.route.receiver) == ("slack-and-console", "slack-and-console")
    (slack,) = receiver.slack_configs
    assert (slack.channel, slack.credential_ref) == ("", "slack-webhook")  # a channel would be warned of
    assert len(receiver.console_configs) == 1
    (source,) = credentials_of(objects)["projected"]["sources"]
    assert source["secret"] == {
        "name": "my-slack", "optional": False, "items": [{"key": "url", "path": "slack-webhook"}],
    }  # fmt: skip


def credentials_of(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    (volume,) = [volume for volume in pod_spec(objects)["volumes"] if volume["name"] == "credentials"]
    found: dict[str, Any] = volume
    return found


def test_content_wins_over_slack_and_an_existing_config_map_over_both(render: Any) -> None:
    content = "route: {receiver: r}\nreceivers: [{name: r}]\n"
    both = render(slack={"secretName": "s"}, routing={"content": content})
    assert yaml.safe_load(routing_of(both)) == yaml.safe_load(content)
    assert "projected" in credentials_of(both)
    existing = render(slack={"secretName": "s"}, routing={"content": content, "existingConfigMap": "my-routing"})
    assert ("ConfigMap", "notification-routing-config") not in existing
    (volume,) = [volume for volume in pod_spec(existing)["volumes"] if volume["name"] == "routing"]
    assert volume["configMap"]["name"] == "my-routing"


def test_credentials_become_files_called_as_the_routing_file_calls_them(render: Any) -> None:
    assert "emptyDir" in credentials_of(render())
    sources = credentials_of(render(credentials=[{"name": "a", "secretName": "x"}]))["projected"]["sources"]
    assert sources[0]["secret"]["items"] == [{"key": "webhook-url", "path": "a"}]


def test_a_credential_named_twice_is_refused(render: Any) -> None:
    with pytest.raises(HelmError, match='"slack-webhook" is named twice'):
        render(slack={"secretName": "s"}, credentials=[{"name": "slack-webhook", "secretName": "x"}])


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


def test_what_is_switched_off_has_no_port_and_nothing_that_asks_for_it(render: Any) -> None:
    off = {"controller": {"metricsAddr": "0", "healthProbeAddr": "0"}}
    objects = render(off, networkPolicy={"monitoring": {"namespace": "monitoring"}})
    (container,) = pod_spec(objects)["containers"]
    assert not {"ports", "livenessProbe", "readinessProbe"} & set(container)
    assert ("Service", "notification-metrics") not in objects
    assert objects["NetworkPolicy", NAME]["spec"]["ingress"] == []


@pytest.mark.parametrize("kind", ["serviceMonitor", "podMonitor"])
def test_a_monitor_that_would_find_nothing_is_refused(render: Any, kind: str) -> None:
    with pytest.raises(HelmError, match="metricsAddr=0 switches the metrics off"):
        render(controller={"metricsAddr": "0"}, metrics={kind: {"enabled": True}})
    with pytest.raises(HelmError, match=r"cannot create a ServiceMonitor: metrics\.service\.enabled=false"):
        render(metrics={"service": {"enabled": False}, "serviceMonitor": {"enabled": True}})


@pytest.mark.parametrize("how", ["delivery", "config"])
def test_the_folder_of_credentials_is_mounted_where_the_program_looks(render: Any, how: str) -> None:
    moved = {"delivery": {"credentials": {"dir": "/creds"}}}
    objects = render(moved if how == "delivery" else {"config": moved})
    mounts = {mount["name"]: mount["mountPath"] for mount in pod_spec(objects)["containers"][0]["volumeMounts"]}
    assert mounts["credentials"] == yaml.safe_load(config_of(objects))["delivery"]["credentials"]["dir"] == "/creds"


@pytest.mark.parametrize(
    "values",
    [
        {"controller": None},
        {"delivery": None},
        {"delivery": {"file": None}},
        {"datastorage": None},
        {"audit": None},
        {"logging": None},
        {"config": {"controller": None, "delivery": {"credentials": None}}},
        {"affinity": None},
    ],
    ids=str,
)
def test_a_section_that_is_null_is_left_to_the_program(render: Any, values: dict[str, Any]) -> None:
    objects = render(values)
    parse_config(config_of(objects).encode(), Path("config.yaml"), NotificationConfig, strict=True)
    mounts = [mount["mountPath"] for mount in pod_spec(objects)["containers"][0]["volumeMounts"]]
    assert "/etc/notification/credentials" in mounts
    assert ("/tmp/notifications" in mounts) is not ("delivery" in values)


def test_files_and_audit_in_one_folder_share_one_volume(render: Any) -> None:
    objects = render(
        delivery={"file": {"outputDir": "/data/"}}, audit={"file": "/data/audit.jsonl"}, fileVolume={"emptyDir": {}}
    )
    mounts = [mount["mountPath"] for mount in pod_spec(objects)["containers"][0]["volumeMounts"]]
    assert mounts.count("/data") == 1
    assert "/data/" not in mounts


@pytest.mark.parametrize("file", ["audit.jsonl", "/audit.jsonl"])
def test_an_audit_file_that_no_volume_can_hold_is_refused(render: Any, file: str) -> None:
    with pytest.raises(HelmError, match=r"cannot mount a volume for audit\.file="):
        render(audit={"file": file})


def test_data_storage_in_config_alone_is_completed_from_the_values(render: Any) -> None:
    objects = render(config={"datastorage": {"url": "http://ds:8080/", "timeout": "3s"}})
    rendered = yaml.safe_load(config_of(objects))["datastorage"]
    assert (rendered["healthUrl"], rendered["timeout"]) == ("http://ds:8080/readyz", "3s")
    assert rendered["buffer"]["batchSize"] == 100
    assert egress(objects)[2] == {8080}


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


def egress(objects: dict[tuple[str, str], dict[str, Any]]) -> list[set[int]]:
    rules = objects["NetworkPolicy", NAME]["spec"]["egress"]
    return [{port["port"] for port in rule["ports"]} for rule in rules]


def test_the_network_policy_allows_what_is_configured_and_no_more(render: Any) -> None:
    assert egress(render()) == [{53}, {443, 6443}, {443}, {25, 465, 587}]
    objects = render(EVERYTHING)
    assert egress(objects) == [{53}, {443, 6443}, {8443}, {443}, {25, 465, 587}]
    (ingress,) = objects["NetworkPolicy", NAME]["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": "metrics"}]
    closed = render(
        networkPolicy={
            "apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [6443]},
            "externalWebhooks": {"ports": []},
            "smtp": {"ports": []},
        }
    )
    assert egress(closed) == [{53}, {6443}]
    assert closed["NetworkPolicy", NAME]["spec"]["ingress"] == []
    assert ("NetworkPolicy", NAME) not in render(networkPolicy={"enabled": False})


def test_the_readiness_of_data_storage_may_be_asked_on_a_port_of_its_own(render: Any) -> None:
    storage = {"url": "https://ds:8080", "healthUrl": "http://ds:8081/readyz"}
    assert egress(render(datastorage=storage))[2] == {8080, 8081}
    assert egress(render(datastorage=storage, networkPolicy={"dataStorage": {"port": 1}}))[2] == {1}


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://ds", 80), ("https://ds/", 443), ("https://ds.ns.svc:8080/x", 8080), ("http://[::1]:81", 81)],
)
def test_the_port_of_data_storage_is_that_of_its_address(render: Any, url: str, port: int) -> None:
    assert egress(render(datastorage={"url": url}))[2] == {port}


def test_a_budget_by_minimum_replaces_that_by_maximum(render: Any) -> None:
    assert render()["PodDisruptionBudget", NAME]["spec"]["maxUnavailable"] == 1
    spec = render(pdb={"minAvailable": 0})["PodDisruptionBudget", NAME]["spec"]
    assert spec["minAvailable"] == 0
    assert "maxUnavailable" not in spec
    with pytest.raises(HelmError, match=r"pdb.maxUnavailable and pdb.minAvailable: set one"):
        render(pdb={"maxUnavailable": None})


def test_alerts_and_dashboard_are_the_shipped_files(render: Any, chart: Path) -> None:
    rules, board = chart / "files" / "rules.yaml", chart / "files" / "dashboard.json"
    if not (rules.exists() and board.exists()):
        pytest.fail("files/rules.yaml and files/dashboard.json are what prometheusRule and dashboard install")
    objects = render(
        metrics={"prometheusRule": {"enabled": True, "labels": {"release": "p"}}, "dashboard": {"enabled": True}}
    )
    rule = objects["PrometheusRule", "notification"]
    assert rule["spec"]["groups"] == yaml.safe_load(rules.read_text())["groups"]
    assert rule["metadata"]["labels"]["release"] == "p"
    board_map = objects["ConfigMap", "notification-dashboard"]
    assert board_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = board_map["data"].values()
    assert yaml.safe_load(text) == yaml.safe_load(board.read_text())


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

"""Values that switch everything on, and what tests ask of the objects that the chart renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def credentials_of(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    (volume,) = [volume for volume in pod_spec(objects)["volumes"] if volume["name"] == "credentials"]
    found: dict[str, Any] = volume
    return found


def egress(objects: dict[tuple[str, str], dict[str, Any]]) -> list[set[int]]:
    rules = objects["NetworkPolicy", NAME]["spec"]["egress"]
    return [{port["port"] for port in rule["ports"]} for rule in rules]

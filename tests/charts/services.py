"""The services' charts, as far as tests must know what differs between them.

A test that asks for the fixture `chart`, `render` or `service` runs for each of `CHARTED`; what only one service has is
tested in a module of its own, which overrides the fixture `service`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from charts import generate

ROOT = Path(__file__).parents[2]

Objects = dict[tuple[str, str], dict[str, Any]]
"""Rendered objects by kind and name."""

POLICY = files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_text()


@dataclass(frozen=True)
class Charted:
    """One service's chart.

    `needed` are the values without which it does not install, `everything` switches on what is off by default, `live`
    is what the Go controllers' umbrella chart has for it. `config_map` holds the config file, `followed` are the
    ConfigMaps of the files that are followed (volume -> name, key, mount path), `egress` the ports of the network rules
    of its own.
    """

    generated: generate.Service
    kind: str
    config_map: str
    followed: Mapping[str, tuple[str, str, str]]
    needed: Mapping[str, Any]
    everything: Mapping[str, Any]
    live: Mapping[str, Any]
    container: str
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    egress: tuple[set[int], ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The service, its chart and its folders."""
        return self.generated.name

    @property
    def controller(self) -> str:
        """The Deployment and whatever has its name."""
        return f"{self.name}-controller"

    @property
    def program(self) -> str:
        """The image and the console script."""
        return f"kubernaut-{self.name}"

    @property
    def lease(self) -> str:
        """The Lease by which one pod acts."""
        return f"{self.name}.kubernaut.ai"

    @property
    def metrics_service(self) -> str:
        """The Service that is scraped."""
        return self.generated.metrics_service

    @property
    def plural(self) -> str:
        """The kind in URLs."""
        (plural,) = self.generated.crds
        return plural

    @property
    def crd(self) -> str:
        """The CRD's name."""
        return f"{self.plural}.kubernaut.ai"

    @property
    def chart(self) -> Path:
        """The chart's folder."""
        return self.generated.folder

    @property
    def cluster_role(self) -> bool:
        """Whether it looks at more than its own namespace."""
        return "kind: ClusterRole" in self.generated.role.read_text()


EVERYTHING: dict[str, Any] = {
    "replicas": 2,
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
"""Values that switch on what is off by default in every chart."""

LIVE: dict[str, Any] = {
    "replicas": 2,
    "resources": {"limits": {"memory": "1Gi"}},
    "pdb": {"enabled": True, "maxUnavailable": 1},
    "logging": {"level": "DEBUG"},
    "podSecurityContext": {"runAsNonRoot": True},
    "containerSecurityContext": {"readOnlyRootFilesystem": True},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [],
}
"""What the Go controllers' umbrella chart has for every controller."""

FLEET: dict[str, Any] = {
    "endpoint": "https://fleet",
    "oauth2": {"enabled": True, "tokenURL": "https://fleet/token", "credentialsSecretRef": "fleet"},
}
"""A fleet as the SignalProcessing program takes it."""

_notification, _signalprocessing = generate.SERVICES

NOTIFICATION = Charted(
    _notification,
    kind="NotificationRequest",
    config_map="notification-controller-config",
    followed={"routing": ("notification-routing-config", "routing.yaml", "/etc/notification-routing")},
    needed={},
    everything={
        **EVERYTHING,
        "slack": {"secretName": "slack"},
        "credentials": [{"name": "pagerduty", "secretName": "pager", "secretKey": "key", "optional": True}],
    },
    live={
        **LIVE,
        "slack": {"secretName": "slack", "secretKey": "url", "channel": "#a"},
        "routing": {"content": "", "existingConfigMap": ""},
        "credentials": [{"name": "b", "secretName": "c", "secretKey": "d"}],
    },
    container="manager",
    pod_labels={"control-plane": "controller-manager"},
    egress=({443}, {25, 465, 587}),
)

SIGNALPROCESSING = Charted(
    _signalprocessing,
    kind="SignalProcessing",
    config_map="signalprocessing-config",
    followed={
        "policies": ("signalprocessing-policy", "policy.rego", "/etc/signalprocessing/policies"),
        "mappings": (
            "signalprocessing-proactive-signal-mappings",
            "proactive-signal-mappings.yaml",
            "/etc/signalprocessing/mappings",
        ),
    },
    needed={"policies": {"content": POLICY}},
    everything={
        **EVERYTHING,
        "policies": {"content": POLICY},
        "proactiveSignalMappings": {"content": "proactive_signal_mappings: {PredictedOOMKill: OOMKilled}\n"},
    },
    live={
        **LIVE,
        "policies": {"content": POLICY, "existingConfigMap": ""},
        "proactiveSignalMappings": {"content": "", "existingConfigMap": "mappings"},
        "config": {"enrichment": {"cacheTtl": "1m"}, "classifier": {"hotReloadInterval": "10s"}},
        "fleet": {"namespace": "", "oauth2": {"credentialsSecretRef": "fleet"}},
    },
    container="signalprocessing-controller",
)

CHARTED = (NOTIFICATION, SIGNALPROCESSING)


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over each other, as helm does it."""
    whole: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            mapping = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
            whole[key] = merged(whole[key], value) if mapping else value
    return whole

"""Operators as users get them: their charts, installed by helm, in pods of a local kubelet.

A `Release` has the hands and eyes that a bare operator process has, so that a site can have either.
`InstalledNotificationSite` and `InstalledSignalProcessingSite` are the sites of the two services that have one.
"""

from __future__ import annotations

import base64
import json
import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kubernaut_testing import eventually
from kubernaut_testing.deployment import read_samples
from kubernaut_testing.helm import Helm, HelmError
from kubernaut_testing.kubelet import LocalKubelet
from kubernaut_testing.proxy import FaultProxy
from scenarios import notification, signalprocessing
from scenarios.faults.site import FaultSite
from scenarios.notification import NotificationSite
from scenarios.signalprocessing import SignalProcessingSite

METRICS_PORT = 9090
QUICK_PROBE = {"initialDelaySeconds": 0, "periodSeconds": 1}
"""A readiness probe for who waits."""


@dataclass(frozen=True)
class Chart:
    """A chart of this repository: its name, which is also the release's, and the plural of the kind that it brings."""

    name: str
    plural: str

    @property
    def folder(self) -> Path:
        """Where the chart is."""
        return Path(__file__).parents[1] / "charts" / self.name

    @property
    def deployment(self) -> str:
        """What the Deployment and the ServiceAccount are called."""
        return f"{self.name}-controller"


NOTIFICATION = Chart("notification", notification.PLURAL)
SIGNALPROCESSING = Chart("signalprocessing", signalprocessing.PLURAL)


class Release:
    """A release of a chart.

    `starts` counts installations; `log` and `records` are the output of the pod that acts.
    """

    def __init__(
        self, kubelet: LocalKubelet, namespace: str, folder: Path, chart: Chart, values: Mapping[str, Any]
    ) -> None:
        self.kubelet = kubelet
        self.namespace = namespace
        self.chart = chart
        self.values = values
        self.starts = 0
        self._folder = folder
        self._plane = kubelet.control_plane
        self._helm = Helm(self._plane.kubeconfig, timeout=120)
        self._installing: threading.Thread | None = None
        self._failure: HelmError | None = None

    @property
    def process(self) -> Release:
        """Itself: there is no process of its own beside the pod's."""
        return self

    def start(self, *, wait: bool = True) -> Release:
        """`helm install --wait`, in the background unless `wait`; returns when the CRD is served."""
        self.starts += 1
        self._installing = threading.Thread(target=self._install, daemon=True)
        self._installing.start()
        eventually(lambda: self._failure is not None or self._served(), timeout=60, message="the CRD")
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until helm has seen all of it ready. Raises AssertionError with what helm says."""
        if self._installing is not None:
            self._installing.join()
        if self._failure is not None:
            raise AssertionError(str(self._failure))

    def close(self) -> None:
        """Nothing: the release goes with its control plane."""

    @property
    def pod(self) -> str:
        """The name of the controller's pod; LookupError if there is none."""
        pods = self._plane.api.list("v1", "Pod", self.namespace, selector=f"app={self.chart.deployment}")
        names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if not names:
            raise LookupError(f"cannot find a pod of {self.chart.deployment} in {self.namespace}")
        return str(names[0])

    @property
    def pid(self) -> int:
        """The process that the pod's container is; LookupError if it does not run."""
        return self.kubelet.pid(self.namespace, self.pod)

    @property
    def running(self) -> bool:
        """Whether the pod's container runs."""
        try:
            return self.pid > 0
        except LookupError:
            return False

    @property
    def returncode(self) -> int | None:
        """Exit code of the container's last end; None if it never ended."""
        status = self._plane.api.get("v1", "Pod", self.namespace, self.pod).get("status") or {}
        for container in status.get("containerStatuses") or []:
            ended = (container.get("lastState") or {}).get("terminated")
            if ended:
                return int(ended["exitCode"])
        return None

    @property
    def log(self) -> Path:
        """A file with what the pod has printed so far."""
        path = self._folder / f"{self.chart.name}.log"
        path.write_text(self.kubelet.logs(self.namespace, self.pod))
        return path

    def records(self) -> list[dict[str, Any]]:
        """The lines of its output that are JSON objects, decoded."""
        lines = self.kubelet.logs(self.namespace, self.pod).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The present samples of a metric that have these labels."""
        address = self.kubelet.address(self.namespace, self.pod)
        return read_samples(f"http://{address}:{METRICS_PORT}/metrics", name, **labels)

    def _install(self) -> None:
        try:
            self._helm.install(self.chart.name, self.chart.folder, namespace=self.namespace, values=self.values)
        except HelmError as error:
            self._failure = error

    def _served(self) -> bool:
        name = f"{self.chart.plural}.kubernaut.ai"
        crd = self._plane.api.find("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name)
        conditions = ((crd or {}).get("status") or {}).get("conditions") or []
        return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)


class _InstalledSite(FaultSite):
    """What the sites have in common whose operator is a release. `crds`: whether the release brings the CRD."""

    chart: ClassVar[Chart]
    deployment: Release  # type: ignore[assignment]

    def __init__(
        self, kubelet: LocalKubelet, namespace: str, folder: Path, *, crds: bool = True, **options: Any
    ) -> None:
        self._kubelet = kubelet
        self._crds = crds
        self.namespace = namespace  # a site writes its files first
        super().__init__(kubelet.control_plane, namespace, folder, **options)

    @abstractmethod
    def values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The chart's values; `config` are sections of the operator's config file."""

    def deploy(  # type: ignore[override]
        self, name: str, *, config: Mapping[str, Any] | None = None, proxy: FaultProxy | None = None
    ) -> Release:
        """The release, not yet installed; `name` is only for replicas of bare processes."""
        values = {**self.values(config or {}), "crds": {"install": self._crds}, "readinessProbe": QUICK_PROBE}
        release = Release(self._kubelet, self.namespace, self.folder, self.chart, values)
        self.deployments.append(release)  # type: ignore[arg-type]
        return release


class InstalledNotificationSite(_InstalledSite, NotificationSite):
    """A namespace with a Notification release; its Slack URL in a Secret, its files on a folder of this machine."""

    chart = NOTIFICATION

    def values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Routing is a value, and so in a ConfigMap; the Secret is made here."""
        self.output.chmod(0o777)
        secret = {"slack": base64.b64encode((self.credentials / "slack").read_bytes()).decode()}
        meta = {"namespace": self.namespace, "name": "webhooks"}
        self._kubelet.control_plane.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": secret})
        return {
            **config,
            "routing": {"content": self.routing.read_text()},
            "credentials": [{"name": "slack", "secretName": "webhooks", "secretKey": "slack"}],
            "fileVolume": {"hostPath": {"path": str(self.output)}},
        }


class InstalledSignalProcessingSite(_InstalledSite, SignalProcessingSite):
    """A namespace with a SignalProcessing release; its policy and its mappings are values, and so in ConfigMaps."""

    chart = SIGNALPROCESSING

    def values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The chart says itself where the policy is mounted."""
        return {
            **{key: value for key, value in self.config(config).items() if key != "classifier"},
            "policies": {"content": (self.policies / "policy.rego").read_text()},
            "proactiveSignalMappings": {"content": self.mappings.read_text()},
        }

    def write_policy(self, text: str) -> None:
        """Put another policy in place, in the ConfigMap once there is one."""
        super().write_policy(text)
        name, api = f"{SIGNALPROCESSING.name}-policy", self._kubelet.control_plane.api
        if api.find("v1", "ConfigMap", self.namespace, name) is not None:
            api.patch("v1", "ConfigMap", self.namespace, name, {"data": {"policy.rego": text}})

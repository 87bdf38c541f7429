"""Charts in a cluster: a namespace with one release, and what tests ask of it, whichever service it is.

A subclass per service makes an object, knows when the work on it is done, and says by which version of the followed
file it was done: `FIRST` and `SECOND` are values that differ in that file alone, `BROKEN` cannot be used, and
`broken_words` are what the program says of it.
"""

from __future__ import annotations

import base64
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, ClassVar

import yaml
from scenarios.signalprocessing import signal_processing

from kubernaut_testing import eventually
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.helm import Helm
from kubernaut_testing.process import children_of, usage_of
from kubernaut_testing.receivers import WebhookReceiver

from .services import NOTIFICATION, POLICY, SIGNALPROCESSING, Charted, merged

API_VERSION = "kubernaut.ai/v1alpha1"
Values = Mapping[str, Any]

QUICK: dict[str, Any] = {
    "readinessProbe": {"initialDelaySeconds": 0, "periodSeconds": 1},
    "controller": {"leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"},
}
"""Values with which a rollout and a change of leader take seconds."""


class Installed(ABC):
    """One release in one namespace; `release` is its name, the service's unless it is told."""

    service: ClassVar[Charted]
    FIRST: ClassVar[Values]
    SECOND: ClassVar[Values]
    BROKEN: ClassVar[Values]
    broken_words: ClassVar[str]
    notes: ClassVar[str]
    """What the notes say of `FIRST`."""
    ended: ClassVar[str]
    """The phase of an object whose work is done."""

    def __init__(self, cluster: Cluster, namespace: str, release: str = "") -> None:
        cluster.kubelet.images[self.service.program] = [self.service.program]
        self.cluster, self.namespace = cluster, namespace
        self.release = release or self.service.name
        self.helm = Helm(cluster.kubeconfig, timeout=120)
        self._numbers = itertools.count(1)

    # The release ------------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        """The user that the pods are for the API server."""
        return f"system:serviceaccount:{self.namespace}:{self.service.controller}"

    def install(self, *values: Values, wait: bool = True) -> str:
        """Install with `QUICK`, what the chart needs, and these values."""
        return self.helm.install(
            self.release, self.service.chart, namespace=self.namespace, values=self._values(*values), wait=wait
        )

    def upgrade(self, *values: Values, wait: bool = True) -> str:
        """Upgrade to `QUICK`, what the chart needs, and these values."""
        return self.helm.upgrade(
            self.release, self.service.chart, namespace=self.namespace, values=self._values(*values), wait=wait
        )

    def _values(self, *values: Values) -> dict[str, Any]:
        return merged(QUICK, self.service.needed, *values)

    # What it uses -----------------------------------------------------------------------------------------

    def secret(self, name: str, **data: str) -> None:
        """Create or change a Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self._source("Secret", name, encoded)

    def config_map(self, name: str, data: Mapping[str, str]) -> None:
        """Create or change a ConfigMap."""
        self._source("ConfigMap", name, data)

    def _source(self, kind: str, name: str, data: Mapping[str, str]) -> None:
        meta = {"namespace": self.namespace, "name": name}
        self.cluster.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, "data": dict(data)})

    # Objects ----------------------------------------------------------------------------------------------

    @abstractmethod
    def manifest(self, name: str) -> dict[str, Any]:
        """An object to work on."""

    @abstractmethod
    def decided_by(self, status: Mapping[str, Any]) -> str:
        """Which version of the followed file an object's end shows: "FIRST", "SECOND", or something else."""

    @abstractmethod
    def existing(self, values: Values, name: str) -> dict[str, Any]:
        """Put the followed file of such values into a ConfigMap of ours; the values that use it instead."""

    def create(self, name: str = "") -> str:
        """Create an object; returns its name."""
        name = name or f"object-{next(self._numbers)}"
        self.cluster.api.create(self.manifest(name))
        return name

    def status(self, name: str) -> dict[str, Any]:
        """An object's status."""
        stored = self.cluster.api.get(API_VERSION, self.service.kind, self.namespace, name)
        found: dict[str, Any] = stored.get("status") or {}
        return found

    def done(self, name: str) -> dict[str, Any]:
        """Wait until the work on an object is done; its status."""
        eventually(
            lambda: self.status(name).get("phase") == self.ended, timeout=80, message=lambda: str(self.status(name))
        )
        return self.status(name)

    def wait_decided_by(self, version: str) -> None:
        """Create objects until one shows this version of the followed file."""
        eventually(lambda: self.decided_by(self.done(self.create())) == version, timeout=60, interval=0.5)

    # Pods -------------------------------------------------------------------------------------------------

    def pods(self) -> dict[str, int]:
        """The controller's pods that are not ending: name -> restarts."""
        found = self.cluster.api.list("v1", "Pod", self.namespace, selector=f"app={self.service.controller}")
        return {
            pod["metadata"]["name"]: sum(c["restartCount"] for c in pod["status"].get("containerStatuses", []))
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    def log(self, pod: str) -> str:
        """A pod's output."""
        return self.cluster.kubelet.logs(self.namespace, pod)

    def logs(self) -> str:
        """The output of all pods."""
        return "\n".join(self.log(pod) for pod in self.pods())

    def resident(self, pod: str) -> int:
        """The resident memory of all processes of a pod, in bytes; what they share is counted for each."""
        family = [self.cluster.kubelet.pid(self.namespace, pod)]
        for pid in family:
            family.extend(children_of(pid))
        return sum(usage_of(pid).rss for pid in family)

    def holder(self) -> str:
        """The pod that holds the Lease, empty if none does."""
        lease = self.cluster.api.find("coordination.k8s.io/v1", "Lease", self.namespace, self.service.lease)
        identity = ((lease or {}).get("spec") or {}).get("holderIdentity") or ""
        return str(identity).rpartition("_")[0]

    def config(self) -> dict[str, Any]:
        """The config file as it is stored."""
        stored = self.cluster.api.get("v1", "ConfigMap", self.namespace, self.service.config_map)
        content: dict[str, Any] = yaml.safe_load(stored["data"]["config.yaml"])
        return content


class NotificationInstalled(Installed):
    """Delivers to Slack, which `receiver` stands for, and with `SECOND` to the console alone."""

    service = NOTIFICATION
    FIRST: ClassVar[Values] = {"slack": {"secretName": "team-slack"}}
    SECOND: ClassVar[Values] = {
        "slack": {"secretName": "team-slack"},
        "routing": {"content": "route: {receiver: quiet}\nreceivers: [{name: quiet, consoleConfigs: [{}]}]\n"},
    }
    BROKEN: ClassVar[Values] = {
        "slack": {"secretName": "team-slack"},
        "routing": {"content": "route: {receiver: gone}\nreceivers: [{name: quiet}]\n"},
    }
    broken_words = "cannot load routing file /etc/notification-routing/routing.yaml: route.receiver names 'gone'"
    notes = "everything to Slack and the console"
    ended = "Sent"

    def __init__(self, cluster: Cluster, namespace: str, receiver: WebhookReceiver, release: str = "") -> None:
        super().__init__(cluster, namespace, release)
        self.receiver = receiver
        self.secret("team-slack", **{"webhook-url": f"{receiver.url}/first"})

    def manifest(self, name: str) -> dict[str, Any]:
        """A notification whose subject is its name."""
        spec = {"type": "Simple", "priority": "Low", "subject": name, "body": "Something happened."}
        meta = {"namespace": self.namespace, "name": name}
        return {"apiVersion": API_VERSION, "kind": self.service.kind, "metadata": meta, "spec": spec}

    def decided_by(self, status: Mapping[str, Any]) -> str:
        """The channels tell it."""
        channels = sorted(attempt["channel"] for attempt in status["deliveryAttempts"])
        versions = {("console", "slack:slack-and-console"): "FIRST", ("console",): "SECOND"}
        return versions.get(tuple(channels), str(channels))

    def existing(self, values: Values, name: str) -> dict[str, Any]:
        """As a ConfigMap with a routing file; that of `FIRST` is what the chart makes of the Slack values."""
        slack = "route: {receiver: slack-and-console}\nreceivers: [{name: slack-and-console, consoleConfigs: [{}], "
        slack += "slackConfigs: [{credentialRef: slack-webhook}]}]\n"
        text = values.get("routing", {}).get("content", slack)
        self.config_map(name, {"routing.yaml": text})
        return {"slack": {"secretName": "team-slack"}, "routing": {"existingConfigMap": name}}

    def arrived(self, subject: str, path: str = "") -> int:
        """How many messages with this subject came in, below any path or this one."""
        messages = self.receiver.to(path) if path else self.receiver.requests
        return sum(subject in message.body.decode() for message in messages)


class SignalProcessingInstalled(Installed):
    """Classifies signals about its own Deployment; `SECOND` names another policy as the one that decided."""

    service = SIGNALPROCESSING
    FIRST: ClassVar[Values] = {"policies": {"content": POLICY}}
    SECOND: ClassVar[Values] = {
        "policies": {"content": POLICY.replace('"policy_name": "default"', '"policy_name": "second"')}
    }
    BROKEN: ClassVar[Values] = {"policies": {"content": "package signalprocessing\n\nseverity :=\n"}}
    broken_words = "cannot use the policy: /etc/signalprocessing/policies/policy.rego"
    notes = "policy       as given"
    ended = "Completed"

    def manifest(self, name: str) -> dict[str, Any]:
        """A signal about the controller's own Deployment."""
        target = {"kind": "Deployment", "name": self.service.controller, "namespace": self.namespace}
        return signal_processing(self.namespace, name, targetResource=target)

    def decided_by(self, status: Mapping[str, Any]) -> str:
        """The policy tells its name."""
        name: str = status["priorityAssignment"]["policyName"]
        return {"default": "FIRST", "second": "SECOND"}.get(name, name)

    def existing(self, values: Values, name: str) -> dict[str, Any]:
        """As a ConfigMap with a policy, evaluated by the other engine where there is one for this machine."""
        self.config_map(name, {"policy.rego": values["policies"]["content"]})
        engine = "regorus" if find_spec("regorus") else "regopy"
        return {"policies": {"content": "", "existingConfigMap": name}, "classifier": {"engine": engine}}


def make_installed(
    service: Charted, cluster: Cluster, namespace: str, receiver: WebhookReceiver, release: str = ""
) -> Installed:
    """A release of a service that is not yet installed."""
    if service is NOTIFICATION:
        return NotificationInstalled(cluster, namespace, receiver, release)
    return SignalProcessingInstalled(cluster, namespace, release)

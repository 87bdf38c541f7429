"""An operator as it would be deployed: a ServiceAccount with its Role, a config file, ports, a process.

Knows the conventions that operators here share (`--config FILE --kubeconfig FILE`, `controller.metricsAddr`,
`controller.healthProbeAddr`, `KUBERNAUT_CONTROLLER_NAMESPACE`), and no operator.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.ports import free_port
from kubernaut_testing.process import OperatorProcess
from kubernaut_testing.proxy import FaultProxy
from kubernaut_testing.waiting import PATIENCE

__all__ = ["OperatorDeployment", "read_samples"]

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class OperatorDeployment:
    """One replica of an operator in one namespace; a context manager that starts it and kills it at the end.

    Args:
        control_plane: where it works.
        namespace: its own, and that of its objects.
        program: the console script, found beside the running Python.
        folder: a folder of its own for config, kubeconfig and log.
        role: YAML file with its Role, and its ClusterRole if it has one; their rules are granted to its
            ServiceAccount, nothing else.
        config: content of its config file; addresses are filled in.
        env: further environment.
        proxy: a fault proxy to put between operator and API server.
        account: name of the ServiceAccount.
        ready_timeout: seconds until which it must be ready.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        namespace: str,
        program: str,
        folder: Path,
        *,
        role: Path,
        config: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
        proxy: FaultProxy | None = None,
        account: str = "operator",
        ready_timeout: float = 60.0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config_file = folder / "config.yaml"
        self._ports = {"metricsAddr": free_port(), "healthProbeAddr": free_port()}
        self.write_config(config)
        granted = {document["kind"]: document["rules"] for document in yaml.safe_load_all(role.read_text())}
        control_plane.service_account(
            namespace, account, rules=granted.get("Role", ()), cluster_rules=granted.get("ClusterRole", ())
        )
        kubeconfig = control_plane.kubeconfig_for(namespace, account, seconds=7200)
        if proxy is not None:
            kubeconfig = proxy.kubeconfig_for(kubeconfig)
        script = Path(sys.executable).with_name(program)
        self.process = OperatorProcess(
            [script, "--config", self.config_file, "--kubeconfig", kubeconfig],
            env={"KUBERNAUT_CONTROLLER_NAMESPACE": namespace, **(env or {})},
            log=folder / f"{program}.log",
            ready=f"{self.probe_url}/readyz",
            ready_timeout=ready_timeout,
        )

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.close()

    @property
    def probe_url(self) -> str:
        """Where `/healthz` and `/readyz` are."""
        return f"http://127.0.0.1:{self._ports['healthProbeAddr']}"

    @property
    def metrics_url(self) -> str:
        """Where `/metrics` is."""
        return f"http://127.0.0.1:{self._ports['metricsAddr']}/metrics"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the config file, with this replica's addresses in it."""
        addresses = {key: f"127.0.0.1:{port}" for key, port in self._ports.items()}
        whole = {**config, "controller": {**addresses, **(config.get("controller") or {})}}
        self.config_file.write_text(yaml.safe_dump(whole, sort_keys=False))

    def probe(self, path: str) -> tuple[int, str]:
        """Code and text of a probe, such as "/healthz"."""
        try:
            with urllib.request.urlopen(self.probe_url + path, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The present samples of a metric that have these labels: all labels and the value of each."""
        return read_samples(self.metrics_url, name, **labels)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the present samples of a metric that have these labels; 0 if there is none."""
        return sum(value for _, value in self.samples(name, **labels))


def read_samples(url: str, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
    """The samples of a metric at a `/metrics` address that have these labels: all labels and the value of each."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        text = answer.read().decode()
    found = []
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match and match["name"] == name:
            given = dict(_LABEL.findall(match["labels"] or ""))
            if labels.items() <= given.items():
                found.append((given, float(match["value"])))
    return found

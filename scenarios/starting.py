"""The start of a service's program where there is no cluster: what it says of its files before it needs one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["start_without_cluster"]

_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
users: [{name: none, user: {}}]
"""
_ANY_PORT = 'controller: {metricsAddr: "127.0.0.1:0", healthProbeAddr: "127.0.0.1:0"}\n'


def start_without_cluster(
    program: str, folder: Path, config: str, *arguments: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `program` with the sections `config` (all but `controller`) to its end; its files are made in `folder`."""
    files = {"config": folder / "config.yaml", "kubeconfig": folder / "kubeconfig"}
    files["config"].write_text(_ANY_PORT + config)
    files["kubeconfig"].write_text(_KUBECONFIG)
    named = [part for flag, file in files.items() for part in (f"--{flag}", str(file))]
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *named, *arguments],
        env={**os.environ, "KUBERNAUT_CONTROLLER_NAMESPACE": "default", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )

"""What ends the start of the program says so in lines with file, place and what to do, and in nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("kubernaut-signalprocessing")
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
users: [{name: none, user: {}}]
"""
POLICY = files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_bytes()


def run(folder: Path, *arguments: str, policy: bytes | None, mappings: bytes = b"") -> subprocess.CompletedProcess[str]:
    config, kubeconfig, table = folder / "config.yaml", folder / "kubeconfig", folder / "mappings.yaml"
    config.write_text(
        'controller: {metricsAddr: "127.0.0.1:0", healthProbeAddr: "127.0.0.1:0"}\n'
        f"classifier: {{policyDir: {folder}}}\nlogging: {{format: console}}\n"
    )
    kubeconfig.write_text(KUBECONFIG)
    table.write_bytes(mappings)
    if policy is not None:
        (folder / "policy.rego").write_bytes(policy)
    return subprocess.run(
        [PROGRAM, "--config", config, "--kubeconfig", kubeconfig, *arguments],
        env={**os.environ, "SIGNAL_MODE_CONFIG_PATH": str(table), "KUBERNAUT_CONTROLLER_NAMESPACE": "default"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.behaviour(13, 94)
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            None,
            "cannot read the policy {path}: No such file or directory; mount the ConfigMap signalprocessing-policy, "
            "or correct classifier.policyDir and classifier.regoConfigMapKey",
        ),
        (b"package signalprocessing\n\nseverity := \n", "cannot use the policy: {path}:"),
        (b"\xff", "cannot use the policy: {path}:1: the file is not UTF-8; save it as UTF-8"),
    ],
)
def test_a_policy_that_cannot_be_used_ends_the_start_with_one_line(
    tmp_path: Path, policy: bytes | None, expected: str
) -> None:
    ended = run(tmp_path, policy=policy)
    output = ended.stdout + ended.stderr
    assert ended.returncode == 1, output
    (told,) = [line for line in output.splitlines() if " FATAL " in line]
    assert expected.format(path=tmp_path / "policy.rego") in told
    assert "Traceback" not in output


@pytest.mark.behaviour(91, 94)
def test_check_config_reads_policy_and_mappings(tmp_path: Path) -> None:
    good = run(tmp_path, "--check-config", policy=POLICY)
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith("OK: ")
    bad = run(tmp_path, "--check-config", policy=b"package x\n\nimport", mappings=b"a: [")
    assert bad.returncode == 1
    assert f"cannot use the policy: {tmp_path}/policy.rego:" in bad.stderr
    assert f"cannot use the signal mode mappings {tmp_path}/mappings.yaml: line 1" in bad.stderr

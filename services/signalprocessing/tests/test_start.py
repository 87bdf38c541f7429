"""What ends the start of the program says so in lines with file, place and what to do, and in nothing else."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from scenarios.signalprocessing import PROGRAM
from scenarios.starting import start_without_cluster

POLICY = files("kubernaut_signalprocessing").joinpath("policy/default.rego").read_bytes()


def run(folder: Path, *arguments: str, policy: bytes | None, mappings: bytes = b"") -> subprocess.CompletedProcess[str]:
    table = folder / "mappings.yaml"
    table.write_bytes(mappings)
    if policy is not None:
        (folder / "policy.rego").write_bytes(policy)
    config = f"classifier: {{policyDir: {folder}}}\nlogging: {{format: console}}\n"
    return start_without_cluster(PROGRAM, folder, config, *arguments, env={"SIGNAL_MODE_CONFIG_PATH": str(table)})


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
    digest = hashlib.sha256(POLICY).hexdigest()
    assert (
        f"# policy      {tmp_path}/policy.rego, sha256 {digest}, package signalprocessing, "
        "rules environment priority severity cluster labels, by regopy\n"
    ) in good.stdout
    assert f"# proactive   {tmp_path}/mappings.yaml, sha256 {hashlib.sha256(b'').hexdigest()}, 0 " in good.stdout
    assert "# watches     signalprocessings.kubernaut.ai of the namespace; namespaces of the cluster\n" in good.stdout
    bad = run(tmp_path, "--check-config", policy=b"package x\n\nimport", mappings=b"a: [")
    assert bad.returncode == 1
    assert f"cannot use the policy: {tmp_path}/policy.rego:" in bad.stderr
    assert f"cannot use the signal mode mappings {tmp_path}/mappings.yaml: line 1" in bad.stderr

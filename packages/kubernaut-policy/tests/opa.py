"""OPA itself as the reference: the real program, asked about many inputs in one run."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernaut_testing import binaries

_HARNESS = """package harness

import rego.v1

answers := [answer |
	some item in data.items
	answer := {name: value |
		some name in data.names
		value := data.%s[name] with input as item
	}
]
"""


def opa_answers(
    policy: Path, package: str, names: Sequence[str], inputs: Sequence[Any], folder: Path
) -> list[Mapping[str, Any]]:
    """For each input, the value of each rule of `names`; a rule that is undefined has no key."""
    (folder / "harness.rego").write_text(_HARNESS % package)
    (folder / "inputs.json").write_text(json.dumps({"items": list(inputs), "names": list(names)}))
    files = [policy, folder / "harness.rego", folder / "inputs.json"]
    done = _opa("eval", "--format=json", *(f"--data={file}" for file in files), "data.harness.answers")
    assert done.returncode == 0, done.stdout + done.stderr
    answers: list[Mapping[str, Any]] = json.loads(done.stdout)["result"][0]["expressions"][0]["value"]
    return answers


def opa_refuses(policy: Path) -> str:
    """What `opa check` has against a policy; empty if nothing."""
    done = _opa("check", str(policy))
    return "" if done.returncode == 0 else (done.stdout + done.stderr)


def rules_of(policy: Path) -> list[str]:
    """Names of the rules of a policy that are no functions."""
    found = re.findall(r"^(?:default )?([a-z_]+)(?![a-z_(])", policy.read_text(), re.MULTILINE)
    return sorted(set(found) - {"package", "import", "default"})


def _opa(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(binaries.find("opa")), *arguments], capture_output=True, text=True, timeout=60, check=False
    )

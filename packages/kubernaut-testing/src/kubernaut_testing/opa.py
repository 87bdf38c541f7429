"""OPA as the reference for policies: the real program, found or built once, asked about many inputs in one run.

One run of `opa eval` costs 50-150 ms however many inputs it gets, so the inputs are its data and a harness rule walks
over them: what a policy says to hundreds of inputs costs less than a second.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernaut_testing import binaries

__all__ = ["OpaError", "answers", "check"]

_HARNESS = """package harness

import rego.v1

answers := [answer |
	some item in data.harness_items
	answer := {name: value |
		some name in data.harness_names
		value := data.%s[name] with input as item
	}
]
"""


class OpaError(RuntimeError):
    """OPA failed; the text is what it said. A rule in conflict with itself for one input fails the whole run."""


def check(policy: Path) -> str:
    """What `opa check` has against a policy; empty if it takes it."""
    done = _run("check", str(policy))
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()


def answers(policy: Path, package: str, names: Sequence[str], inputs: Sequence[Any]) -> list[Mapping[str, Any]]:
    """For each input, the values of the rules `names` of `package`; a rule that is undefined has no key.

    Raises OpaError.
    """
    with tempfile.TemporaryDirectory(prefix="kubernaut-testing-opa-") as folder:
        harness, data = Path(folder) / "harness.rego", Path(folder) / "data.json"
        harness.write_text(_HARNESS % package)
        data.write_text(json.dumps({"harness_items": list(inputs), "harness_names": list(names)}))
        done = _run(
            "eval", "--format=json", *(f"--data={file}" for file in (policy, harness, data)), "data.harness.answers"
        )
    if done.returncode:
        raise OpaError(f"cannot evaluate {policy}: {(done.stdout + done.stderr).strip()}")
    found: list[Mapping[str, Any]] = json.loads(done.stdout)["result"][0]["expressions"][0]["value"]
    return found


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(binaries.find("opa")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

"""Helm as a test calls it: the real program, found or built once, with typed arguments and errors that say why.

A ``Helm`` talks to one cluster. Its cache and config are in a folder of its own, so neither a user's repositories nor
plugins change what a test sees. Values go through standard input; nothing is left on disk but the release, which is a
Secret in its namespace.

``python -m kubernaut_testing.helm ...`` runs the same program with the given arguments, in place of this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kubernaut_testing import binaries

__all__ = ["Helm", "HelmError"]

Values = Mapping[str, Any]
"""Values of a chart, as a values.yaml holds them."""


class HelmError(RuntimeError):
    """Helm refused or failed. ``output`` is what it printed, on both streams; ``code`` its exit code."""

    def __init__(self, arguments: Sequence[str], code: int, output: str) -> None:
        self.code, self.output = code, output
        super().__init__(f"cannot run helm {' '.join(arguments)}: exit code {code}\n{output.strip()}")


class Helm:
    """Commands of helm against one cluster; safe to use from several threads.

    Args:
        kubeconfig: of the cluster; None for commands that need none (``template``, ``lint``).
        program: the executable; default is the one that ``kubernaut_testing.binaries`` finds or builds.
        timeout: seconds that one command may take, also given to helm for what it waits for.

    Every command raises HelmError when helm fails.
    """

    def __init__(self, kubeconfig: Path | None = None, *, program: Path | None = None, timeout: float = 120.0) -> None:
        self._program = program or binaries.find("helm")
        self._kubeconfig = kubeconfig
        self._timeout = timeout

    def install(
        self,
        release: str,
        chart: Path,
        *,
        namespace: str,
        values: Values | None = None,
        wait: bool = True,
        options: Sequence[str] = (),
    ) -> str:
        """Install a chart; with ``wait``, return when all of its objects are ready. Returns what helm printed."""
        return self._release("install", release, chart, namespace, values, wait, options)

    def upgrade(
        self,
        release: str,
        chart: Path,
        *,
        namespace: str,
        values: Values | None = None,
        wait: bool = True,
        options: Sequence[str] = (),
    ) -> str:
        """Upgrade a release to exactly these values (helm's ``--reset-values``); otherwise as ``install``."""
        return self._release("upgrade", release, chart, namespace, values, wait, ["--reset-values", *options])

    def rollback(self, release: str, revision: int = 0, *, namespace: str, wait: bool = True) -> str:
        """Go back to a revision; 0 is the previous one."""
        arguments = ["rollback", release, *([str(revision)] if revision else [])]
        return self.run(*arguments, *self._waiting(wait), namespace=namespace)

    def uninstall(self, release: str, *, namespace: str, wait: bool = True) -> str:
        """Remove a release, all but the objects that its chart keeps."""
        return self.run("uninstall", release, *self._waiting(wait), namespace=namespace)

    def test(self, release: str, *, namespace: str, logs: bool = False) -> str:
        """Run the release's tests; returns what helm printed, with ``logs`` also what the pods did."""
        arguments = ["test", release, f"--timeout={self._timeout:g}s", *(["--logs"] if logs else [])]
        return self.run(*arguments, namespace=namespace)

    def status(self, release: str, *, namespace: str) -> dict[str, Any]:
        """The release as helm tells it: ``info.status`` such as "deployed", ``version``, ``info.notes``."""
        answer: dict[str, Any] = json.loads(self.run("status", release, "--output=json", namespace=namespace))
        return answer

    def template(
        self,
        release: str,
        chart: Path,
        *,
        namespace: str = "default",
        values: Values | None = None,
        options: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """The objects that a chart renders, decoded, in helm's order; hooks are among them."""
        text = self.run("template", release, str(chart), *options, namespace=namespace, values=values or {})
        return [document for document in yaml.safe_load_all(text) if document]

    def lint(self, chart: Path, *, values: Values | None = None) -> str:
        """Lint a chart, warnings being errors."""
        return self.run("lint", "--strict", str(chart), values=values or {})

    def run(self, *arguments: str, namespace: str = "", values: Values | None = None) -> str:
        """Run any command; returns its standard output. ``values`` are read by it as a values file."""
        words = [*arguments, *(["--namespace", namespace] if namespace else [])]
        text = None
        if values is not None:
            words += ["--values", "-"]
            text = json.dumps(values)  # YAML, and read the same by every reader of YAML
        with tempfile.TemporaryDirectory(prefix="kubernaut-testing-helm-") as home:
            try:
                done = subprocess.run(
                    [str(self._program), *words],
                    env=self._environment(Path(home)),
                    input=text or "",
                    capture_output=True,
                    text=True,
                    timeout=self._timeout + 30,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise HelmError(words, -1, f"it still ran after {error.timeout:g} s") from None
        if done.returncode:
            raise HelmError(words, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def _release(
        self,
        command: str,
        release: str,
        chart: Path,
        namespace: str,
        values: Values | None,
        wait: bool,
        options: Sequence[str],
    ) -> str:
        arguments = [command, release, str(chart), *self._waiting(wait), *options]
        return self.run(*arguments, namespace=namespace, values=values or {})

    def _waiting(self, wait: bool) -> list[str]:
        return ["--wait", f"--timeout={self._timeout:g}s"] if wait else []

    def _environment(self, home: Path) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
        folders = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        # Without a cluster nothing may be asked of the user's own.
        kubeconfig = str(self._kubeconfig) if self._kubeconfig else str(home / "none")
        return {**kept, **folders, "KUBECONFIG": kubeconfig, "HELM_NO_PLUGINS": "1"}


if __name__ == "__main__":
    found = binaries.find("helm")
    os.execv(found, [str(found), *sys.argv[1:]])

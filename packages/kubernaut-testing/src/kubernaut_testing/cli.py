"""The command ``kubernaut-testing``: ``up`` runs a control plane until Ctrl-C, ``fetch`` prepares binaries."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from kubernaut_testing import binaries
from kubernaut_testing.systempackages import SYSTEM_PROGRAMS, find_system_program

__all__ = ["main"]

_NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager", "helm", "opa")
_WELCOME = tuple(SYSTEM_PROGRAMS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 1 after a message on stderr."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "fetch":
            return _fetch(options.tools)
        return _up(options)
    except (binaries.ToolUnavailableError, RuntimeError, OSError) as error:
        binaries.say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubernaut-testing",
        description="A real Kubernetes control plane on this machine, for trying out and testing operators.",
        epilog="Binaries are taken from $KUBEBUILDER_ASSETS, PATH or the cache "
        f"({binaries.cache_dir() / 'bin'}), else built once with Go.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser(
        "up",
        help="start a control plane, print how to reach it, run until Ctrl-C",
        description="Starts etcd and kube-apiserver on free loopback ports, prints `export KUBECONFIG=...` on stdout. "
        "Everything ends with this command.",
    )
    up.add_argument("--controller-manager", action="store_true", help="also run kube-controller-manager")
    up.add_argument("--dir", type=Path, help="folder for kubeconfig, logs and audit log, kept afterwards")
    up.add_argument(
        "--record",
        action="append",
        metavar="GROUP",
        help="API group whose writes are logged with their bodies (repeatable; default kubernaut.ai)",
    )
    up.add_argument(
        "--apply", action="append", type=Path, default=[], metavar="FILE", help="YAML to apply at the start"
    )
    fetch = commands.add_parser(
        "fetch",
        help="find or build binaries now",
        description="Finds each tool, building or fetching it into the cache if need be, and prints the paths. "
        f"Without a name: {', '.join(_NEEDED)}, and, where the system has them, {', '.join(_WELCOME)}.",
    )
    fetch.add_argument(
        "tools",
        nargs="*",
        metavar="tool",
        choices=[*binaries.TOOLS, *SYSTEM_PROGRAMS, []],
        help=f"one of {', '.join([*binaries.TOOLS, *SYSTEM_PROGRAMS])}",
    )
    return parser


def _fetch(tools: Sequence[str]) -> int:
    for name in tools or [*_NEEDED, *_WELCOME]:
        try:
            path = find_system_program(name) if name in SYSTEM_PROGRAMS else binaries.find(name)
        except binaries.ToolUnavailableError as error:
            if tools or name in _NEEDED:
                raise
            binaries.say(f"going on without {name}: {error}")
            continue
        print(f"{name}\t{path}", flush=True)  # noqa: T201
    return 0


def _up(options: argparse.Namespace) -> int:
    from kubernaut_testing.controlplane import ControlPlane

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    begun = time.monotonic()
    with ControlPlane(
        controller_manager=options.controller_manager,
        directory=options.dir,
        record_bodies=options.record or ["kubernaut.ai"],
    ) as plane:
        for manifest in options.apply:
            plane.apply(manifest)
        binaries.say(f"ready after {time.monotonic() - begun:.1f} s at {plane.url}; audit log: {plane.audit_log}")
        binaries.say("Ctrl-C ends it")
        print(f"export KUBECONFIG={plane.kubeconfig}", flush=True)  # noqa: T201
        while not ended.wait(1.0):
            if not plane.running:
                binaries.say(f"cannot go on: a server has ended; see the logs in {plane.folder}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line that every operator has, and what it learns from its environment.

Flags may be written as Go programs take them (`-config FILE`, `-config=FILE`), since existing manifests do.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .connection import SERVICE_ACCOUNT

NAMESPACE_ENV = "KUBERNAUT_CONTROLLER_NAMESPACE"
"""Environment variable with the namespace whose objects this process owns; set but empty is an error."""


class StartError(Exception):
    """The process cannot start; the text is what the user reads: "cannot ...", and what to do."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, parsed. `config` None means the operator's built-in defaults."""

    config: Path | None
    kubeconfig: Path | None
    context: str | None
    check_config: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"cannot start {self.prog}: {message}; see {self.prog} --help", file=sys.stderr)  # noqa: T201
        raise SystemExit(2)


def parse_arguments(
    program: str, version: str, default_config: Path | None, argv: Sequence[str] | None = None, *, description: str = ""
) -> Arguments:
    """Read the command line. Ends the process for --help and --version (0) and for what it does not know (2)."""
    parser = _Parser(
        prog=program,
        description=description or f"The {program} operator.",
        epilog=f"Environment: {NAMESPACE_ENV} names the namespace whose objects are handled (default: the pod's, or "
        "that of the kubeconfig's context). KUBERNAUT_BIND_HOST is the host for addresses without one. "
        "Flags may be given with one dash or two.",
        allow_abbrev=False,
    )
    default = str(default_config) if default_config is not None else ""
    parser.add_argument(
        "--config", "-config", metavar="FILE", default=default, help=f"config file (default: {default or 'none'})"
    )
    parser.add_argument(
        "--kubeconfig", "-kubeconfig", metavar="FILE", help="kubeconfig to use instead of the pod's ServiceAccount"
    )
    parser.add_argument("--context", "-context", metavar="NAME", help="context in the kubeconfig")
    parser.add_argument(
        "--check-config",
        "-check-config",
        action="store_true",
        help="check the config file and the files that it refers to, print the values in force, and exit: "
        "0 if all is right, 1 if not",
    )
    parser.add_argument("--version", "-version", action="version", version=f"{program} {version}")
    parsed = parser.parse_args(argv)
    if not parsed.config and default_config is not None:
        parser.error("--config is empty")
    return Arguments(
        Path(parsed.config) if parsed.config else None,
        Path(parsed.kubeconfig).expanduser() if parsed.kubeconfig else None,
        parsed.context,
        parsed.check_config,
    )


def controller_namespace(
    fallback: str | None = None, environ: Mapping[str, str] | None = None, root: Path = SERVICE_ACCOUNT
) -> str:
    """Return the namespace whose objects this process handles.

    From the environment, else from the ServiceAccount, else `fallback` (the kubeconfig context's). Raises `StartError`.
    """
    env = os.environ if environ is None else environ
    if NAMESPACE_ENV in env:
        name = env[NAMESPACE_ENV].strip()
        if not name:
            raise StartError(f"cannot start: {NAMESPACE_ENV} is set but empty; give it a namespace or unset it")
        return name
    try:
        mounted = (root / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        mounted = ""
    if name := mounted or (fallback or ""):
        return name
    raise StartError(f"cannot tell which namespace to work in; set {NAMESPACE_ENV}")


def process_identity(environ: Mapping[str, str] | None = None) -> str:
    """Return a name for this process that no other has: the pod's or the host's, and a random part."""
    env = os.environ if environ is None else environ
    return f"{env.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:12]}"

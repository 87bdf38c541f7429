"""What `--check-config` tells when all is right: which files, namespace, objects and sinks it was about.

    OK: /etc/greeter/config.yaml
    # config      sha256 3f2a...
    # namespace   default
    # watches     greetings.hello.example.com of the namespace
    # audit       standard output, one JSON object a line
    controller:
      ...

The lines between `OK:` and the values in force are comments, so what follows `OK:` can be used as a config file. The
hashes are those of the files as they are mounted, to be compared with `sha256sum` of what was meant. Nothing secret is
among the facts: they are paths, hashes, names, and addresses, which have no credentials in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kubernaut_status import Resource

from .config import LoadedConfig, effective_values
from .flags import StartError, controller_namespace
from .sections import ControllerConfig
from .text import one_line

Fact = tuple[str, str]
"""A word and what there is to say of it, in one line."""


def report(loaded: LoadedConfig[ControllerConfig], facts: Sequence[Fact]) -> str:
    """Return what is printed of a config that is right; `facts` are the operator's own."""
    known = [
        ("config", f"sha256 {loaded.digest}" if loaded.digest else "built-in defaults"),
        ("namespace", _namespace()),
        *facts,
        ("audit", audit_place(loaded.config)),
    ]
    lines = [f"# {word:<11} {one_line(text)}" for word, text in known]
    return "\n".join([f"OK: {loaded.path}", *lines, effective_values(loaded.config)])


def watches(*resources: Resource) -> Fact:
    """Return the fact of what the operator watches: objects of its namespace, and what is not in namespaces."""
    names = [".".join(filter(None, (each.plural, each.group))) for each in resources]
    scopes = ["of the namespace" if each.namespaced else "of the cluster" for each in resources]
    return "watches", "; ".join(f"{name} {scope}" for name, scope in zip(names, scopes, strict=True))


def file_fact(path: Path, sha256: str, *more: str) -> str:
    """Return what to say of a file that the config refers to; `more` is what was found in it."""
    return ", ".join((str(path), f"sha256 {sha256}", *more))


def audit_place(config: ControllerConfig) -> str:
    """Return where audit events go."""
    file = f"{config.audit.file}, one JSON object a line" if config.audit.file else ""
    if config.datastorage is None:
        return file or "standard output, one JSON object a line"
    return f"{config.datastorage.url}" + (f"; what it does not get: {file}" if file else "")


def _namespace() -> str:
    try:
        return controller_namespace()
    except StartError:
        return "not known here: the pod's, or that of the kubeconfig's context"

"""The files that the servers and their clients read: audit policy, static tokens, kubeconfigs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["audit_policy", "write_audit_policy", "write_kubeconfig", "write_secret", "write_tokens"]


def audit_policy(record_bodies: Sequence[str]) -> dict[str, Any]:
    """The audit policy: every request, with bodies only for writes to the groups in ``record_bodies``.

    Each is seen when it comes in (RequestReceived), so that a reader knows what is still to be answered, and when it is
    complete; a watch also when it starts (ResponseStarted). Bodies of Secrets, ConfigMaps and tokens are never written,
    whatever is asked for, hence the first rule. managedFields are left out: they are half of every object.
    """
    rules: list[dict[str, Any]] = [
        {
            "level": "Metadata",
            "resources": [
                {"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]},
                {"group": "authentication.k8s.io"},
            ],
        }
    ]
    if record_bodies:
        rules.append(
            {
                "level": "RequestResponse",
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                "resources": [{"group": group} for group in record_bodies],
            }
        )
    rules.append({"level": "Metadata"})
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitManagedFields": True,
        "rules": rules,
    }


def write_audit_policy(path: Path, record_bodies: Sequence[str]) -> None:
    """Write ``audit_policy`` as YAML."""
    path.write_text(yaml.safe_dump(audit_policy(record_bodies), sort_keys=False))


def write_tokens(path: Path, admin: str, controller_manager: str) -> None:
    """Write the static token file: token, user, uid, groups."""
    write_secret(
        path,
        f'{admin},kubernaut-testing-admin,admin,"system:masters"\n'
        f"{controller_manager},system:kube-controller-manager,manager\n",
    )


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, replacing it in one step as a mounted token is."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    scratch.replace(path)


def write_kubeconfig(
    path: Path, server: str, user: Mapping[str, str], *, ca_file: Path | None = None, namespace: str = "default"
) -> Path:
    """Write a kubeconfig with one context; the CA is embedded, so the file works wherever it is copied.

    Args:
        path: the file to write.
        server: URL of the API server or of a proxy before it.
        user: the credentials, ``{"token": ...}`` or ``{"tokenFile": path}``.
        ca_file: authority to trust; None for a plain HTTP server.
        namespace: the context's default namespace.
    """
    cluster: dict[str, str] = {"server": server}
    if ca_file is not None:
        cluster["certificate-authority-data"] = base64.b64encode(ca_file.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": dict(user)}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        "current-context": "test",
    }
    write_secret(path, yaml.safe_dump(config, sort_keys=False))
    return path

"""Where the demo runs: a control plane of its own, or an existing cluster that was named by its context.

An existing cluster is never taken because KUBECONFIG happens to be exported: that variable only says in which files
the named context is looked up. What is there is not changed: the demo makes namespaces of its own, adds the CRD
only where there is none, and takes away what it made.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl

import yaml

from demo.following import AGENT
from demo.ground import DemoError
from kubernaut_api import load_crd
from kubernaut_runtime import Connection
from kubernaut_status import TransportError
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_status.transport import Request
from kubernaut_testing import ControlPlane
from kubernaut_testing.loopthread import LoopThread
from kubernaut_testing.rest import ApiError, RestClient
from kubernaut_testing.serverfiles import write_secret

__all__ = ["Context", "ExistingCluster", "connection_to", "crd_differences", "find_context"]

_CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None)
_RBAC = "rbac.authorization.k8s.io/v1"
_CLUSTER_WIDE = ("ClusterRoleBinding", "ClusterRole")


@dataclass(frozen=True)
class Context:
    """A context of the user's kubeconfig: its name, the files it was looked up in, its `cluster` entry."""

    name: str
    files: str
    cluster: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.cluster["server"])


def find_context(name: str) -> Context:
    """Look a context up where kubectl does: the files in KUBECONFIG, else ~/.kube/config. Nothing is contacted.

    Raises DemoError if there is no such context.
    """
    files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    contexts: dict[str, Mapping[str, Any]] = {}
    clusters: dict[str, dict[str, Any]] = {}
    for path in (Path(part).expanduser() for part in files.split(os.pathsep) if part):
        for kind, entry in _entries(path):
            if kind == "context":
                contexts.setdefault(entry["name"], entry["context"])
            else:
                clusters.setdefault(entry["name"], _absolute(entry["cluster"], path.parent))
    if name not in contexts:
        known = ", ".join(contexts) or "none"
        raise DemoError(f"cannot use context {name}: {files} does not have it (contexts there: {known})")
    cluster = clusters.get(str(contexts[name].get("cluster")))
    if cluster is None or "server" not in cluster:
        raise DemoError(f"cannot use context {name}: {files} does not say where its cluster is")
    return Context(name, files, cluster)


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return [(kind, entry) for kind in ("context", "cluster") for entry in loaded.get(f"{kind}s") or []]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeError, yaml.YAMLError, AttributeError) as error:
        # The error's own text may quote a credential.
        raise DemoError(f"cannot read the kubeconfig {path}: {type(error).__name__}") from None


def _absolute(cluster: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The entry with its CA file as an absolute path: kubectl takes it as relative to the kubeconfig."""
    authority = cluster.get("certificate-authority")
    return {**cluster, **({"certificate-authority": str((folder / authority).resolve())} if authority else {})}


def connection_to(plane: ControlPlane) -> Connection:
    """The administrator's connection to a control plane of our own."""
    return Connection(plane.url, ssl.create_default_context(cafile=str(plane.ca_file)), lambda: plane.admin_token)


class ClusterTransport:
    """Requests by a kubeconfig's credentials, whatever they are: tokens, certificates, plugins."""

    def __init__(self, connection: Connection) -> None:
        self._thread = LoopThread("cluster")
        self._client: AiohttpClient = connection.client(AGENT)

    def close(self) -> None:
        """Close the connections."""
        self._thread.run(self._client.close())
        self._thread.close()

    def __call__(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
        """Send one request; raises TransportError when the server cannot be reached."""
        path, _, query = path.partition("?")
        content_type = headers.get("Content-Type", "application/json")
        sent = Request(
            method.lower(), method, path, "", body=body, content_type=content_type, query=dict(parse_qsl(query))
        )
        answer = self._thread.run(self._client.send(sent), timeout=60)  # the client's own timeout comes first
        return answer.code, answer.body


class ExistingCluster(ControlPlane):
    """An API server that somebody else runs, with what a site needs of a control plane; nothing is started.

    There is no audit log to read, so `ledger` has nothing to say. `folder` receives the operators' kubeconfigs. What is
    made here for the demo is remembered, so that `remove` can take it away: `namespaces`, ClusterRoles with their
    bindings as `roles`, CRDs as `crds` by name. `plurals` are of the kinds that the demo makes objects of.
    """

    def __init__(self, context: Context, folder: Path, plurals: Sequence[str]) -> None:
        super().__init__(directory=folder)
        self.context = context
        self._plurals = plurals
        self.connection = Connection.from_kubeconfig(context.files, context.name)
        self._folder = folder
        self._files: list[Path] = []
        self._transport: ClusterTransport | None = None
        self.namespaces: list[str] = []
        self.roles: list[str] = []
        self.crds: list[str] = []

    def start(self) -> Self:
        """Connect and ask for the version. Raises DemoError when there is no answer, ApiError when it is a refusal."""
        self._transport = ClusterTransport(self.connection)
        self._api = RestClient(self._transport)
        try:
            self.version = str(self._api.request("GET", "/version")["gitVersion"])
        except TransportError as error:
            raise DemoError(f"cannot reach {self.context.server} of context {self.context.name}: {error}") from None
        return self

    def stop(self) -> None:
        """Disconnect, and remove the kubeconfigs that were written."""
        transport, self._transport, self._api = self._transport, None, None
        if transport is not None:
            transport.close()
        for path in self._files:
            path.unlink(missing_ok=True)

    @property
    def running(self) -> bool:
        """Whether it is connected."""
        return self._transport is not None

    def kubeconfig_for(self, namespace: str, name: str, *, seconds: int = 3600, token_file: Path | None = None) -> Path:
        """A kubeconfig with which a process acts as a ServiceAccount: the context's cluster, the account's token."""
        path = self._folder / f"{namespace}.{name}.kubeconfig"
        whole = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": dict(self.context.cluster)}],
            "users": [{"name": name, "user": {"token": self.token(namespace, name, seconds)}}],
            "contexts": [{"name": name, "context": {"cluster": "cluster", "user": name, "namespace": namespace}}],
            "current-context": name,
        }
        write_secret(path, json.dumps(whole))
        self._files.append(path)
        return path

    def create_namespace(self, name: str) -> str:
        """Create a namespace of the demo's own."""
        with self._remembered(self.namespaces, name):
            return super().create_namespace(name)

    def service_account(
        self,
        namespace: str,
        name: str,
        *,
        rules: Sequence[Mapping[str, Any]] = (),
        cluster_rules: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Create a ServiceAccount with exactly these permissions."""
        if cluster_rules:
            self.roles.append(f"{namespace}:{name}")
        return super().service_account(namespace, name, rules=rules, cluster_rules=cluster_rules)

    def add_crd(self, plural: str) -> str:
        """Add the CRD if there is none; says what was done or found."""
        name, differences = _name(plural), crd_differences(self.api, plural)
        if differences is None:
            with self._remembered(self.crds, name):
                self.apply(load_crd(plural))
            return f"{name} was missing and is added"
        if differences:
            shown = ", ".join(differences[:3]) + (" ..." if len(differences) > 3 else "")
            return f"{name} is there and left as it is, though it differs from this version's in {shown}"
        return f"{name} is there already, the same as this version's"

    @contextmanager
    def _remembered(self, made: list[str], name: str) -> Iterator[None]:
        made.append(name)
        try:
            yield
        except ApiError:
            made.remove(name)  # refused; an interruption or a timeout may have left it there
            raise

    def remove(self) -> str:
        """Take away what the demo made; says what was done. A CRD stays while others have objects of it."""
        deleted, left = [_counted(self.namespaces, "namespace"), _counted(self.roles, "ClusterRole")], []
        crds = [load_crd(plural) for plural in self._plurals]
        for crd in crds:
            for namespace in self.namespaces:
                for obj in self._objects(crd, namespace):
                    self.api.delete(obj["apiVersion"], obj["kind"], namespace, obj["metadata"]["name"])
        for namespace in self.namespaces:
            self.api.delete("v1", "Namespace", None, namespace)
        for role in self.roles:
            for kind in _CLUSTER_WIDE:
                self.api.delete(_RBAC, kind, None, role)
        gone = []
        for crd in (crd for crd in crds if crd["metadata"]["name"] in self.crds):
            name = crd["metadata"]["name"]
            others = [obj for obj in self._objects(crd) if obj["metadata"]["namespace"] not in self.namespaces]
            if others:
                left.append(f"left CRD {name}, since objects of other namespaces ({len(others)}) need it by now")
            else:
                self.api.delete(*_CRD, name)
                gone.append(name)
        return "; ".join([f"deleted {', '.join([*deleted, _counted(gone, 'CRD')])}", *left])

    def commands_to_remove(self) -> list[str]:
        """The same for a person, as kubectl commands; empty if nothing was made."""
        kinds = {"namespace": self.namespaces, "crd": self.crds}
        kinds |= {kind.lower(): self.roles for kind in _CLUSTER_WIDE}
        return [
            f"kubectl --context {self.context.name} delete {kind} {' '.join(names)}"
            for kind, names in kinds.items()
            if names
        ]

    def _objects(self, crd: Mapping[str, Any], namespace: str | None = None) -> list[dict[str, Any]]:
        spec = crd["spec"]
        try:
            return self.api.list(f"{spec['group']}/{spec['versions'][0]['name']}", spec["names"]["kind"], namespace)
        except (LookupError, ApiError):  # no CRD yet, so there are none
            return []


def crd_differences(api: RestClient, plural: str) -> list[str] | None:
    """Where the CRD that is there differs from ours, as paths in its spec; None if there is none. Changes nothing."""
    present = api.find(*_CRD, _name(plural))
    if present is None:
        return None
    path = f"{api.path(*_CRD, _name(plural))}?fieldManager={AGENT}&force=true&dryRun=All"
    ours = api.request("PATCH", path, load_crd(plural), content_type="application/apply-patch+yaml")
    return _paths_that_differ(present["spec"], ours["spec"], "spec")


def _counted(made: Sequence[str], what: str) -> str:
    return f"{len(made)} {what}{'' if len(made) == 1 else 's'}"


def _name(plural: str) -> str:
    return str(load_crd(plural)["metadata"]["name"])


def _paths_that_differ(one: Any, other: Any, where: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [path for key in keys for path in _paths_that_differ(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [path for at, pair in pairs for path in _paths_that_differ(*pair, f"{where}[{at}]")]
    return [] if one == other else [where]

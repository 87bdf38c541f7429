"""A real Kubernetes control plane on this machine: etcd and kube-apiserver as child processes.

Ready in seconds, on free loopback ports, with RBAC and the audit log on; kube-controller-manager (garbage
collection, namespace deletion, default ServiceAccounts) only where asked for. Nothing here imitates
Kubernetes: conflicts, schema checks, permissions, watches are the server's own.

Without the controller manager a deleted namespace stays in Terminating and owner references collect nothing;
tests use a fresh namespace each instead. The admission plugin that asks every pod for a ServiceAccount is
then off, since nobody would create the default one.
"""

from __future__ import annotations

import secrets
import signal
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from kubernaut_testing import binaries, serverfiles
from kubernaut_testing.children import Child, Children
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.pki import Authority, write_key_pair
from kubernaut_testing.ports import free_port
from kubernaut_testing.rest import AdminClient, ApiError, RestClient

__all__ = ["ControlPlane", "ControlPlaneError"]

_NO_ENDPOINTS = ("endpoints", "endpointslice", "endpointslice-mirroring")


class ControlPlaneError(RuntimeError):
    """The control plane did not start or has ended; the text carries the end of the server's own log."""


class ControlPlane:
    """etcd + kube-apiserver (+ kube-controller-manager), as a context manager or with ``start()``/``stop()``.

    Args:
        controller_manager: also run kube-controller-manager.
        record_bodies: API groups whose writes the audit log keeps with request and response body, so that the
            ledger knows contents and resourceVersions. Secrets, ConfigMaps and tokens are never recorded.
        directory: where kubeconfig, logs and audit log go; default is a private temporary folder that is removed at
            the end. A folder given here is left behind.
        api_server_args: further arguments for kube-apiserver, such as ``["--max-requests-inflight=50"]``.
        start_timeout: seconds until which each server must be ready.

    Raises (from ``start``): ToolUnavailableError without binaries, ControlPlaneError when a server ends or hangs.
    """

    def __init__(
        self,
        *,
        controller_manager: bool = False,
        record_bodies: Sequence[str] = ("kubernaut.ai",),
        directory: Path | None = None,
        api_server_args: Sequence[str] = (),
        start_timeout: float = 60.0,
    ) -> None:
        self._with_controller_manager = controller_manager
        self._record_bodies = tuple(record_bodies)
        self._directory = directory.resolve() if directory else None
        self._extra_args = tuple(api_server_args)
        self._start_timeout = start_timeout
        self._children: Children | None = None
        self._servers: dict[str, Child] = {}
        self._api: RestClient | None = None
        self._ledger: RequestLedger | None = None
        self._kubeconfigs = 0
        self.admin_token = secrets.token_urlsafe(24)
        """Bearer token of a member of system:masters."""

    # Life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Find the binaries (building them once if need be), start the servers, wait until they are ready."""
        if self._children is not None:
            raise ControlPlaneError("cannot start: this control plane is running")
        wanted = ["etcd", "kube-apiserver", *(["kube-controller-manager"] if self._with_controller_manager else [])]
        self._paths = {name: binaries.find(name) for name in wanted}
        self._children = Children("controlplane")
        try:
            self._prepare()
            # Somebody who does not choose ports as we do may take one before its server starts; then we ask again.
            for last in (False, False, True):
                try:
                    self._etcd_ports, self._port = (free_port(), free_port()), free_port()
                    self._start_etcd()
                    self._start_apiserver()
                    break
                except ControlPlaneError as error:
                    if last or "address already in use" not in str(error):
                        raise
                    for server in self._servers.values():
                        server.kill()
            if self._with_controller_manager:
                self._start_controller_manager()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the servers and remove the temporary folder; harmless when repeated."""
        children, self._children, self._api = self._children, None, None
        self._servers.clear()
        if children is not None:
            children.close()

    @property
    def running(self) -> bool:
        """Whether it was started and all of its servers live."""
        return self._children is not None and all(server.running for server in self._servers.values())

    # Where things are ------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder with kubeconfig, logs and audit log."""
        return self._directory or self._running.folder

    @property
    def url(self) -> str:
        """``https://127.0.0.1:<port>``; the port survives ``restart_apiserver``."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    @property
    def ca_file(self) -> Path:
        """The certificate (PEM) that a client must trust."""
        return self._running.folder / "ca.crt"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event a line, never rotated."""
        return self.folder / "audit.log"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by server: "etcd", "kube-apiserver", "kube-controller-manager"."""
        return {name: server.pid for name, server in self._servers.items() if server.running}

    @property
    def api(self) -> RestClient:
        """The administrator's client."""
        if self._api is None:
            raise ControlPlaneError("cannot talk to the control plane: it is not running")
        return self._api

    def ledger(self) -> RequestLedger:
        """The ledger over the audit log; always the same one, since it remembers how far it has read."""
        if self._ledger is None:
            self._ledger = RequestLedger(self.audit_log, self._send_marker)
        return self._ledger

    def metrics(self) -> str:
        """The API server's own metrics in Prometheus text format."""
        return str(self.api.request("GET", "/metrics", headers={"Accept": "text/plain"}))

    def etcd_metrics(self) -> str:
        """etcd's metrics in Prometheus text format."""
        with urllib.request.urlopen(f"{self._etcd_url}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    # What an administrator does --------------------------------------------------------------------------

    def apply(self, manifest: Mapping[str, Any] | str | Path) -> list[dict[str, Any]]:
        """Server-side apply of an object or of a YAML file; waits until an applied CRD is served."""
        return self.api.apply(manifest)

    def create_namespace(self, name: str) -> str:
        """Create a namespace, return its name; an existing one is fine."""
        try:
            self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        return name

    def service_account(
        self,
        namespace: str,
        name: str,
        *,
        rules: Sequence[Mapping[str, Any]] = (),
        cluster_rules: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Create or update a ServiceAccount with exactly these permissions; returns its user name.

        Args:
            namespace: must exist.
            name: of the account, and of its Role; the ClusterRole is called ``<namespace>:<name>``.
            rules: PolicyRules within the namespace, ``{"apiGroups": [...], "resources": [...], "verbs": [...]}``.
            cluster_rules: the same, in all namespaces.
        """
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}})
        subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
        group = "rbac.authorization.k8s.io"
        grants: list[tuple[str, dict[str, str], Sequence[Mapping[str, Any]]]] = [
            ("", {"namespace": namespace, "name": name}, rules),
            ("Cluster", {"name": f"{namespace}:{name}"}, cluster_rules),
        ]
        for scope, meta, granted in grants:
            if not granted:
                continue
            shared = {"apiVersion": f"{group}/v1", "metadata": meta}
            reference = {"apiGroup": group, "kind": f"{scope}Role", "name": meta["name"]}
            self.apply({**shared, "kind": f"{scope}Role", "rules": list(granted)})
            self.apply({**shared, "kind": f"{scope}RoleBinding", "roleRef": reference, "subjects": [subject]})
        return f"system:serviceaccount:{namespace}:{name}"

    def token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A token of a ServiceAccount by TokenRequest; the API server accepts no less than 600 seconds."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        return str(self.api.request("POST", path, request)["status"]["token"])

    def kubeconfig_for(self, namespace: str, name: str, *, seconds: int = 3600, token_file: Path | None = None) -> Path:
        """A kubeconfig with which a process acts as a ServiceAccount.

        Args:
            namespace: of the account, and the default namespace in the file.
            name: of the account.
            seconds: lifetime of its token.
            token_file: write the token there and refer to it, as a pod's projected token does; default inline.
        """
        token = self.token(namespace, name, seconds)
        self._kubeconfigs += 1
        path = self.folder / f"{namespace}.{name}.{self._kubeconfigs}.kubeconfig"
        user: dict[str, str] = {"token": token}
        if token_file is not None:
            serverfiles.write_secret(token_file, token)
            user = {"tokenFile": str(token_file)}
        return serverfiles.write_kubeconfig(path, self.url, user, ca_file=self.ca_file, namespace=namespace)

    # Faults ----------------------------------------------------------------------------------------------

    def kill_apiserver(self) -> None:
        """SIGKILL the API server and leave it down until ``restart_apiserver``."""
        self._servers["kube-apiserver"].kill()
        self.ledger().server_ended()

    def restart_apiserver(self, *, graceful: bool = True, down: float = 0.0) -> None:
        """Restart the API server on its port and wait until it is ready.

        Args:
            graceful: SIGTERM, so that it ends its watches in order; else SIGKILL.
            down: seconds without a server in between.
        """
        server = self._servers["kube-apiserver"]
        if server.running:
            server.terminate() if graceful else server.kill()
        self.ledger().server_ended()
        time.sleep(down)
        self._start_apiserver()

    def restart_etcd(self, *, down: float = 0.0) -> None:
        """Restart etcd on its data, under the running API server, and wait until both are ready again."""
        self._servers["etcd"].terminate()
        time.sleep(down)
        self._start_etcd()
        self._wait_apiserver()

    def pause(self, server: str = "kube-apiserver") -> None:
        """SIGSTOP: the server accepts connections and answers nothing until ``resume``."""
        self._servers[server].signal(signal.SIGSTOP)

    def resume(self, server: str = "kube-apiserver") -> None:
        """SIGCONT after ``pause``."""
        self._servers[server].signal(signal.SIGCONT)

    # Inside ----------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Children:
        if self._children is None:
            raise ControlPlaneError("cannot use the control plane: it is not running (call start() first)")
        return self._children

    @property
    def _etcd_url(self) -> str:
        return f"http://127.0.0.1:{self._etcd_ports[0]}"

    def _prepare(self) -> None:
        private = self._running.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.audit_log.unlink(missing_ok=True)
        self._ledger = None
        Authority.create(self.ca_file, "kubernaut-testing").issue_server(private / "tls.crt", private / "tls.key")
        write_key_pair(private / "sa.key", private / "sa.pub")
        self._manager_token = secrets.token_urlsafe(24)
        serverfiles.write_tokens(private / "tokens.csv", self.admin_token, self._manager_token)
        serverfiles.write_audit_policy(private / "audit-policy.yaml", self._record_bodies)

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        arguments = [
            *("--name=default", f"--data-dir={self._running.folder / 'etcd'}"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster=default={peer}",
            # A test needs no data after a power cut, and a sync per write costs milliseconds.
            *("--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=4294967296"),
        ]
        self._spawn("etcd", arguments)
        self._wait("etcd", self._etcd_healthy)

    def _etcd_healthy(self) -> bool:
        with urllib.request.urlopen(f"{self._etcd_url}/health", timeout=2) as answer:
            return bool(answer.status == 200)

    def _start_apiserver(self) -> None:
        private = self._running.folder
        serverfiles.write_kubeconfig(self.kubeconfig, self.url, {"token": self.admin_token}, ca_file=self.ca_file)
        self._api = AdminClient(self.url, self.admin_token, self.ca_file)
        off = [] if self._with_controller_manager else ["--disable-admission-plugins=ServiceAccount"]
        arguments = [
            *(f"--etcd-servers={self._etcd_url}", f"--secure-port={self._port}"),
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"),
            *(f"--tls-cert-file={private / 'tls.crt'}", f"--tls-private-key-file={private / 'tls.key'}"),
            *("--authorization-mode=Node,RBAC", f"--token-auth-file={private / 'tokens.csv'}"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={private / 'sa.pub'}",
            f"--service-account-signing-key-file={private / 'sa.key'}",
            *("--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true", "--profiling=false"),
            *(f"--audit-log-path={self.audit_log}", f"--audit-policy-file={private / 'audit-policy.yaml'}"),
            *("--audit-log-maxsize=0", "--audit-log-mode=blocking"),
            *off,
            *self._extra_args,
        ]
        self._spawn("kube-apiserver", arguments)
        self._wait_apiserver()

    def _wait_apiserver(self) -> None:
        self._wait("kube-apiserver", lambda: self.api.request("GET", "/readyz") == "ok")

    def _start_controller_manager(self) -> None:
        private = self._running.folder
        config = serverfiles.write_kubeconfig(
            private / "manager.kubeconfig", self.url, {"token": self._manager_token}, ca_file=self.ca_file
        )
        port = free_port()
        arguments = [
            *(f"--kubeconfig={config}", "--leader-elect=false", "--use-service-account-credentials=true"),
            *(f"--service-account-private-key-file={private / 'sa.key'}", f"--root-ca-file={self.ca_file}"),
            *("--bind-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={private}"),
            # Pods of the local kubelet have loopback addresses, which the API refuses as endpoints of a Service.
            f"--controllers=*,{','.join(f'-{name}-controller' for name in _NO_ENDPOINTS)}",
        ]
        self._spawn("kube-controller-manager", arguments)
        # Ready when it has done its first visible work: every namespace gets its default ServiceAccount.
        self._wait(
            "kube-controller-manager",
            lambda: self.api.find("v1", "ServiceAccount", "default", "default") is not None,
        )

    def _spawn(self, name: str, arguments: Sequence[str]) -> None:
        log = self.folder / f"{name}.log"
        self._servers[name] = self._running.spawn(name, [self._paths[name], *arguments], log=log)

    def _wait(self, name: str, ready: Any) -> None:
        server = self._servers[name]
        deadline = time.monotonic() + self._start_timeout
        last: Exception | None = None
        while time.monotonic() < deadline:
            if not server.running:
                raise ControlPlaneError(
                    f"cannot start {name}: it ended with code {server.returncode}; the end of {server.log}:\n"
                    f"{server.log_tail()}"
                )
            try:
                if ready():
                    return
            except (OSError, ApiError) as error:
                last = error
            time.sleep(0.05)
        raise ControlPlaneError(
            f"cannot start {name}: not ready after {self._start_timeout:g} s (last answer: {last}); the end of "
            f"{server.log}:\n{server.log_tail()}"
        )

    def _send_marker(self, name: str) -> None:
        self.api.request("GET", f"/version?marker={name}")

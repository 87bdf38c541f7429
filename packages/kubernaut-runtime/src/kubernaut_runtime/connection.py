"""How to reach the API server: from inside a pod, or by a kubeconfig file.

Inside a pod everything is in files of the ServiceAccount, so nothing else is loaded. A kubeconfig is read by the
`kubernetes` package (contexts, client certificates, tokens, exec plugins); it takes a second and 40 MB to import, so
it is imported only then.

Tokens are asked for before every request and may change at any time: a token file is read again when it changed and at
least every 60 s (kubelet rotates ServiceAccount tokens), an exec plugin is run again before its credential expires.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernaut_status import ApiCalls
from kubernaut_status.aiohttp_client import AiohttpClient

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where kubelet mounts token, ca.crt and namespace."""

_REREAD = 60.0


class ConnectError(Exception):
    """There is no usable way to an API server; the message says what was tried and what to do."""


class TokenFile:
    """A bearer token in a file. Calling it returns the token, read again when the file changed or after 60 s.

    If the file cannot be read, the last good token stays in use: the server's 401 is the truth, not a file in
    mid-rotation. Safe to call from any thread.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._monotonic = monotonic
        self._token: str | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._read_at = 0.0

    def forget(self) -> None:
        """Read the file again next time, whatever its time stamps say: the server refused the token."""
        self._stamp = None

    def __call__(self) -> str | None:
        """Return the token, or None if there never was one."""
        now = self._monotonic()
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if self._token is None or stamp != self._stamp or now - self._read_at >= _REREAD:
                text = self.path.read_text(encoding="ascii").strip()
                self._stamp, self._read_at = stamp, now
                self._token = text or self._token
        except (OSError, ValueError):
            if self._token is None:
                return None
        return self._token


@dataclass(frozen=True, slots=True)
class Connection:
    """One API server and who we are to it.

    `server` is its URL, `ssl` the context with its CA (and our client certificate), True for the system's CAs, False
    for an unverified server. `token` is called before each request. `namespace` is the context's or the pod's.
    """

    server: str
    ssl: ssl.SSLContext | bool = True
    token: Callable[[], str | None] = field(default=lambda: None, repr=False)
    namespace: str | None = None
    origin: str = "given"
    """Where this came from, for the log: `in cluster`, or `kubeconfig <path>, context <name>`."""

    def client(self, user_agent: str, calls: ApiCalls | None = None, **options: Any) -> AiohttpClient:
        """Return a new HTTP client with connections of its own; the caller closes it."""
        return AiohttpClient(self.server, ssl=self.ssl, token=self.token, user_agent=user_agent, calls=calls, **options)

    @classmethod
    def load(cls, kubeconfig: Path | None = None, context: str | None = None) -> Connection:
        """Return the connection of `kubeconfig`, else the pod's own, else that of KUBECONFIG or ~/.kube/config."""
        if kubeconfig is not None:
            return cls.from_kubeconfig(kubeconfig, context)
        if os.environ.get("KUBERNETES_SERVICE_HOST") and context is None:
            return cls.in_cluster()
        default = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        return cls.from_kubeconfig(default, context)

    @classmethod
    def in_cluster(cls, root: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] | None = None) -> Connection:
        """Return the connection of the pod that this process runs in. Raises `ConnectError` outside one."""
        env = os.environ if environ is None else environ
        host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ConnectError(
                "cannot use the in-cluster connection: KUBERNETES_SERVICE_HOST is not set; "
                "outside a cluster give --kubeconfig FILE"
            )
        token = TokenFile(root / "token")
        if not token():
            raise ConnectError(
                f"cannot use the in-cluster connection: {token.path} is missing or empty; "
                "the pod needs automountServiceAccountToken: true"
            )
        try:
            context = ssl.create_default_context(cafile=str(root / "ca.crt"))
        except (OSError, ssl.SSLError) as error:
            raise ConnectError(f"cannot use the CA file {root / 'ca.crt'}: {error}") from None
        server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        try:
            namespace = (root / "namespace").read_text(encoding="utf-8").strip() or None
        except OSError:
            namespace = None
        return cls(server, context, token, namespace, "in cluster")

    @classmethod
    def from_kubeconfig(cls, path: Path | str, context: str | None = None) -> Connection:
        """Return the connection of a kubeconfig file (or several, separated as in KUBECONFIG) and a context.

        `context` None takes the file's current-context. Raises `ConnectError` for whatever is wrong with it.
        """
        from .kubeconfig import connect

        return connect(str(path), context)

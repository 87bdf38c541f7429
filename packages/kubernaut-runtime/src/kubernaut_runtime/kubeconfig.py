"""Reading a kubeconfig with the `kubernetes` package's loaders, and keeping its credentials fresh.

The loaders know contexts, certificates, tokens, auth providers and exec plugins. What they leave out is done here: a
`tokenFile` is read again when it changes, an expiring exec credential is renewed in a thread before it expires (a
plugin takes a second, and the caller is an event loop), and failures of a plugin are errors, not log lines.
"""

from __future__ import annotations

import importlib
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .connection import ConnectError, Connection, TokenFile

log = logging.getLogger(__name__)

_RENEW_BEFORE = 60.0


def connect(path: str, context: str | None) -> Connection:
    """Return the connection of `context` (None: the current one) in the kubeconfig file or files `path`.

    Raises `ConnectError`; its text never holds a credential.
    """
    wrong = f"cannot use kubeconfig {path}"
    first = next((part for part in path.split(os.pathsep) if Path(part).expanduser().exists()), None)
    if first is None:
        raise ConnectError(f"{wrong}: there is no such file; give the right one with --kubeconfig")
    client: Any = importlib.import_module("kubernetes.client")
    config: Any = importlib.import_module("kubernetes.config")
    files: Any = importlib.import_module("kubernetes.config.kube_config")
    try:
        merged = files.KubeConfigMerger(path).config
        loader = files.KubeConfigLoader(merged, active_context=context, config_base_path=None)
        current = loader.current_context
        inner = current["context"]
        cluster = merged["clusters"].get_with_name(inner["cluster"])["cluster"]
        user = merged["users"].get_with_name(inner["user"], safe=True) if inner.get("user") else None
        user_node = user["user"] if user is not None and user.value.get("user") else None
        settings = client.Configuration()
        with _loader_errors() as told:
            loader.load_and_set(settings)
    except config.ConfigException as error:
        raise ConnectError(f"{wrong}: {error}; contexts are listed by: kubectl config get-contexts") from None
    except Exception as error:  # noqa: BLE001 (the loader lets YAML, type and OS errors through; none may show a secret)
        raise ConnectError(f"{wrong}: it cannot be read ({type(error).__name__})") from None

    def fail(reason: str) -> ConnectError:
        return ConnectError(f"{wrong}, context {current['name']}: {reason}")

    if "proxy-url" in cluster:
        raise fail("proxy-url is not supported; use a context that reaches the server directly")
    credentials: dict[str, Any] = user_node.value if user_node is not None else {}
    if "exec" in credentials and not (settings.api_key.get("BearerToken") or settings.cert_file):
        raise fail(f"the exec plugin gave no credentials: {'; '.join(told) or 'no output'}")
    if "username" in credentials and not settings.api_key.get("BearerToken", "").startswith("Bearer "):
        raise fail("user and password are not supported by Kubernetes any more; use a token or a certificate")
    try:
        ssl_context = _ssl_context(settings)
    except (OSError, ssl.SSLError) as error:
        raise fail(f"its certificates cannot be used ({error})") from None
    token: Callable[[], str | None]
    if credentials.get("tokenFile"):
        # The loader would read the file once; kubectl and kubelet rotate it.
        home = Path(getattr(user_node, "path", None) or first).parent
        token = TokenFile(home / Path(credentials["tokenFile"]))
    else:
        token = _LoaderToken(loader, settings, ssl_context)
    return Connection(
        settings.host, ssl_context, token, inner.get("namespace"), f"kubeconfig {path}, context {current['name']}"
    )


class _LoaderToken:
    """The token of a kubeconfig user; expiring ones are fetched again in a thread, before they expire."""

    def __init__(self, loader: Any, settings: Any, ssl_context: ssl.SSLContext | bool) -> None:
        self._loader, self._settings, self._ssl = loader, settings, ssl_context
        self._renewal: threading.Thread | None = None
        self._tried = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> str | None:
        expiry = getattr(self._loader, "expiry", None)
        if expiry is not None:
            left = (expiry - datetime.now(UTC)).total_seconds()
            if left < _RENEW_BEFORE:
                renewal = self._renew()
                if left <= 0 and renewal is not None:
                    renewal.join(5)  # an expired token is useless, so this once the caller waits
        key = str(self._settings.api_key.get("BearerToken") or "")
        return key.removeprefix("Bearer ") or None

    def _renew(self) -> threading.Thread | None:
        with self._lock:
            running = self._renewal is not None and self._renewal.is_alive()
            if not running and time.monotonic() - self._tried > 5:
                self._tried = time.monotonic()
                self._renewal = threading.Thread(target=self._fetch, name="credentials", daemon=True)
                self._renewal.start()
            return self._renewal

    def _fetch(self) -> None:
        try:
            self._loader.load_and_set(self._settings)
            if isinstance(self._ssl, ssl.SSLContext) and self._settings.cert_file:
                self._ssl.load_cert_chain(self._settings.cert_file, self._settings.key_file)
        except Exception as error:  # noqa: BLE001 (the old credential stays; its text may hold secrets)
            log.warning("cannot renew the kubeconfig's credential", extra={"error": type(error).__name__})


class _NamedContext(ssl.SSLContext):
    """A context that checks the certificate for another name than the URL's (`tls-server-name`)."""

    server_name = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.server_name, session)


def _ssl_context(settings: Any) -> ssl.SSLContext | bool:
    if not str(settings.host).startswith("https"):
        return True
    context: ssl.SSLContext
    if settings.tls_server_name:
        context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.server_name = settings.tls_server_name
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ssl_ca_cert:
        context.load_verify_locations(settings.ssl_ca_cert)
    else:
        context.load_default_certs()
    if not settings.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


class _loader_errors(logging.Handler):  # noqa: N801 (used as a context manager)
    """Collects what the loader only logs: why an exec plugin failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split())[:300])

    def __enter__(self) -> list[str]:
        logging.getLogger().addHandler(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

"""A small synchronous client for the administrator's side of a test: create, read, patch, delete, apply.

Standard library only, so that importing it costs nothing and no client library's own requests (discovery,
defaults, retries) mix into what the ledger counts. It names itself ``kubernaut-testing/admin``. It is never
what is under test.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ADMIN_AGENT", "AdminClient", "ApiError", "RestClient", "Transport"]

ADMIN_AGENT = "kubernaut-testing/admin"
"""The user agent of every request made here."""

Objects = list[dict[str, Any]]
"""Decoded objects."""

Transport = Callable[[str, str, Any, Mapping[str, str]], tuple[int, Any]]
"""Sends one request and returns the HTTP code and the decoded answer.

Takes method, path with query, body (None for none) and headers beside its own. Raises OSError, or an error of its own,
when the server cannot be reached.
"""

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


class ApiError(RuntimeError):
    """The API server refused: ``status`` (HTTP code), ``reason`` (such as "AlreadyExists") and its message."""

    def __init__(self, method: str, path: str, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.body = body
        super().__init__(f"cannot {method} {path}: {status} {self.reason}: {body.get('message', '')}")


class RestClient:
    """An administrator's requests against one API server, over any transport; as safe for threads as that is."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._paths: dict[tuple[str, str], tuple[str, bool]] = {}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request; the decoded JSON answer (text for anything else).

        Raises ApiError for a code of 400 or more, and what the transport raises when the server cannot be reached.
        """
        typed = {} if body is None else {"Content-Type": content_type}
        code, answer = self._transport(method, path, body, {**(headers or {}), **typed})
        if code >= 400:
            raise ApiError(method, path, code, answer if isinstance(answer, dict) else {"message": answer})
        return answer

    def path(self, api_version: str, kind: str, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of a kind, found by discovery; ``kind`` may also be the plural, as in a URL.

        Raises LookupError if the server does not serve it.
        """
        plural, namespaced = self._resource(api_version, kind)
        prefix = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        if namespaced and namespace:
            prefix += f"/namespaces/{namespace}"
        return f"{prefix}/{plural}" + (f"/{name}" if name else "")

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        key = (api_version, kind)
        if key not in self._paths:
            base = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
            try:
                served = self.request("GET", base)["resources"]
            except ApiError as error:
                if error.status != 404:
                    raise
                served = []
            for item in served:
                if "/" not in item["name"]:
                    for alias in (item["kind"], item["name"]):
                        self._paths[api_version, alias] = (item["name"], item["namespaced"])
        if key not in self._paths:
            raise LookupError(f"cannot find {kind} in {api_version}: the API server does not serve it (CRD applied?)")
        return self._paths[key]

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> dict[str, Any]:
        """Read one object; ApiError with status 404 if there is none."""
        answer: dict[str, Any] = self.request("GET", self.path(api_version, kind, namespace, name))
        return answer

    def find(self, api_version: str, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """Read one object, or None."""
        try:
            return self.get(api_version, kind, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str | None = None, *, selector: str = "") -> Objects:
        """All objects of a kind in a namespace, or in all of them; ``selector`` is a label selector."""
        query = "?" + urllib.parse.urlencode({"labelSelector": selector}) if selector else ""
        answer = self.request("GET", self.path(api_version, kind, namespace) + query)
        shared = {"apiVersion": answer["apiVersion"], "kind": answer["kind"].removesuffix("List")}
        return [{**shared, **item} for item in answer["items"]]

    def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """POST one object; ApiError with reason "AlreadyExists" if it is there."""
        meta = manifest.get("metadata", {})
        path = self.path(manifest["apiVersion"], manifest["kind"], meta.get("namespace"))
        answer: dict[str, Any] = self.request("POST", path, manifest)
        return answer

    def patch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> dict[str, Any]:
        """JSON merge patch of an object, or of its ``subresource`` such as "status"."""
        path = self.path(api_version, kind, namespace, name) + (f"/{subresource}" if subresource else "")
        answer: dict[str, Any] = self.request("PATCH", path, body, content_type=_MERGE)
        return answer

    def events(self, namespace: str, name: str, reason: str = "") -> Objects:
        """The Events about the objects called `name` in the namespace; with `reason` only those."""
        return [
            event
            for event in self.list("v1", "Event", namespace)
            if event["involvedObject"]["name"] == name and reason in ("", event["reason"])
        ]

    def delete(self, api_version: str, kind: str, namespace: str | None, name: str) -> None:
        """Delete one object; nothing happens if it is gone already."""
        try:
            self.request("DELETE", self.path(api_version, kind, namespace, name))
        except ApiError as error:
            if error.status != 404:
                raise

    def apply(self, manifest: Mapping[str, Any] | str | Path, *, timeout: float = 30.0) -> Objects:
        """Server-side apply of one object, of a List, or of all documents of a YAML file.

        A CustomResourceDefinition is waited for until its kinds can be listed. Returns the stored objects, in
        order. Raises ApiError when the server refuses, TimeoutError when a CRD does not become served.
        """
        stored = []
        for document in _documents(manifest):
            meta = document["metadata"]
            if "name" not in meta:
                stored.append(self.create(document))
                continue
            path = self.path(document["apiVersion"], document["kind"], meta.get("namespace"), meta["name"])
            query = "?fieldManager=kubernaut-testing&force=true"
            stored.append(self.request("PATCH", path + query, document, content_type=_APPLY))
            if document["kind"] == "CustomResourceDefinition":
                self._wait_served(document, timeout)
        return stored

    def _wait_served(self, crd: Mapping[str, Any], timeout: float) -> None:
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        versions = [version["name"] for version in crd["spec"]["versions"] if version["served"]]
        deadline = time.monotonic() + timeout
        last = "no condition"
        while time.monotonic() < deadline:
            stored = self.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, f"{plural}.{group}")
            conditions = {item["type"]: item for item in (stored.get("status") or {}).get("conditions") or []}
            last = "; ".join(f"{item['type']}={item['status']} {item.get('message')}" for item in conditions.values())
            if conditions.get("Established", {}).get("status") == "True":
                try:
                    for version in versions:
                        self._paths.pop((f"{group}/{version}", crd["spec"]["names"]["kind"]), None)
                        self.list(f"{group}/{version}", crd["spec"]["names"]["kind"])
                    return
                except (ApiError, LookupError) as error:
                    last = str(error)
            time.sleep(0.05)
        raise TimeoutError(f"cannot use {plural}.{group}: not served after {timeout:g} s ({last})")


class AdminClient(RestClient):
    """Requests with one bearer token against one API server; safe to use from several threads.

    Args:
        url: ``https://host:port``.
        token: bearer token.
        ca_file: PEM file of the authority that signed the server's certificate.
        user_agent: what the ledger will show.
        timeout: seconds per request.
    """

    def __init__(
        self, url: str, token: str, ca_file: Path, *, user_agent: str = ADMIN_AGENT, timeout: float = 30.0
    ) -> None:
        headers = {"Authorization": f"Bearer {token}", "User-Agent": user_agent, "Accept": "application/json"}
        super().__init__(_HttpsTransport(url, headers, ssl.create_default_context(cafile=str(ca_file)), timeout))


class _HttpsTransport:
    """One kept connection per thread.

    A request is sent again once if the kept connection turns out to be closed, which happens after a restart of the
    server.
    """

    def __init__(self, url: str, headers: Mapping[str, str], tls: ssl.SSLContext, timeout: float) -> None:
        split = urllib.parse.urlsplit(url)
        self._host, self._port = split.hostname or "127.0.0.1", split.port or 443
        self._headers, self._tls, self._timeout = headers, tls, timeout
        self._local = threading.local()

    def __call__(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        code, kind, raw = self._exchange(method, path, data, {**self._headers, **headers})
        if kind.startswith("application/json") and raw:
            return code, json.loads(raw)
        return code, raw.decode(errors="replace")

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, str, bytes]:
        for fresh in (False, True):
            connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
            reused = connection is not None and not fresh
            if connection is None or fresh:
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=self._tls
                )
                self._local.connection = connection
            try:
                connection.request(method, path, data, dict(headers))
                response = connection.getresponse()
                return response.status, response.headers.get("Content-Type", ""), response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                if not reused:
                    if isinstance(error, OSError):
                        raise
                    raise ConnectionError(f"cannot {method} {path}: {error!r}") from error
        raise AssertionError("unreachable")


def _documents(manifest: Mapping[str, Any] | str | Path) -> Iterator[Mapping[str, Any]]:
    documents = [manifest] if isinstance(manifest, Mapping) else yaml.safe_load_all(Path(manifest).read_text())
    for document in documents:
        if document and document.get("kind") == "List":
            yield from document["items"]
        elif document:
            yield document

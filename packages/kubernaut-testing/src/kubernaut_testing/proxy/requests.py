"""A request as Kubernetes sees it: verb, resource and object read from method, path and query."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ProxiedRequest"]

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass
class ProxiedRequest:
    """One request that came through the proxy.

    Attributes:
        method: HTTP method.
        path: URL path.
        query: its query parameters.
        headers: as the operator sent them; Authorization is left out.
        body: what it sent.
        verb: get, list, watch, create, update, patch, delete, deletecollection; for a path that is no resource
            the HTTP method in small letters.
        group: API group, "" for core.
        version: API version, "" if the path is no resource.
        resource: plural, "" if the path is no resource.
        subresource: such as "status", else "".
        namespace: else "".
        name: "" for lists and watches.
        started: monotonic seconds.
        ended: monotonic seconds, None while it runs.
        status: the code that the operator was given; None if it was given none (a reset, or still running).
        upstream_status: the code that the API server gave; None if it was not asked or did not answer.
        faults: the actions that were applied, by name.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    started: float = 0.0
    ended: float | None = None
    status: int | None = None
    upstream_status: int | None = None
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._read_path()
        is_watch = self.query.get("watch", "").lower() in ("1", "true")
        if not self.resource:
            self.verb = self.method.lower()
        elif self.method == "GET":
            self.verb = "watch" if is_watch else "get" if self.name else "list"
        elif self.method == "DELETE":
            self.verb = "delete" if self.name else "deletecollection"
        else:
            self.verb = _VERBS.get(self.method, self.method.lower())

    def _read_path(self) -> None:
        parts = [part for part in self.path.split("/") if part]
        if len(parts) >= 3 and parts[0] == "api":
            self.version, parts = parts[1], parts[2:]
        elif len(parts) >= 4 and parts[0] == "apis":
            self.group, self.version, parts = parts[1], parts[2], parts[3:]
        else:
            return
        # /namespaces/x is the Namespace itself, and so are its own subresources.
        if parts[0] == "namespaces" and len(parts) >= 3 and parts[2] not in ("status", "finalize"):
            self.namespace, parts = parts[1], parts[2:]
        self.resource, self.name, self.subresource = (*parts, "", "")[:3]

    @property
    def user_agent(self) -> str:
        """What the program calls itself."""
        return self.headers.get("User-Agent", "")

    @property
    def is_resume(self) -> bool:
        """Whether this is a watch that goes on from a known resourceVersion."""
        return self.verb == "watch" and self.query.get("resourceVersion", "") not in ("", "0")

    @property
    def object_name(self) -> str:
        """The object's name; of a creation, whose path names none, the one in its body ("" if the server chooses)."""
        if self.name or self.verb != "create":
            return self.name
        try:
            return str(json.loads(self.body)["metadata"].get("name", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return ""

    @property
    def object_key(self) -> str:
        """Resource, namespace and name in one text."""
        return f"{self.resource}.{self.group}/{self.namespace}/{self.name}"

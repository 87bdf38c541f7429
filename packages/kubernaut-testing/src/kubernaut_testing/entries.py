"""One audit event as a typed entry, and what can be said of it alone."""

from __future__ import annotations

import datetime as dt
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Entry", "ObjectLike", "Transition", "Version", "agent_matches", "object_matcher", "table"]

ObjectLike = str | Mapping[str, Any]
"""An object: its manifest (apiVersion, kind, metadata), or "plural/namespace/name", or "plural/name" """


@dataclass(frozen=True)
class Version:
    """One stored version of an object: ``body`` is the whole object as the server answered."""

    resource_version: int
    uid: str
    body: Mapping[str, Any]
    entry: Entry

    @property
    def status(self) -> Mapping[str, Any]:
        """The status, {} if there is none."""
        return self.body.get("status") or {}

    def status_field(self, name: str) -> str:
        """A field of the status as text, "" if it is not there."""
        return str(self.status.get(name) or "")


@dataclass(frozen=True)
class Entry:
    """One request to the API server.

    Attributes:
        time: when it was answered (for a watch: when it began), aware UTC.
        received: when it came in.
        verb: get, list, watch, create, update, patch, delete, deletecollection; for other paths the HTTP method.
        user: the authenticated user name; "" if the server did not know it.
        user_agent: what the program called itself.
        group: API group, "" for the core group and for paths that are no resource.
        resource: plural; "" for paths that are no resource.
        subresource: such as "status", else "".
        namespace: of the object, else "".
        name: of the object; "" for lists and watches.
        code: HTTP status code.
        uri: path and query.
        request: the body that was sent, where recorded.
        response: the body that was answered, where recorded.
    """

    time: dt.datetime
    received: dt.datetime
    verb: str
    user: str
    user_agent: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    uri: str
    request: Mapping[str, Any] | None = field(default=None, repr=False)
    response: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def from_audit(cls, event: Mapping[str, Any]) -> Entry:
        """Read one event of audit.k8s.io/v1."""
        ref = event.get("objectRef") or {}
        response = event.get("responseObject")
        request = event.get("requestObject")
        name = ref.get("name", "")
        if not name and event["verb"] == "create" and response:
            name = (response.get("metadata") or {}).get("name", "")  # generateName: the server chose it
        return cls(
            time=dt.datetime.fromisoformat(event["stageTimestamp"]),
            received=dt.datetime.fromisoformat(event["requestReceivedTimestamp"]),
            verb=event["verb"],
            user=(event.get("user") or {}).get("username", ""),
            user_agent=event.get("userAgent", ""),
            group=ref.get("apiGroup", ""),
            resource=ref.get("resource", ""),
            subresource=ref.get("subresource", ""),
            # The server names a Namespace as its own namespace, for some verbs only.
            namespace="" if ref.get("resource") == "namespaces" else ref.get("namespace", ""),
            name=name,
            code=(event.get("responseStatus") or {}).get("code", 0),
            uri=event.get("requestURI", ""),
            request=request if isinstance(request, dict) else None,
            response=response if isinstance(response, dict) else None,
        )

    @property
    def action(self) -> str:
        """The verb with the subresource: "patch/status", "get"."""
        return f"{self.verb}/{self.subresource}" if self.subresource else self.verb

    @property
    def ok(self) -> bool:
        """Whether the server accepted it."""
        return 200 <= self.code < 300

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change."""
        return self.verb in ("create", "update", "patch", "delete", "deletecollection")

    @property
    def version(self) -> Version | None:
        """The object as stored after this accepted write; None where it is not recorded."""
        if not (self.ok and self.is_write and self.response and self.response.get("kind") != "Status"):
            return None
        meta = self.response.get("metadata") or {}
        number = meta.get("resourceVersion", "")
        return Version(int(number), meta.get("uid", ""), self.response, self) if number.isdigit() else None

    @property
    def resource_version(self) -> int | None:
        """resourceVersion after this write, where recorded."""
        return None if self.version is None else self.version.resource_version


@dataclass(frozen=True)
class Transition:
    """The requests between two phases of one object, the write that changed the phase being the last."""

    from_phase: str
    to_phase: str
    entries: tuple[Entry, ...]


def agent_matches(pattern: str, agent: str) -> bool:
    """Whether a user agent is ``pattern``: exactly, without its version, or by ``*`` and ``?``."""
    return agent == pattern or agent.startswith(f"{pattern}/") or fnmatch.fnmatchcase(agent, pattern)


def object_matcher(obj: ObjectLike, *, name_only: bool = False) -> Callable[[Entry], bool]:
    """A test whether an entry names ``obj``; with ``name_only`` whether its name begins with ``<name>.``.

    Raises ValueError for a text of another shape than "plural/namespace/name" or "plural/name".
    """
    group: str | None = None
    if isinstance(obj, str):
        parts = obj.split("/")
        if len(parts) not in (2, 3):
            raise ValueError(f"cannot tell which object {obj!r} is: write plural/namespace/name or plural/name")
        plurals, name = {parts[0]}, parts[-1]
        namespace = parts[1] if len(parts) == 3 else ""
    else:
        meta = obj["metadata"]
        name, namespace = meta["name"], meta.get("namespace", "")
        kind = obj["kind"].lower()
        # The plural is in the CRD, not in the object: accept each regular form.
        plurals = {f"{kind}s", f"{kind}es", kind, f"{kind[:-1]}ies"}
        group = obj["apiVersion"].rpartition("/")[0]
    if name_only:
        return lambda entry: entry.namespace in (namespace, "default") and entry.name.startswith(f"{name}.")
    return lambda entry: (
        entry.name == name
        and entry.namespace == namespace
        and entry.resource in plurals
        and (group is None or entry.group == group)
    )


def table(entries: Iterable[Entry]) -> str:
    """The entries as aligned text, one a line, for the message of a failing assertion."""
    rows = [("time", "agent", "request", "object", "code", "rv", "body")]
    for entry in entries:
        where = "/".join(part for part in (entry.resource, entry.namespace, entry.name) if part) or entry.uri
        body = "" if entry.request is None else str(entry.request.get("status", entry.request))
        rows.append(
            (
                entry.time.strftime("%H:%M:%S.%f")[:-3],
                entry.user_agent[:40],
                entry.action,
                where,
                str(entry.code),
                str(entry.resource_version or ""),
                body if len(body) <= 100 else f"{body[:97]}...",
            )
        )
    if len(rows) == 1:
        return "  (no requests)"
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + f"  {row[-1]}" for row in rows
    ]
    return "\n".join(f"  {line.rstrip()}" for line in lines)

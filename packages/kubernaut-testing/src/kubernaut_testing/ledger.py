"""The request ledger: what was really asked of the API server, by whom, and what came of it.

Reads the API server's own audit log, so a claim such as "three PATCHes and no GET" is proven by the server and
not by the code that makes the claim. The file is read on from where the last query stopped.

* One entry per request. A watch is entered when it starts, everything else when it is answered.
* ``settle()`` sends a marker request and waits for it in the log, and then for the answers to all that had come in
  before: whatever was answered is then in it, and so is each write whose effect anybody could see. (An object can be
  read as it was written before the log has the answer to its write.)
* ``fresh()`` is a ledger of the same log that begins now; the ``ledger`` fixture hands one to each test.
* Bodies and resourceVersions are there for writes to the groups that the control plane records
  (``ControlPlane(record_bodies=...)``); for all other requests they are None.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from kubernaut_testing.entries import Entry, ObjectLike, Transition, Version, agent_matches, object_matcher, table

__all__ = ["Entry", "RequestLedger", "Transition", "Version"]


class RequestLedger:
    """Typed questions to one audit log.

    Args:
        path: the audit log; it need not exist yet.
        send_marker: sends one request whose URI contains ``marker=<the given name>``; only ``settle`` needs it.
    """

    def __init__(self, path: Path, send_marker: Callable[[str], None] | None = None) -> None:
        self._log = _Log(path)
        self._send_marker = send_marker
        self._start = 0

    def fresh(self) -> RequestLedger:
        """A ledger of the same log that sees only what is logged from now on."""
        view = RequestLedger.__new__(RequestLedger)
        view._log, view._send_marker = self._log, self._send_marker
        view._start = self.mark()
        return view

    def mark(self) -> int:
        """Settle, and return the present end, to be given as ``since`` later."""
        if self._send_marker is not None:
            self.settle()
        return self._log.read()

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until everything that has reached the API server so far is answered and in the ledger.

        Raises TimeoutError if the marker or an answer does not show up, OSError if the API server cannot be reached.
        """
        if self._send_marker is None:
            raise RuntimeError("cannot settle: this ledger was made without a way to send a marker request")
        name = uuid.uuid4().hex
        self._send_marker(name)
        deadline = time.monotonic() + timeout
        earlier: set[str] | None = None
        while True:
            self._log.read()
            if earlier is None and name in self._log.markers:
                earlier = self._log.under_way()
            elif earlier is not None:
                earlier &= self._log.under_way()
            if earlier is not None and not earlier:
                return
            if time.monotonic() > deadline:
                what = f"marker {name}" if earlier is None else f"the answer to {' and '.join(sorted(earlier))}"
                raise TimeoutError(f"cannot settle: {what} is not in {self._log.path} after {timeout:g} s")
            time.sleep(0.01)

    def server_ended(self) -> None:
        """Wait no more for answers that it still owes: called when the API server was killed."""
        self._log.forget_under_way()

    def entries(
        self,
        obj: ObjectLike | None = None,
        *,
        user_agent: str | None = None,
        user: str | None = None,
        verb: str | Iterable[str] | None = None,
        group: str | None = None,
        resource: str | None = None,
        subresource: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        code: int | None = None,
        since: int = 0,
        where: Callable[[Entry], bool] | None = None,
    ) -> list[Entry]:
        """The requests that match everything given, in the order of the log.

        Args:
            obj: the object: a manifest, or "plural/namespace/name", or "plural/name".
            user_agent: the program: exactly, or without its version ("my-operator"), or a pattern with ``*``.
            user: the authenticated user, such as "system:serviceaccount:ns:name".
            verb: one or several of get, list, watch, create, update, patch, delete, deletecollection.
            group: API group, "" for the core group.
            resource: plural, such as "notificationrequests".
            subresource: such as "status"; "" only the object itself.
            namespace: of the object.
            name: of the object.
            code: HTTP status code.
            since: a value of ``mark()``.
            where: any further condition.
        """
        self._log.read()
        verbs = {verb} if isinstance(verb, str) else None if verb is None else set(verb)
        is_object = object_matcher(obj) if obj is not None else None
        wanted = {
            "user": user,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
            "code": code,
        }
        checks = [(field, value) for field, value in wanted.items() if value is not None]
        return [
            entry
            for entry in self._log.entries[max(self._start, since) :]
            if (verbs is None or entry.verb in verbs)
            and all(getattr(entry, field) == value for field, value in checks)
            and (user_agent is None or agent_matches(user_agent, entry.user_agent))
            and (is_object is None or is_object(entry))
            and (where is None or where(entry))
        ]

    def requests(self, obj: ObjectLike, *, user_agent: str | None = None, since: int = 0) -> list[Entry]:
        """Every request that names this object, its subresources included; lists and watches name none."""
        return self.entries(obj, user_agent=user_agent, since=since)

    def events_about(self, obj: ObjectLike, *, since: int = 0) -> list[Entry]:
        """The Event writes about an object, by the convention that their names begin with ``<object name>.``."""
        is_object = object_matcher(obj, name_only=True)
        return self.entries(resource="events", verb=("create", "patch", "update"), since=since, where=is_object)

    def by_user_agent(self, *, since: int = 0) -> dict[str, list[Entry]]:
        """All requests, grouped by the program that sent them."""
        grouped: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries(since=since):
            grouped[entry.user_agent].append(entry)
        return dict(grouped)

    def count(self, obj: ObjectLike | None = None, *, user_agent: str | None = None, since: int = 0) -> Counter[str]:
        """Requests per kind of request: "patch/status", "get", "create/token" ..."""
        return Counter(entry.action for entry in self.entries(obj, user_agent=user_agent, since=since))

    def history(self, obj: ObjectLike, *, since: int = 0) -> list[Version]:
        """The stored versions of an object in resourceVersion order, from the recorded answers to its writes.

        A write that changed nothing answers with the version that was there and adds none.
        """
        versions: dict[int, Version] = {}
        for entry in self.entries(obj, since=since):
            version = entry.version
            if version is not None and entry.verb != "delete":
                versions.setdefault(version.resource_version, version)
        return [versions[key] for key in sorted(versions)]

    def phases(self, obj: ObjectLike, field: str = "phase", *, since: int = 0) -> list[str]:
        """The values that ``status.<field>`` went through, in resourceVersion order, repetitions left out.

        "" stands for an object without the field. Of an object that was deleted and made again under the same
        name, each life begins with "".
        """
        seen: list[str] = []
        uid = None
        for version in self.history(obj, since=since):
            phase = version.status_field(field)
            if not seen or seen[-1] != phase or version.uid != uid:
                seen.append(phase)
            uid = version.uid
        return seen

    def per_transition(self, obj: ObjectLike, field: str = "phase", *, since: int = 0) -> list[Transition]:
        """The object's requests, cut where its phase changed: what each transition has cost.

        Requests after the last change come as a transition from the last phase to itself.
        """
        cut: list[Transition] = []
        pending: list[Entry] = []
        phase = ""
        for entry in self.entries(obj, since=since):
            pending.append(entry)
            version = entry.version
            if version is not None and (now := version.status_field(field)) != phase:
                cut.append(Transition(phase, now, tuple(pending)))
                phase, pending = now, []
        if pending:
            cut.append(Transition(phase, phase, tuple(pending)))
        return cut

    def assert_requests(
        self,
        obj: ObjectLike | None,
        expected: Mapping[str, int],
        *,
        user_agent: str | None = None,
        since: int = 0,
        only: bool = False,
    ) -> None:
        """Settle, then fail unless the counts are exactly as expected; the failure shows the requests as a table.

        Args:
            obj: the object, or None for all requests.
            expected: by verb ("patch": all PATCHes, those to subresources included) or by verb and subresource
                ("patch/status"); 0 says that there must be none.
            user_agent: count only this program's requests.
            since: a value of ``mark()``.
            only: also fail for any request that no key of ``expected`` covers.
        """
        if self._send_marker is not None:
            self.settle()
        found = self.entries(obj, user_agent=user_agent, since=since)
        wrong = []
        for key, number in expected.items():
            have = sum(1 for entry in found if key in (entry.verb, entry.action))
            if have != number:
                wrong.append(f"{key}: expected {number}, found {have}")
        if only:
            others = Counter(e.action for e in found if e.verb not in expected and e.action not in expected)
            wrong += [f"{action}: expected none, found {number}" for action, number in others.items()]
        if wrong:
            raise AssertionError(f"requests differ: {'; '.join(wrong)}\n{table(found)}")


class _Log:
    """The file, read incrementally; shared by all ledgers that look at it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.markers: set[str] = set()
        self._offset = 0
        self._started: dict[str, int] = {}
        self._under_way: set[str] = set()
        self._lock = threading.Lock()

    def read(self) -> int:
        """Read what has been added, return the number of entries."""
        with self._lock:
            try:
                with self.path.open("rb") as log:
                    log.seek(self._offset)
                    data = log.read()
            except FileNotFoundError:
                return len(self.entries)
            # A line that is still being written stays for the next time.
            end = data.rfind(b"\n") + 1
            self._offset += end
            for line in data[:end].splitlines():
                self._add(orjson.loads(line))
            return len(self.entries)

    def under_way(self) -> set[str]:
        """The audit ids of the requests that came in and are not answered."""
        with self._lock:
            return set(self._under_way)

    def forget_under_way(self) -> None:
        """Of the requests that came in so far, none will be answered any more."""
        self.read()
        with self._lock:
            self._under_way.clear()

    def _add(self, event: dict[str, Any]) -> None:
        uri: str = event.get("requestURI", "")
        is_marker = "marker=" in uri and uri.startswith("/version?")
        audit_id = event["auditID"]
        if event["stage"] == "RequestReceived":
            if not is_marker and not _lasts(event):
                self._under_way.add(audit_id)
            return
        self._under_way.discard(audit_id)
        if is_marker:
            self.markers.add(uri.partition("marker=")[2])
            return
        entry = Entry.from_audit(event)
        if event["stage"] == "ResponseStarted":
            self._started[audit_id] = len(self.entries)
            self.entries.append(entry)
        elif (index := self._started.pop(audit_id, None)) is None:
            self.entries.append(entry)
        elif entry.verb != "watch":
            # A long-running request other than a watch is complete only now; it keeps its place.
            self.entries[index] = entry


def _lasts(event: Mapping[str, Any]) -> bool:
    """Whether a request may go on as long as its sender likes."""
    streams = ("attach", "exec", "log", "portforward", "proxy")
    return event["verb"] == "watch" or (event.get("objectRef") or {}).get("subresource") in streams

"""A rule: actions, and the requests that they are for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from kubernaut_testing.entries import agent_matches
from kubernaut_testing.proxy.actions import Action
from kubernaut_testing.proxy.requests import ProxiedRequest
from kubernaut_testing.waiting import PATIENCE

__all__ = ["Rule"]


class Rule:
    """Applies ``actions`` to the requests that match everything given.

    Args:
        actions: one or several, the first on the outside.
        verb: one or several of get, list, watch, create, update, patch, delete, deletecollection.
        resource: plural, such as "notificationrequests"; with or without its group ("leases.coordination.k8s.io").
        subresource: such as "status"; "" means only the object itself; None both.
        namespace: of the object.
        name: of the object.
        user_agent: as in the ledger: exactly, without version, or a pattern with ``*``.
        resume: True only watches that go on from a resourceVersion, False only others.
        when: any further condition.
        nth: only the n-th matching request (from 1).
        first: only the first so many.
        every: only each n-th.
        per_object: count nth, first and every for each object by itself.
        seconds: in force only so long after it was added.

    A rule belongs to the proxy it was added to and counts there; use a new one for another proxy.
    """

    def __init__(
        self,
        *actions: Action,
        verb: str | Iterable[str] | None = None,
        resource: str | None = None,
        subresource: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        user_agent: str | None = None,
        resume: bool | None = None,
        when: Callable[[ProxiedRequest], bool] | None = None,
        nth: int | None = None,
        first: int | None = None,
        every: int | None = None,
        per_object: bool = False,
        seconds: float | None = None,
    ) -> None:
        if not actions:
            raise ValueError("cannot make a rule without an action")
        self.actions = actions
        self._verbs = {verb} if isinstance(verb, str) else None if verb is None else set(verb)
        self._resource = resource
        self._exact = {"subresource": subresource, "namespace": namespace, "name": name, "is_resume": resume}
        self._user_agent = user_agent
        self._when = when
        self._nth, self._first, self._every, self._per_object = nth, first, every, per_object
        self._seconds = seconds
        self._added: float | None = None
        self._removed = False
        self._matched: Counter[str] = Counter()
        self._hits: list[ProxiedRequest] = []
        self._changed = threading.Condition()

    @property
    def hits(self) -> int:
        """How many requests it was applied to."""
        return len(self._hits)

    @property
    def requests(self) -> list[ProxiedRequest]:
        """The requests it was applied to."""
        return list(self._hits)

    def wait(self, hits: int = 1, timeout: float = PATIENCE) -> None:
        """Block until it was applied so many times; AssertionError after ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._hits) >= hits, timeout):
                raise AssertionError(f"the rule was applied {len(self._hits)} times within {timeout:g} s, not {hits}")

    def remove(self) -> None:
        """Take it out of force; what it holds up (a black-holed watch) ends."""
        self._removed = True

    @property
    def active(self) -> bool:
        """Whether it is in force."""
        if self._removed or self._added is None:
            return False
        return self._seconds is None or time.monotonic() - self._added < self._seconds

    def added(self) -> None:
        """Called by the proxy: the time counts from now."""
        self._added = time.monotonic()

    def applies_to(self, request: ProxiedRequest) -> bool:
        """Whether to apply it to this request; called once for each, since it counts."""
        if not self.active or not self._matches(request):
            return False
        key = request.object_key if self._per_object else ""
        self._matched[key] += 1
        number = self._matched[key]
        if (
            (self._nth is not None and number != self._nth)
            or (self._first is not None and number > self._first)
            or (self._every is not None and number % self._every != 0)
        ):
            return False
        with self._changed:
            self._hits.append(request)
            self._changed.notify_all()
        return True

    def _matches(self, request: ProxiedRequest) -> bool:
        if self._verbs is not None and request.verb not in self._verbs:
            return False
        if self._resource not in (None, request.resource, f"{request.resource}.{request.group}"):
            return False
        if any(value is not None and getattr(request, key) != value for key, value in self._exact.items()):
            return False
        if self._user_agent is not None and not agent_matches(self._user_agent, request.user_agent):
            return False
        return self._when is None or self._when(request)

"""One reconcile pass, at most one status write: conditional, complete, validated (DD-PERF-001).

    manager = StatusManager(client, WIDGETS, phases=PHASES)

    def finished(widget):
        widget["status"]["phase"] = "Ready"
        widget["status"]["readyAt"] = done_at

    commit = await manager.atomic_status_update(widget, finished)

A mutation only changes the object that it is given: it may run again, on a fresh copy, after a
conflict. Effects happen before, outside.

What a commit does, in this order:

1. base = the newest version that the process knows, no GET (`refetch="always"`: GET first);
2. mutation, phase validation, difference; an empty difference is a success without a request;
3. one PATCH under the base's resourceVersion;
4. on 409: GET, then from 2. on the fresh object, at most `retry.steps` PATCHes in all;
5. no answer or 5xx: the same PATCH again (its resourceVersion makes that safe). If that one meets a
   409, the first may have landed: the fresh object is asked, see `landing`.

The echo of a write carries no news, unless a GET on the way showed a change that the process had not seen:
that change arrives with the echo only, and must wake whoever waits for it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar, cast
from weakref import WeakValueDictionary

from .errors import ConflictsExhaustedError, NotFoundError, OutcomeUnknownError, StatusError, api_error, raise_for_code
from .identity import Object, ObjectKey, Resource, precondition_of, status_of, uid_of, version_of
from .landing import Landing
from .metrics import StatusMetrics
from .patch import count_changes, missing, same, without_nulls
from .phases import PhaseMachine
from .resend import send_until_answered
from .retry import DEFAULT_RETRY, ConflictRetry, Sleep, Unavailable
from .transport import StatusClient
from .typed import View
from .wire import get_object, patch_status
from .writes import OwnWrites, Writes

R = TypeVar("R")
T = TypeVar("T")
Mutation = Callable[[T], object]
"""Changes the status of the object that it is given; its result is ignored, it may run again."""

UpdateMode = Literal["atomic", "sequential"]
Refetch = Literal["on_conflict", "always"]

logger = logging.getLogger("kubernaut_status")

_PRUNED = 100
"""Dropped fields that are told apart, per resource."""


class Outcome(StrEnum):
    """What became of an update."""

    WRITTEN = "written"
    """Stored."""
    UNCHANGED = "unchanged"
    """The object already says so; nothing was sent."""
    GONE = "gone"
    """The object does not exist any more, or another one of the same name does; nothing was stored."""
    TERMINAL = "terminal"
    """Somebody else ended the object first; the update was dropped."""


@dataclass(frozen=True, slots=True)
class Commit(Generic[T]):
    """The result of an update.

    `object` is the newest version known, in the caller's form; `raw` the same as JSON; `writes` the number of
    accepted writes (0 or 1 in atomic mode); `changes` what they carried; `tries` the PATCHes they took.
    """

    outcome: Outcome
    object: T
    raw: Object
    writes: int = 0
    changes: int = 0
    tries: int = 0

    @property
    def ok(self) -> bool:
        """Whether the object now says what the update asked for."""
        return self.outcome in (Outcome.WRITTEN, Outcome.UNCHANGED)


@dataclass(frozen=True, slots=True)
class _Change:
    before: dict[str, Any]
    after: dict[str, Any]
    patch: dict[str, Any]


class StatusManager:
    """Writes the status of one resource.

    `phases` validates each write; `identities` names, per list in status, the fields that identify an entry
    (`{"deliveryAttempts": ("channel", "attempt")}`), which proves after a lost answer whether a write landed;
    `writes` is the process's view of its objects, by default the manager's memory of its own writes;
    `field_manager` appears in managedFields, and must be set for status equality to prove a landing;
    `mode="sequential"` sends one write per mutation, as before the standard.

    Writes of one object queue behind a lock. One manager belongs to one event loop.
    """

    def __init__(
        self,
        client: StatusClient,
        resource: Resource,
        *,
        phases: PhaseMachine | None = None,
        identities: Mapping[str, Sequence[str]] | None = None,
        writes: Writes | None = None,
        field_manager: str = "",
        mode: UpdateMode = "atomic",
        refetch: Refetch = "on_conflict",
        retry: ConflictRetry = DEFAULT_RETRY,
        unavailable: Unavailable | None = None,
        metrics: StatusMetrics | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.resource = resource
        self.mode = mode
        self._client = client
        self._phases = phases
        self._landing = Landing(dict(identities or {}), field_manager)
        self._writes: Writes = OwnWrites() if writes is None else writes
        self._field_manager = field_manager
        self._refetch = refetch
        self._retry = retry
        self._unavailable = unavailable or Unavailable()
        self._metrics = metrics
        self._sleep = sleep
        self._locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()
        self._pruned: set[str] = set()
        self._proven = False  # that the server has such a status
        if metrics is not None:
            metrics.begin(resource.plural, [outcome.value for outcome in Outcome])

    def is_echo(self, obj: Object) -> bool:
        """Whether a watched `obj` only repeats this manager's own last write (with the default `writes`)."""
        return isinstance(self._writes, OwnWrites) and self._writes.is_echo(obj)

    def forget(self, obj: Object) -> None:
        """Drop what is remembered of `obj`, which was deleted (with the default `writes`)."""
        if isinstance(self._writes, OwnWrites):
            self._writes.forget(ObjectKey.of(obj))

    async def atomic_status_update(
        self, obj: T, *mutations: Mutation[T], landed: Callable[[T], bool] | None = None
    ) -> Commit[T]:
        """Apply all `mutations` to the newest version of `obj` and commit them in one conditional write.

        `obj` is a dict or a pydantic model, and says which object is meant (its key and its uid). `landed`
        tells from a fresh object whether a write whose answer was lost is in it; it is needed only where
        neither an appended entry nor the mutations themselves can tell (bare counters).

        Raises `InvalidTransitionError`, `OutsideStatusError` and ValueError (an object without name, uid or
        resourceVersion, a namespaced one without namespace) before anything is sent, TypeError for async functions,
        `ConflictsExhaustedError`, `OutcomeUnknownError`, and `ApiError` or `TransportError` when the server
        refuses, or stays unavailable for longer than `unavailable.give_up_after`.
        """
        view = View(obj)
        start = cast("Object", view.plain(obj))
        key = ObjectKey.of(start)
        if not uid_of(start):
            raise ValueError(f"cannot tell which {key} is meant: metadata.uid is missing; pass the whole object")
        lock = self._locks.setdefault(key, asyncio.Lock())
        began = time.monotonic()
        result = "error"
        try:
            async with lock:
                commit = await self._run(_Update(view, key, start), mutations, landed)
            result = commit.outcome.value
            return commit
        except StatusError as error:
            result = type(error).__name__
            raise
        finally:
            if self._metrics is not None:
                self._metrics.updated(self.resource.plural, result, time.monotonic() - began)

    async def _run(
        self, update: _Update[T], mutations: Sequence[Mutation[T]], landed: Callable[[T], bool] | None
    ) -> Commit[T]:
        steps = [tuple(mutations)] if self.mode == "atomic" else [(mutation,) for mutation in mutations]
        done = Commit(Outcome.UNCHANGED, update.view.of(update.start), update.start)
        for position, step in enumerate(steps):
            update.start = done.raw
            commit = await self._commit(update, step, landed=landed if position == len(steps) - 1 else None)
            done = replace(
                commit,
                outcome=Outcome.WRITTEN if commit.ok and done.writes else commit.outcome,
                writes=done.writes + commit.writes,
                changes=done.changes + commit.changes,
                tries=done.tries + commit.tries,
            )
            if not commit.ok:
                break
        return done

    async def _commit(
        self, update: _Update[T], mutations: Sequence[Mutation[T]], landed: Callable[[T], bool] | None
    ) -> Commit[T]:
        base: Object | None = self._newest(update)
        if self._refetch == "always":
            base = await self._fetch(update.key)
            self._learn(update, base)
        tries = 0
        while True:
            if base is None or uid_of(base) != uid_of(update.start):
                return Commit(Outcome.GONE, update.view.of(update.start), update.start, tries=tries)
            refetched = version_of(base) != version_of(update.start)
            change = self._change(update, base, mutations)
            if change.patch and refetched and self._ended(change):
                return Commit(Outcome.TERMINAL, update.view.of(base), base, tries=tries)
            if not change.patch:
                return Commit(Outcome.UNCHANGED, update.view.of(base), base, tries=tries)
            if self._phases is not None:
                self._phases.check(change.before, change.after)
            tries += 1
            try:
                stored, unknown = await self._send(update, base, change)
            except NotFoundError as error:
                self._tell_not_found(update.key, error)
                return Commit(Outcome.GONE, update.view.of(base), base, tries=tries)
            if stored is not None:
                return self._committed(update, change, stored, tries)
            if tries < self._retry.steps:
                await self._sleep(self._retry.wait(tries))
            elif not unknown:
                raise self._exhausted(update, tries)
            fresh = await self._witness(update.key) if unknown else await self._fetch(update.key)
            if fresh is not None and uid_of(fresh) == uid_of(update.start) and unknown:
                again = self._change(update, _with_status(base, change.after), mutations)
                if self._landing.landed(
                    base,
                    change.after,
                    fresh,
                    equal=same(update.status(fresh), change.after),
                    repeatable=not again.patch,
                    proof=None if landed is None else bool(_plain(landed(update.view.of(fresh)), "`landed`")),
                ):
                    alone = same(update.outside_status(fresh), update.outside_status(base))
                    self._writes.write_started(update.key)
                    self._writes.write_finished(update.key, self._sent(update, change, fresh) if alone else None, fresh)
                    return self._committed(update, change, fresh, tries)
            self._learn(update, fresh)
            if tries >= self._retry.steps:
                raise self._exhausted(update, tries)
            base = fresh

    def _tell_not_found(self, key: ObjectKey, error: NotFoundError) -> None:
        """A 404 mostly means that the object is gone; from the first write on it may be the server's "no such path"."""
        if not self._proven:
            self._proven = True
            logger.warning(
                "cannot find the status of %s %s to write it (%s): if the object exists, compare group, version and "
                "plural with its CRD, and see that the CRD has `subresources: {status: {}}`",
                self.resource.plural,
                key,
                error.message.strip(),
            )

    def _exhausted(self, update: _Update[T], tries: int) -> ConflictsExhaustedError:
        return ConflictsExhaustedError(f"the status of {self.resource.plural} {update.key}", tries)

    def _newest(self, update: _Update[T]) -> Object:
        known = self._writes.newest(update.key)
        if (
            known is not None
            and uid_of(known) == uid_of(update.start)
            and version_of(known) >= version_of(update.start)
        ):
            return known
        return update.start

    def _learn(self, update: _Update[T], fresh: Object | None) -> None:
        """Tell the process what a GET brought, so that the next pass does not meet the same conflict."""
        if fresh is None or uid_of(fresh) != uid_of(update.start):
            return
        known = self._writes.newest(update.key)
        if version_of(fresh) > max(version_of(update.start), version_of(known) if known else 0):
            update.news = True
            self._writes.write_started(update.key)
            self._writes.write_finished(update.key, None, fresh)

    def _sent(self, update: _Update[T], change: _Change, stored: Object) -> dict[str, Any] | None:
        """The status as it should be stored; None if what was stored is news for the process."""
        if update.news:
            return None
        status = status_of(stored)
        # Mostly it is stored as sent; else the server may have added what the caller's form does not know.
        echo = same(status, change.after) or same(update.status(stored), change.after)
        return status if echo else None

    def _change(self, update: _Update[T], base: Object, mutations: Sequence[Mutation[T]]) -> _Change:
        changed = update.view.of(base)
        for mutation in mutations:
            _plain(mutation(changed), "a mutation")
        before, after = update.view.statuses(base, changed)
        return _Change(before, after, update.view.patch(before, after, base))

    def _ended(self, change: _Change) -> bool:
        machine = self._phases
        if machine is None or not machine.is_terminal(machine.phase_of(change.before)):
            return False
        return not machine.allows(change.before, change.after)

    async def _send(self, update: _Update[T], base: Object, change: _Change) -> tuple[Object | None, bool]:
        """The stored object, None on conflict; and whether an earlier sending may have landed."""
        request = patch_status(
            self.resource,
            update.key,
            change.patch,
            resource_version=precondition_of(base),
            field_manager=self._field_manager,
        )
        self._writes.write_started(update.key)
        stored: Object | None = None
        sent: dict[str, Any] | None = None
        try:
            answer = await send_until_answered(
                self._client, request, self._unavailable, sleep=self._sleep, metrics=self._metrics
            )
            if answer.response.code == 409:
                if self._metrics is not None:
                    self._metrics.conflicted(self.resource.plural)
            else:
                stored = raise_for_code(answer.response, request).body
                sent = self._sent(update, change, stored)
            return stored, answer.may_have_landed
        finally:
            self._writes.write_finished(update.key, sent, stored)

    async def _fetch(self, key: ObjectKey) -> Object | None:
        request = get_object(self.resource, key)
        answer = await send_until_answered(
            self._client, request, self._unavailable, sleep=self._sleep, metrics=self._metrics
        )
        if answer.response.code == 404:
            return None
        if answer.response.code >= 400:
            raise api_error(answer.response, request)
        return answer.response.body

    async def _witness(self, key: ObjectKey) -> Object | None:
        """Read the object that is to say whether a write landed."""
        try:
            return await self._fetch(key)
        except StatusError as error:
            raise OutcomeUnknownError(
                f"cannot tell whether the last write of {key} was stored: its answer was lost, and the object cannot "
                f"be read ({error})"
            ) from error

    def _committed(self, update: _Update[T], change: _Change, stored: Object, tries: int) -> Commit[T]:
        self._proven = True
        changes = count_changes(change.before, change.after)
        self._tell(update.key, change, stored, changes, tries)
        return Commit(Outcome.WRITTEN, update.view.of(stored), stored, writes=1, changes=changes, tries=tries)

    def _tell(self, key: ObjectKey, change: _Change, stored: Object, changes: int, tries: int) -> None:
        field = self._phases.field if self._phases else "phase"
        logger.info(
            "status committed",
            extra={
                "resource": self.resource.plural,
                "namespace": key.namespace,
                "object": key.name,
                "from_phase": str(change.before.get(field) or ""),
                "to_phase": str(change.after.get(field) or ""),
                "changes": changes,
                "tries": tries,
                "resource_version": str(version_of(stored)),
            },
        )
        if self._metrics is not None:
            self._metrics.wrote(self.resource.plural, changes)
        for path in missing(without_nulls(change.patch), status_of(stored)):
            if path not in self._pruned and len(self._pruned) >= _PRUNED:
                path = "..."  # names of fields may come from users: neither memory nor metrics may grow with them
            if self._metrics is not None:
                self._metrics.pruned(self.resource.plural, path)
            if path not in self._pruned:
                self._pruned.add(path)
                logger.warning(
                    "the API server dropped status.%s of %s: its CRD does not know the field; update the CRD",
                    path,
                    self.resource.plural,
                )


@dataclass(slots=True)
class _Update(Generic[T]):
    """One call: its object, and whether a GET has shown a change of it that the process had not seen (`news`)."""

    view: View[T]
    key: ObjectKey
    start: Object
    news: bool = False

    def status(self, obj: Object) -> dict[str, Any]:
        """The status of `obj` as far as the caller's form knows it."""
        return self.view.plain(self.view.of(obj)).get("status") or {}

    def outside_status(self, obj: Object) -> dict[str, Any]:
        """What only others write: all but the status and the bookkeeping of versions."""
        plain = self.view.plain(self.view.of(obj))
        metadata = {k: v for k, v in plain["metadata"].items() if k not in ("resourceVersion", "managedFields")}
        return {**plain, "metadata": metadata, "status": None}


def _plain(result: R, what: str) -> R:
    """`result`, unless it comes from an async function, whose body has not run."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(
            f"cannot use an async function as {what}: it may run again, so what it awaits belongs before it"
        )
    return result


def _with_status(base: Object, status: Mapping[str, Any]) -> Object:
    return {**base, "status": dict(status)}

"""The crash-point sweep: SIGKILL before and after every write of an object's life.

For each index k the object gets a name of its own, and a proxy rule bound to that name kills the operator when
the k-th write comes by: "before" the API server has seen it, or "after" it was committed and before the
operator could read the answer. The operator is started again (or a standby takes over), and the object must end as if
nothing had happened. The sweep ends by itself at the first index that no life reaches.

The first object, ``reference``, lives undisturbed: its history is the one that the others are compared with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kubernaut_testing.process import OperatorProcess
from kubernaut_testing.proxy import After, Before, FaultProxy, ProxiedRequest
from kubernaut_testing.waiting import eventually
from kubernaut_testing.writes import Writes

__all__ = ["REFERENCE", "CrashOutcome", "CrashPoint", "CrashSweep", "Side"]

REFERENCE = "reference"
"""Name of the object that no crash meets."""

Side = Literal["before", "after"]


@dataclass(frozen=True)
class CrashPoint:
    """At the ``index``-th write of an object (from 1), ``side`` of its commit."""

    index: int
    side: Side

    @property
    def name(self) -> str:
        """The name of the object that is crashed here."""
        return f"crash-{self.side}-{self.index}"


@dataclass(frozen=True)
class CrashOutcome:
    """What came of one point; ``seconds`` from the crash until the object had converged."""

    point: CrashPoint
    seconds: float
    problem: str = ""


class CrashSweep:
    """Kills one operator at every write.

    Args:
        proxy: stands between the operator and the API server.
        operator: the running operator; it is running again at the end.
        resource: plural of the kind whose status writes are counted.
        verbs: what counts as a write.
        subresource: "status"; None counts all writes to the object.
        writes: what counts as a write, in the place of the three before; knows children, for instance.
        leader: of several replicas behind the proxy, the one that works now (called in the proxy's thread, at the
            write). It is killed, another one takes over, and it is started again when the object has ended. Without it
            ``operator`` is killed and started again at once.
        sides: which sides of the commit.
        most: a life with more writes than this is taken for a loop and fails.
        timeout: seconds for the crash to come, and again for convergence after it.
    """

    def __init__(
        self,
        proxy: FaultProxy,
        operator: OperatorProcess,
        *,
        resource: str = "",
        verbs: Iterable[str] = ("patch", "update"),
        subresource: str | None = "status",
        writes: Writes | None = None,
        leader: Callable[[], OperatorProcess] | None = None,
        sides: Sequence[Side] = ("before", "after"),
        most: int = 40,
        timeout: float = 60.0,
    ) -> None:
        if not resource and writes is None:
            raise ValueError("cannot sweep: name the resource, or pass what counts as a write")
        self._proxy, self._operator = proxy, operator
        self._writes = writes or Writes(resource, verbs=verbs, subresource=subresource)
        self._leader = leader
        self._sides, self._most, self._timeout = tuple(sides), most, timeout

    def run(
        self,
        create: Callable[[str], object],
        converged: Callable[[str], object],
        check: Callable[[str], object] = lambda name: None,
    ) -> list[CrashOutcome]:
        """Sweep all points; all are tried, and then the first problems are raised together.

        Args:
            create: makes the object of this name; ``REFERENCE`` comes first.
            converged: whether it has reached its end.
            check: raises AssertionError if anything about it is not as it must be.

        Returns one outcome for each point at which the operator was killed.
        """
        resource = self._writes.resource
        create(REFERENCE)
        eventually(lambda: converged(REFERENCE), timeout=self._timeout, message="end of the undisturbed object")
        if not self._writes.count(self._proxy, REFERENCE):
            raise AssertionError(f"no write to {resource} came through the proxy: does the operator use it?")
        check(REFERENCE)
        outcomes: list[CrashOutcome] = []
        for index in range(1, self._most + 1):
            reached = [self._crash_at(CrashPoint(index, side), create, converged, check) for side in self._sides]
            outcomes += [outcome for outcome in reached if outcome is not None]
            if not any(reached):
                break
        else:
            raise AssertionError(f"an object of {resource} still writes after {self._most} writes: a loop?")
        problems = [f"{one.point.side} write {one.point.index}: {one.problem}" for one in outcomes if one.problem]
        if problems:
            raise AssertionError("crash sweep: " + "\n".join(problems))
        return outcomes

    def _crash_at(
        self,
        point: CrashPoint,
        create: Callable[[str], object],
        converged: Callable[[str], object],
        check: Callable[[str], object],
    ) -> CrashOutcome | None:
        killed: list[OperatorProcess] = []

        def kill(_: ProxiedRequest) -> None:
            killed.append(self._operator if self._leader is None else self._leader())
            killed[0].kill()

        action = Before(kill, drop=True) if point.side == "before" else After(kill, drop=True)
        rule = self._proxy.add(self._writes.rule(action, point.name, point.index))
        try:
            create(point.name)
            # The rule counts a hit before the write is committed: whoever sees the end sees the hit as well.
            eventually(
                lambda: rule.hits or converged(point.name),
                timeout=self._timeout,
                message=f"crash or end of {point.name}",
            )
            if not rule.hits:
                check(point.name)
                return None
            eventually(lambda: killed, timeout=self._timeout, message=f"the kill at {point.name}")
        finally:
            rule.remove()
        victim = killed[0]
        victim.wait_exit(self._timeout)
        begun = time.monotonic()
        if self._leader is None:
            victim.start()
        problem = ""
        try:
            eventually(lambda: converged(point.name), timeout=self._timeout, message=f"end of {point.name}")
            check(point.name)
        except AssertionError as error:
            problem = str(error)
        seconds = time.monotonic() - begun
        if self._leader is not None:
            victim.start()
        return CrashOutcome(point, seconds, problem)

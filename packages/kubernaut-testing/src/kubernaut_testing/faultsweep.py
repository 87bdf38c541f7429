"""The sweep of faults that one object meets: each fault at each of its status writes, all in one run of the operator.

A connection that breaks, an object that was ended, deleted or replaced by somebody else: such faults are bound to the
name of an object, so they need no process of their own. An undisturbed object goes first; its writes are the indexes
to sweep, and its history is the one that the others are compared with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kubernaut_testing.crash import REFERENCE
from kubernaut_testing.proxy import Action, FaultProxy, Rule
from kubernaut_testing.waiting import eventually
from kubernaut_testing.writes import Writes

__all__ = ["REFERENCE", "Fault", "FaultPoint", "FaultSweep"]


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: a DNS label; objects that meet it are called ``<name>-<index>``.
        action: makes the action for one point; actions may keep state, so each point gets its own.
        ended: whether the object of this name has come to its end; None: as the sweep says.
        first: the first write that may meet it; an object can be ended from its second phase on, say.
    """

    name: str
    action: Callable[[], Action]
    ended: Callable[[str], object] | None = None
    first: int = 1


@dataclass(frozen=True)
class FaultPoint:
    """``fault`` at the ``index``-th write (from 1) of the object ``name``."""

    fault: str
    index: int
    name: str
    rule: Rule = field(repr=False, compare=False)


class FaultSweep:
    """Lets an object for each fault and each write meet that fault there.

    Args:
        proxy: stands between the operator and the API server.
        writes: what counts as a write of an object.
        timeout: seconds for the undisturbed life, and again for all others together.
    """

    def __init__(self, proxy: FaultProxy, writes: Writes, *, timeout: float = 60.0) -> None:
        self._proxy, self._writes, self._timeout = proxy, writes, timeout

    def run(
        self,
        faults: Iterable[Fault],
        create: Callable[[str], object],
        converged: Callable[[str], object],
        check: Callable[[FaultPoint], object] = lambda point: None,
    ) -> list[FaultPoint]:
        """Sweep; all points are checked, and then all problems are raised together.

        Args:
            faults: what to inject.
            create: makes the object of this name; ``reference`` is the undisturbed one.
            converged: whether the object of this name has reached its end.
            check: raises AssertionError if anything about a point's object is not as it must be.

        Returns the points, in the order of ``faults`` and then of the writes.
        """
        create(REFERENCE)
        eventually(lambda: converged(REFERENCE), timeout=self._timeout, message="end of the undisturbed object")
        most = self._writes.count(self._proxy, REFERENCE)
        if not most:
            raise AssertionError(
                f"no write to {self._writes.resource} came through the proxy: does the operator use it?"
            )
        ended: dict[str, Callable[[str], object]] = {}
        points = []
        for fault in faults:
            for index in range(fault.first, most + 1):
                name = f"{fault.name}-{index}"
                rule = self._proxy.add(self._writes.rule(fault.action(), name, index))
                points.append(FaultPoint(fault.name, index, name, rule))
                ended[name] = fault.ended or converged
        for point in points:
            create(point.name)
        deadline = time.monotonic() + self._timeout
        found = [self._problem(point, ended[point.name], check, deadline) for point in points]
        problems = [problem for problem in found if problem]
        if problems:
            raise AssertionError("fault sweep: " + "\n".join(problems))
        return points

    def _problem(
        self,
        point: FaultPoint,
        ended: Callable[[str], object],
        check: Callable[[FaultPoint], object],
        deadline: float,
    ) -> str:
        def left() -> float:
            return max(0.0, deadline - time.monotonic())

        try:
            point.rule.wait(timeout=left())
            eventually(lambda: ended(point.name), timeout=left(), message=f"end of {point.name}")
            check(point)
        except AssertionError as error:
            return f"{point.fault} at write {point.index}: {error}"
        finally:
            point.rule.remove()
        return ""

"""How a pass ends: one write, what is told of it, and when the next pass is due.

Every method returns what the pass returns. What is told of a write is told once, when it is stored, though the pass
was cut off meanwhile (`News`). A deadline (`timesOutAt`) is a due time too, whatever the object waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kubernaut_api import SignalProcessing
from kubernaut_runtime import AGAIN, DONE, Clock, Memories, Result
from kubernaut_status import ConditionTemplate, InvalidError

from . import conditions
from .failure import RETRY, bounded
from .memory import Memory
from .metrics import FailureReason
from .phases import FAILED, TERMINAL
from .reporting import PROCESSING_FAILED, Reporter
from .status import StatusWriter, Step

Found = tuple[ConditionTemplate, ...]
Tell = Callable[[SignalProcessing], None]


class Commits:
    """Ends passes through `status`. `random` spreads the waits, 0 makes them exact."""

    def __init__(
        self,
        status: StatusWriter,
        reporter: Reporter,
        clock: Clock,
        memories: Memories[Memory],
        random: Callable[[], float],
    ) -> None:
        self._status = status
        self._report = reporter
        self._clock = clock
        self._memories = memories
        self._random = random

    async def commit(self, sp: SignalProcessing, step: Step, tell: Tell, *, wait: float = 0.0) -> Result:
        """Write `step` and tell of it; the next pass is due in `wait` seconds.

        A status that the API server's schema refuses would be refused for ever: it is given up.
        """
        memory = self._memories.of(sp.metadata)
        memory.news.await_write(step.landed, tell)
        try:
            update = await self._status.commit(sp, step)
        except InvalidError as error:
            if step.phase == FAILED or not step.made_for:
                raise
            text = bounded(f"the API server refuses the status with phase {step.phase}: {error.message}")
            found = conditions.ended(step.made_for, text)
            return await self.fail(sp, text, found, PROCESSING_FAILED, "status_refused")
        now = update.object
        if not update.ok:
            memory.news.drop()
            return DONE
        if now.status.phase != step.phase:  # another process was faster: its object is looked at anew
            memory.news.drop()
            return AGAIN
        if update.writes:
            memory.news.tell(now)
        else:
            memory.news.not_needed(now)
        if now.status.phase in TERMINAL:
            return DONE
        if wait:
            memory.wait_for(now, self._clock, wait)
        return self.due_in(wait, now)

    async def retry(
        self,
        sp: SignalProcessing,
        error: str,
        failures: int,
        reason: str,
        found: Found = (),
        *,
        at_least: float = 0.0,
    ) -> Result:
        """Record that attempt number `failures` has failed. The next one waits by policy, or `at_least` seconds."""
        wait = max(RETRY.wait(failures, self._random), at_least)
        tell = partial(self._report.attempt_failed, reason=reason, error=error)
        step = self._status.attempted(sp, error, failures, found)
        return await self.commit(sp, step, tell, wait=wait)

    async def fail(
        self,
        sp: SignalProcessing,
        text: str,
        found: Found,
        reason: str,
        why: FailureReason,
        *,
        failures: int | None = None,
    ) -> Result:
        """End in Failed because of `text`; `failures` is the number of the attempt whose failure it is.

        `reason` is the Event's, `why` the metric's.
        """
        tell = partial(self._report.failed, before=sp.status.phase, reason=reason, error=text, why=why)
        return await self.commit(sp, self._status.failed(sp, text, found, failures=failures), tell)

    def due_in(self, seconds: float, sp: SignalProcessing) -> Result:
        """Ask for a pass in `seconds`, or when the deadline of `sp` has passed, if that is earlier."""
        left = self._memories.of(sp.metadata).seconds_to_deadline(sp, self._clock)
        return Result(requeue_after=max(0.0, min(seconds, left)))

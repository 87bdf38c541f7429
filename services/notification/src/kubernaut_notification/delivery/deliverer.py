"""Calls channels and turns what happens into recorded attempts.

Nothing that a channel does may break the pass or the queue: known errors become failed attempts, unknown ones become
permanent failures whose text names only their class, because an exception's own text may carry a credential. Channels
of one notification are called side by side, so a slow receiver delays no other; how many at once is bounded.

Right before each call the caller is asked whether it may still be made: a process that was stopped for a minute and
goes on may have been replaced meanwhile. What remains is the time from that question to the first byte on the wire.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.announcement import Announced
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.http import OUTCOME_UNKNOWN
from kubernaut_notification.delivery.message import Message, prepare
from kubernaut_notification.delivery.registry import ChannelRegistry
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime.clock import Clock

log = logging.getLogger(__name__)

CONCURRENT_CHANNELS = 8
"""Channels of one notification that are called at the same time, unless the config says otherwise."""


class Deliverer:
    """Makes announced attempts through the channels of `registry`."""

    def __init__(self, registry: ChannelRegistry, clock: Clock, *, concurrent: int = CONCURRENT_CHANNELS) -> None:
        self._registry = registry
        self._clock = clock
        self._concurrent = max(1, concurrent)

    async def deliver(
        self,
        nr: NotificationRequest,
        announced: Iterable[Announced],
        *,
        enter: Callable[[Announced], Awaitable[bool]] | None = None,
        allowed: Callable[[Announced], bool] = lambda entry: True,
        ended: Callable[[Attempt], None] = lambda attempt: None,
    ) -> list[Attempt]:
        """Make the `announced` attempts of `nr`, each once, and return their results in the same order.

        `nr` is the stored object; what channels get is an enriched and redacted copy. `enter` may wait until
        the receiver is free, `allowed` is asked right before the call; an attempt that either forbids is not made and
        has no result. `ended` is told of each attempt at once, while others may still be under way. Raises nothing but
        cancellation.
        """
        copy = prepare(nr)
        gate = asyncio.Semaphore(self._concurrent)

        async def one(entry: Announced) -> Attempt | None:
            if enter is not None and not await enter(entry):
                return None
            async with gate:
                if not allowed(entry):
                    return None
                attempt = await self.attempt(Message(copy, entry.channel, entry.attempt, entry.due))
            ended(attempt)
            return attempt

        results = await asyncio.gather(*(one(entry) for entry in announced))
        return [attempt for attempt in results if attempt is not None]

    async def attempt(self, message: Message) -> Attempt:
        """Deliver `message` through the channel that it is for and return what came of it.

        Raises nothing but cancellation; then nothing is known of the delivery, and its announcement stays.
        """
        started, begin = self._clock.now(), self._clock.monotonic()
        failure: DeliveryError | None = None
        try:
            await self._registry.channel(message.channel).deliver(message)
        except DeliveryError as error:
            failure = error
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            # Not we: something that the channel awaited was cancelled. The other channels' results are not lost for it.
            failure = RetryableError(
                "the call was cut off" + OUTCOME_UNKNOWN, reason="unexpected", outcome_unknown=True
            )
        except Exception as error:  # noqa: BLE001 - a broken channel must not stop the queue
            kind = type(error).__name__
            log.error("channel raised an unexpected %s", kind, extra={"channel": message.channel})
            failure = PermanentError(f"unexpected {kind} in channel {message.channel}", reason="unexpected")
        end = self._clock.monotonic()
        duration = max(0.0, end - begin)
        # The wall clock may be set back meanwhile; an attempt never ends before it starts.
        ended = max(started, self._clock.now())
        about = (message.channel, message.attempt, started, ended, duration)
        attempt = Attempt.success(*about) if failure is None else Attempt.failure(*about, failure)
        return replace(attempt, clock=end)

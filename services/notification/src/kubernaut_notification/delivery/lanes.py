"""Who may call a receiver now: one lane per channel key, with a circuit breaker and a bounded number of places.

Only channels on the network have lanes; console, log and file answer at once. A lane lets a call in while its breaker
allows it and a place is free. Where only a place is missing, a pass waits for it up to `PATIENCE`: in a burst places
come free soon, and then the results of all channels still go into one write. Whoever is not let in is *held*: the
announced attempt keeps its number, nothing is called, nothing is written for it, and the object's pass ends. So a
receiver that never answers has a bounded number of calls, and its breaker soon holds the rest, while everybody else's
notifications go on.

Who waits or is held stands in line, by urgency and then by time: `AGE` seconds of waiting make up for one step of
urgency, so that nobody waits for ever behind more urgent ones. A place is for those in front only; nobody overtakes by
coming at the right moment. Who was held and whose pass is not over, because another receiver is slow or a write takes
long, stands aside: it keeps its spot, and others need not wait for what cannot come. When a place comes free, the front
gets it or is woken; for what is woken by nothing (an open breaker's time runs out) each held pass has its own latest
time to ask again. All of this is in memory and lost with the process.

Everything happens in one event loop; only `states` and `held` may be called from other threads.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any

from kubernaut_notification.delivery.breaker import BreakerSettings, CircuitBreaker, State
from kubernaut_notification.delivery.result import Attempt
from kubernaut_runtime import Clock, Priority
from kubernaut_status import ObjectKey

NETWORK_TYPES = frozenset({"slack", "pagerduty", "teams", "webhook", "email"})
"""Channel types with receivers that may be slow or away."""

AGE = 10.0
"""Seconds of waiting that make up for one step of urgency."""

PATIENCE = 5.0
"""Seconds that a pass waits for a place before its attempt is held."""

ASK_AGAIN = 30.0
"""Seconds after which a held pass asks again if nobody wakes it; a safeguard."""

ALIVE = "rejected"
"""Reason of a permanent failure that is the receiver's own answer."""


def channel_type(key: str) -> str:
    """Return the type of a channel key: `slack` of `slack:sre-critical`."""
    return key.partition(":")[0]


def is_remote(key: str) -> bool:
    """Whether a channel's receiver is on the network."""
    return channel_type(key) in NETWORK_TYPES


_Spot = tuple[float, int, ObjectKey]
"""A spot in line: rank, number of arrival, who."""


class Lane:
    """One receiver's lane; see the module. `places` are the calls that may be under way at once."""

    def __init__(self, breaker: CircuitBreaker, places: int, monotonic: Callable[[], float]) -> None:
        self.breaker = breaker
        self._places = places
        self._monotonic = monotonic
        self._inside: dict[ObjectKey, int] = {}
        self._line: list[_Spot] = []
        self._spots: dict[ObjectKey, _Spot] = {}
        self._aside: set[ObjectKey] = set()
        self._arrivals = 0

    def __contains__(self, who: ObjectKey) -> bool:
        """Whether `who` is inside or stands in line."""
        return who in self._inside or who in self._spots

    @property
    def length(self) -> int:
        """How many stand in line."""
        return len(self._spots)

    def holds(self, who: ObjectKey) -> bool:
        """Whether `who` stands in line."""
        return who in self._spots

    @property
    def free(self) -> int:
        """How many more calls may begin now."""
        state = self.breaker.state
        if state is State.OPEN:
            return 0
        if state is State.HALF_OPEN:
            probing = sum(term == self.breaker.term for term in self._inside.values())
            return max(0, min(self.breaker.probes - probing, self._places - len(self._inside)))
        return max(0, self._places - len(self._inside))

    @property
    def front(self) -> list[ObjectKey]:
        """Those in line for whom there is a place now."""
        free = self.free
        return list(islice((who for _, _, who in self._line if who not in self._aside), free)) if free else []

    @property
    def waiting(self) -> list[ObjectKey]:
        """All in line, in its order."""
        return [who for _, _, who in self._line]

    def enter(self, who: ObjectKey, urgency: Priority) -> bool:
        """Take a place, or stand in line (again: at the same spot); returns whether a place was taken."""
        self._aside.discard(who)
        if who not in self._spots:
            self._arrivals += 1
            spot = (self._monotonic() + AGE * (Priority.CRITICAL - urgency), self._arrivals, who)
            self._spots[who] = spot
            insort(self._line, spot)
        if who not in self.front:
            return False
        self.take(who)
        return True

    def take(self, who: ObjectKey) -> None:
        """Take a place without asking; for those in front."""
        self.withdraw(who)
        self._inside[who] = self.breaker.term

    def leave(self, who: ObjectKey, attempt: Attempt | None = None) -> None:
        """Give the place back; `attempt` is what came of the call, None if nobody knows. Harmless without a place."""
        term = self._inside.pop(who, None)
        if term is None or attempt is None:
            return
        if attempt.succeeded or attempt.reason == ALIVE:
            self.breaker.succeeded(term)
        elif not attempt.permanent:
            self.breaker.failed(term, attempt.error)

    def step_aside(self, who: ObjectKey) -> None:
        """Who stands in line cannot come now."""
        if who in self._spots:
            self._aside.add(who)

    def step_back(self, who: ObjectKey) -> bool:
        """Who stood aside can come again; returns whether it did."""
        stood = who in self._aside
        self._aside.discard(who)
        return stood

    def withdraw(self, who: ObjectKey) -> None:
        """Stand in line no more. Harmless for who does not."""
        self._aside.discard(who)
        if spot := self._spots.pop(who, None):
            del self._line[bisect_left(self._line, spot)]


class Lanes:
    """The lanes of all channel keys. `places` are those of each; `wake` lets an object's next pass begin."""

    def __init__(self, settings: BreakerSettings, places: int, clock: Clock, wake: Callable[[ObjectKey], None]) -> None:
        self._settings = settings
        self._places = places
        self._clock = clock
        self._wake = wake
        self._lanes: dict[str, Lane] = {}
        self._waiting: dict[tuple[str, ObjectKey], asyncio.Future[bool]] = {}

    def keep(self, keys: Iterable[str]) -> None:
        """Have lanes for these channel keys, as routing names them, and forget those of all others."""
        wanted = {key for key in keys if is_remote(key)}
        for key in self._lanes.keys() - wanted:
            for who in self._lanes.pop(key).waiting:
                self._answer(key, who, False)
                self._wake(who)
        for key in sorted(wanted):
            self._lane(key)

    async def enter(self, who: ObjectKey, urgency: Priority, channel: str) -> bool:
        """Ask for a place at `channel` for `who`; returns whether it may call now.

        It waits a little, the first time, if only a place is missing. Who is let in owes `ended` or `leave`. Who is
        not stands in line until it is let in, or settles for other channels, and owes `back` when its pass is over.
        """
        if not is_remote(channel):
            return True
        lane = self._lane(channel)
        has_waited = lane.holds(who)
        if lane.enter(who, urgency):
            return True
        self._call(channel)
        if not has_waited and lane.breaker.state is State.CLOSED and await self._place(who, channel):
            return True
        lane.step_aside(who)
        return False

    async def _place(self, who: ObjectKey, channel: str) -> bool:
        """Wait for a place as long as patience lasts, and the breaker stays closed; returns whether there is one."""
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        limit = asyncio.ensure_future(self._clock.sleep(PATIENCE))
        self._waiting[channel, who] = place
        try:
            either: set[asyncio.Future[Any]] = {place, limit}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return place.done() and place.result()
        finally:
            del self._waiting[channel, who]
            limit.cancel()

    def wait(self, who: ObjectKey, channel: str) -> float:
        """Seconds after which `who` is to ask again at `channel` if nobody wakes it; 0 if it is not held there."""
        lane = self._lanes.get(channel)
        return (lane.breaker.opens_in or ASK_AGAIN) if lane and lane.holds(who) else 0.0

    def settle(self, who: ObjectKey, but: Collection[str] = ()) -> None:
        """`who` stands in no line any more, but at the channels in `but`: it is gone, or asks for others now."""
        for key, lane in self._lanes.items():
            if key not in but and who in lane:
                lane.withdraw(who)
                self._call(key)

    def ended(self, who: ObjectKey, attempt: Attempt) -> None:
        """An attempt that was let in has ended."""
        if lane := self._lanes.get(attempt.channel):
            lane.leave(who, attempt)
            self._call(attempt.channel)

    def leave(self, who: ObjectKey) -> None:
        """Give back every place that `who` still has: its calls were not made, or were cut off."""
        for key, lane in self._lanes.items():
            if who in lane:
                lane.leave(who)
                self._call(key)

    def back(self, who: ObjectKey) -> None:
        """The pass of `who` is over: it can come when it is woken."""
        for key, lane in self._lanes.items():
            if lane.step_back(who):
                self._call(key)

    def opens_in(self, channel: str) -> float:
        """Seconds until a channel's open breaker lets probes through, 0 if it is not open."""
        lane = self._lanes.get(channel)
        return lane.breaker.opens_in if lane else 0.0

    def opening(self, channel: str) -> tuple[int, str]:
        """The number of the opening that holds the channel back now, and what caused it; 0 with a closed breaker."""
        lane = self._lanes.get(channel)
        if lane is None or lane.breaker.state is State.CLOSED:
            return 0, ""
        return lane.breaker.openings, lane.breaker.error

    def states(self) -> dict[str, State]:
        """The worst state of each channel type that has lanes."""
        worst: dict[str, State] = {}
        for key, lane in self._lanes.copy().items():
            kind = channel_type(key)
            worst[kind] = max(worst.get(kind, State.CLOSED), lane.breaker.state)
        return worst

    def held(self) -> dict[str, int]:
        """How many attempts wait or are held, by channel type, for types that have lanes."""
        held: dict[str, int] = {}
        for key, lane in self._lanes.copy().items():
            held[channel_type(key)] = held.get(channel_type(key), 0) + lane.length
        return held

    def _lane(self, key: str) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            breaker = CircuitBreaker(self._settings, self._clock.monotonic)
            lane = self._lanes[key] = Lane(breaker, self._places, self._clock.monotonic)
        return lane

    def _call(self, channel: str) -> None:
        """Let in, or wake, those in front; tell all who wait in their passes if the breaker has opened."""
        lane = self._lanes[channel]
        if lane.breaker.state is State.OPEN:
            for who in lane.waiting:
                self._answer(channel, who, False)
            return
        for who in lane.front:
            if self._answer(channel, who, True):
                lane.take(who)
            else:
                self._wake(who)

    def _answer(self, channel: str, who: ObjectKey, answer: bool) -> bool:
        place = self._waiting.get((channel, who))
        if place is None or place.done():
            return False
        place.set_result(answer)
        return True

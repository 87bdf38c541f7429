"""/healthz, /readyz and /metrics, answered from a thread of their own.

A process whose main loop is blocked must still be able to say so; a server in that loop could not. So one thread with
its own loop serves both addresses, and the main loop only leaves a beat that the thread can read.

* `/healthz`: should the process be restarted? Fails when the main loop was silent longer than `limit`, or a watch was.
* `/readyz`: may traffic and rollouts count on it? Independent of leadership.
* `/metrics`: the process's registry, in the text or OpenMetrics format that the scraper asks for.

Checks run in the server's thread: they must be quick, must not block, and only read.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from .addresses import BindAddress

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Returns None when all is well, else one line that says why not."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Checks:
    """Named checks; adding is allowed at any time, also while they are asked."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._notes: dict[str, str] = {}

    def add(self, name: str, check: Check) -> None:
        """Add or replace the check `name`."""
        self._checks = {**self._checks, name: check}

    def note(self, name: str, text: str) -> None:
        """Have every report say `text`, one line; it fails nothing."""
        self._notes = {**self._notes, name: text}

    def report(self, title: str) -> tuple[bool, str]:
        """Return (all well, a text).

        The text has one line per check, `[+]name ok` or `[-]name: reason`, and one per note, `[ ]name: text`.
        """
        lines, well = [], True
        for name, check in self._checks.items():
            try:
                reason = check()
            except Exception as error:  # noqa: BLE001 (a check that breaks is a check that fails)
                reason = f"the check itself failed: {type(error).__name__}"
            well = well and reason is None
            lines.append(f"[+]{name} ok" if reason is None else f"[-]{name}: {' '.join(reason.split())}")
        lines += [f"[ ]{name}: {text}" for name, text in self._notes.items()]
        return well, "\n".join([*lines, f"{title} check {'passed' if well else 'failed'}", ""])


class LoopMonitor:
    """Tells how late the main loop is. Call `start` in that loop; read `lag` from any thread.

    `limit` is how many seconds of silence make `check` (and so `/healthz`) fail.
    """

    def __init__(
        self,
        *,
        limit: float = 5.0,
        interval: float = 0.25,
        registry: CollectorRegistry | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._interval, self._monotonic = limit, interval, monotonic
        self._beat: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        lag = Gauge("event_loop_lag_seconds", "How late the main loop is at this moment.", registry=registry)
        lag.set_function(self.lag)
        self._delay = Histogram(
            "event_loop_delay_seconds",
            "How late each beat of the main loop was.",
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10),
            registry=registry,
        )

    def start(self) -> None:
        """Begin to beat in the running loop."""
        self._beat = self._monotonic()
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """End the beat; from now on nothing is late."""
        if self._timer is not None:
            self._timer.cancel()
        self._beat = None

    def lag(self) -> float:
        """Return by how many seconds the loop is late now; 0.0 if it is on time or not watched."""
        beat = self._beat
        return 0.0 if beat is None else max(0.0, self._monotonic() - beat - self._interval)

    def check(self) -> str | None:
        """Return why the process should be restarted, or None."""
        lag = self.lag()
        if lag > self._limit:
            return f"the main loop has been blocked for {lag:.1f} s, the limit is {self._limit:g} s"
        return None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._interval, self._beats, loop)

    def _beats(self, loop: asyncio.AbstractEventLoop) -> None:
        self._delay.observe(self.lag())
        self._beat = self._monotonic()
        self._schedule(loop)


class ProbeServer:
    """The thread that serves probes and metrics. Usable as an async context manager.

    `health` and `metrics` are where to listen, None for off. After `start` the ports in use are in
    `health_port` and `metrics_port` (useful with port 0).
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        health: BindAddress | None = None,
        metrics: BindAddress | None = None,
        liveness: Checks | None = None,
        readiness: Checks | None = None,
    ) -> None:
        self.liveness = liveness or Checks()
        self.readiness = readiness or Checks()
        self.health_port: int | None = None
        self.metrics_port: int | None = None
        self._registry = registry
        self._addresses = (health, metrics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen. Raises `OSError` with address and reason if a port is taken."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="probes", daemon=True)
        self._thread.start()
        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._listen(), self._loop))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close both servers and end the thread. May be called twice."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._close(), loop))
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, 5)

    async def __aenter__(self) -> ProbeServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()

    async def _listen(self) -> None:
        health, metrics = self._addresses
        probes = {"/healthz": self._healthz, "/readyz": self._readyz}
        if health is not None and health == metrics and health.port:
            self.health_port = self.metrics_port = await self._site(health, {**probes, "/metrics": self._metrics})
            return
        if health is not None:
            self.health_port = await self._site(health, probes)
        if metrics is not None:
            self.metrics_port = await self._site(metrics, {"/metrics": self._metrics})

    async def _site(self, address: BindAddress, routes: Mapping[str, _Handler]) -> int:
        app = web.Application()
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            raise OSError(f"cannot listen on {address}: {error.strerror or error}") from None
        return int(runner.addresses[0][1])

    async def _close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(*self.liveness.report("healthz"))

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(*self.readiness.report("readyz"))

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


def _answer(well: bool, text: str) -> web.Response:
    return web.Response(text=text, status=200 if well else 503)

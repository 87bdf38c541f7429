"""The process of an operator: started in order, watched over, ended in order.

Start: config, logs, connection, probes and metrics, `setup(runtime)`, watches, wait until the stores are complete,
leader election (if enabled), controllers. A standby has gone all this way, but its controllers wait.

End, by SIGTERM or SIGINT, within 25 s: no new pass; passes under way get their time to reach a safe point, then are
cancelled, while the lease is still renewed; the lease is released; shutdown callbacks (audit) run, Events are flushed.
A second signal of the same kind ends the process at once. If anything that should run for ever ends by itself, the
process ends too, with exit code 1 and one line that says why: kubelet starts it again with an empty view.

Exit codes: 0 ended as asked, 1 cannot start or go on, 2 unknown flags.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import uvloop

from kubernaut_status import StatusError

from .addresses import parse_bind_address
from .checked import Fact, report
from .config import ConfigError, LoadedConfig, load_config
from .connection import ConnectError, Connection
from .flags import Arguments, StartError, controller_namespace, parse_arguments, process_identity
from .leader import LeaderElector
from .logs import setup_logging
from .probes import LoopMonitor, ProbeServer
from .runtime import Runtime, call
from .sections import ControllerConfig
from .sweep import HistoryRewoundError, Sweep

if TYPE_CHECKING:
    from .engine import WatchEngine

log = logging.getLogger(__name__)

RESUME = "resuming work"

C = TypeVar("C", bound=ControllerConfig)

SHUTDOWN_SECONDS = 25.0
"""From the signal to the end of the process, at most."""


@dataclass(frozen=True)
class Operator(Generic[C]):
    """What makes one operator.

    `name` is the short service name ("notification"): it gives the user agent `kubernaut-<name>/<version>`, the
    program name and the default Lease `<name>.kubernaut.ai`. `default_config` None allows to run without a file.
    `check` adds findings of its own to `--check-config`, one line each; without any, `facts` says what was looked at.
    """

    name: str
    version: str
    config: type[C]
    setup: Callable[[Runtime[C]], Awaitable[None]]
    default_config: Path | None = None
    description: str = ""
    check: Callable[[C], Sequence[str]] | None = None
    facts: Callable[[C], Sequence[Fact]] | None = None


def run_operator(operator: Operator[Any], argv: Sequence[str] | None = None) -> int:
    """Run the operator until it is told to end; return the process's exit code. The whole of a service's `main`."""
    arguments = parse_arguments(
        f"kubernaut-{operator.name}", operator.version, operator.default_config, argv, description=operator.description
    )
    if arguments.check_config:
        return _check_config(operator, arguments)
    try:
        loaded = _load(operator, arguments)
    except ConfigError as error:
        return _refuse(str(error))
    setup_logging(loaded.config.logging.level, loaded.config.logging.format)
    for warning in loaded.warnings:
        log.warning(warning)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Process(operator, arguments, loaded).run())
    except (StartError, ConfigError, ConnectError, HistoryRewoundError) as error:
        for line in str(error).splitlines():
            log.critical(line)
    except KeyboardInterrupt:
        log.critical("ended at once, as asked twice")
    except OSError as error:
        text = str(error)
        log.critical(text if text.startswith("cannot") else f"cannot start: {text}")
    except Exception as error:
        log.critical(f"cannot start: {type(error).__name__}: {error}", exc_info=error)
    return 1


class Process(Generic[C]):
    """One run of an operator, for `run_operator` and for tests that want it in their own loop."""

    def __init__(self, operator: Operator[C], arguments: Arguments, loaded: LoadedConfig[C]) -> None:
        self._operator, self._arguments, self._loaded = operator, arguments, loaded
        self._stop = asyncio.Event()
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None
        self.runtime: Runtime[C]
        self.probes: ProbeServer

    def stop(self) -> None:
        """End in order, as SIGTERM does."""
        self._stop.set()

    async def run(self) -> int:
        """Start, work, end; return the exit code. Raises what made starting or going on impossible."""
        async with AsyncExitStack() as stack:
            self._catch_signals(stack)
            await self._assemble(stack)
            runtime = self.runtime
            engine = self._engine()
            elector = self._elector(stack)
            try:
                self._spawn("watch engine", engine.run())
                for recorder in runtime.recorders:
                    self._spawn(f"events of {recorder.component}", recorder.run())
                for watcher in runtime.watchers:
                    self._spawn(f"watcher of {watcher.path}", watcher.run())
                for task in runtime.tasks:
                    self._spawn(task.name, task.work())
                if await self._unless_ended(engine.wait_synced()):
                    log.info(
                        "watches are in sync", extra={"kinds": [store.resource.plural for store in runtime.stores]}
                    )
                    for controller in runtime.controllers:
                        self._spawn(f"controller of {controller.name}", controller.run())
                    if elector is not None:
                        self._spawn("leader election", elector.run())
                    await self._unless_ended(asyncio.Event().wait())
            finally:
                code = await self._end(elector)
        if self._failure is not None:
            raise self._failure
        return code

    def _catch_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()

        def told(number: signal.Signals) -> None:
            log.info("ending", extra={"signal": number.name})
            loop.remove_signal_handler(number)  # the second one ends the process at once
            self._stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told, number)
            stack.callback(loop.remove_signal_handler, number)

    async def _assemble(self, stack: AsyncExitStack) -> None:
        operator, arguments, config = self._operator, self._arguments, self._loaded.config
        connection = await asyncio.to_thread(Connection.load, arguments.kubeconfig, arguments.context)
        self.runtime = runtime = Runtime(
            name=operator.name,
            version=operator.version,
            loaded=self._loaded,
            config_path=arguments.config,
            namespace=controller_namespace(connection.namespace),
            connection=connection,
            identity=process_identity(),
        )
        stack.push_async_callback(runtime.client.close)
        log.info(
            "starting",
            extra={
                "version": operator.version,
                "server": connection.server,
                "connection": connection.origin,
                "namespace": runtime.namespace,
                "identity": runtime.identity,
            },
        )
        self.probes = ProbeServer(
            registry=runtime.registry,
            health=parse_bind_address(config.controller.health_probe_addr),
            metrics=parse_bind_address(config.controller.metrics_addr),
            liveness=runtime.liveness,
            readiness=runtime.readiness,
        )
        runtime.add_readiness("started", lambda: "the process is starting")
        monitor = LoopMonitor(registry=runtime.registry)
        runtime.add_liveness("event-loop", monitor.check)
        await self.probes.start()
        stack.push_async_callback(self.probes.stop)
        log.info("serving", extra={"health": self.probes.health_port, "metrics": self.probes.metrics_port})
        monitor.start()
        stack.callback(monitor.stop)
        await operator.setup(runtime)
        runtime.watch_config(operator.config)

    def _engine(self) -> WatchEngine:
        from .engine import WatchEngine  # kopf takes two seconds to import, --help and --check-config need none of it

        runtime = self.runtime
        sweep = self._sweep = Sweep(
            runtime.client,
            runtime.stores,
            namespace=runtime.namespace,
            clock=runtime.clock,
            resync_period=runtime.config.controller.resync_period,
            registry=runtime.registry,
        )
        engine = WatchEngine(
            runtime.connection,
            runtime.stores,
            sweep,
            namespace=runtime.namespace,
            user_agent=runtime.user_agent,
            calls=runtime.calls,
            clock=runtime.clock,
            registry=runtime.registry,
        )
        runtime.add_liveness("watches", engine.unhealthy)
        runtime.add_readiness("started", lambda: None if engine.synced() else "the first list is not complete yet")
        return engine

    def _elector(self, stack: AsyncExitStack) -> LeaderElector | None:
        runtime, settings = self.runtime, self.runtime.config.controller
        if not settings.leader_election:
            return None

        async def acquired() -> None:
            self._spawn(RESUME, self._resume_work(elector), endless=False)

        async def lost() -> None:
            # Work must have stopped before the lease ends for others.
            await self._cancel(RESUME)
            for controller in runtime.controllers:
                controller.pause()
            margin = (settings.lease_duration - settings.renew_deadline) / 2
            await asyncio.gather(*(controller.abandon(margin) for controller in runtime.controllers))

        # A client of its own: a renewal must not wait for a free connection.
        client = runtime.connection.client(runtime.user_agent, runtime.calls, connections=2)
        stack.push_async_callback(client.close)
        elector = LeaderElector(
            client,
            namespace=runtime.namespace,
            name=settings.leader_election_id or f"{runtime.name}.kubernaut.ai",
            identity=runtime.identity,
            lease_duration=settings.lease_duration,
            renew_deadline=settings.renew_deadline,
            retry_period=settings.retry_period,
            clock=runtime.clock,
            registry=runtime.registry,
            on_acquired=acquired,
            on_lost=lost,
        )
        runtime.fence_by(elector.is_leader)
        return elector

    async def _resume_work(self, elector: LeaderElector) -> None:
        """Act from now on, on what the predecessor left: a standby's watch may lag behind its last writes."""
        runtime = self.runtime
        for store in runtime.stores:
            while elector.is_leader():
                try:
                    await self._sweep.sweep(store)
                    break
                except StatusError as error:
                    log.warning("cannot list %s: %s; work waits for it", store.resource.plural, error)
                    await runtime.clock.sleep(1)
        if elector.is_leader():
            runtime.acting_since = runtime.clock.now()
            for controller in runtime.controllers:
                controller.resume()

    def _spawn(self, name: str, work: Any, *, endless: bool = True) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = name
        task.add_done_callback(partial(self._ended, endless=endless))

    def _ended(self, task: asyncio.Task[None], *, endless: bool) -> None:
        name = self._tasks.pop(task)
        if task.cancelled() or self._stop.is_set():
            return
        error = task.exception()
        if error is None and not endless:
            return
        if error is None:
            error = StartError(f"cannot go on: {name} ended by itself; please report this")
        elif not isinstance(error, (StartError, HistoryRewoundError)):
            log.error("%s failed", name, exc_info=error)
            error = StartError(f"cannot go on: {name} failed: {type(error).__name__}: {error}")
        self._failure = self._failure or error
        self._failed.set()

    async def _unless_ended(self, work: Awaitable[Any]) -> bool:
        """Await `work`; False if the process is to end before it is done."""
        waits = [asyncio.ensure_future(one) for one in (work, self._stop.wait(), self._failed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return not (self._stop.is_set() or self._failed.is_set())
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _end(self, elector: LeaderElector | None) -> int:
        runtime, loop = self.runtime, asyncio.get_running_loop()
        deadline = loop.time() + SHUTDOWN_SECONDS
        self._stop.set()
        runtime.fence_by(lambda: False)  # what has not begun is left to the next process
        runtime.add_readiness("started", lambda: "the process is ending")
        drains = (controller.drain(0.7 * SHUTDOWN_SECONDS) for controller in runtime.controllers)
        await asyncio.gather(self._cancel("watch engine"), *drains)
        await self._cancel("leader election")
        if elector is not None:
            await elector.release()
        code = 0
        for name, callback in runtime.shutdown_callbacks:
            try:
                async with asyncio.timeout(max(0.5, deadline - loop.time() - 1.5)):
                    await call(callback)
            except Exception as error:  # noqa: BLE001 (the other callbacks must still run)
                log.error("cannot end in order", extra={"callback": name, "error": f"{type(error).__name__}: {error}"})
                code = 1
        await asyncio.gather(*(recorder.flush(max(0.2, deadline - loop.time() - 1)) for recorder in runtime.recorders))
        await self._cancel()
        log.info("ended", extra={"code": 1 if self._failure else code})
        return code

    async def _cancel(self, *names: str) -> None:
        tasks = [task for task, name in self._tasks.items() if not names or name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _load(operator: Operator[C], arguments: Arguments, *, strict: bool = False) -> LoadedConfig[C]:
    if arguments.config is None:
        return LoadedConfig(operator.config(), Path("(defaults)"), (), "")
    return load_config(arguments.config, operator.config, strict=strict)


def _check_config(operator: Operator[Any], arguments: Arguments) -> int:
    try:
        loaded = _load(operator, arguments, strict=True)
        findings = list(operator.check(loaded.config)) if operator.check is not None else []
        if findings:
            raise ConfigError(findings)
        text = report(loaded, operator.facts(loaded.config) if operator.facts is not None else ())
    except ConfigError as error:
        return _refuse(str(error))
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201
    print(text, end="")  # noqa: T201
    return 0


def _refuse(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return 1

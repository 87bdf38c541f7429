"""An operator as a process of its own: started, killed, frozen and measured as an operating system does it."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubernaut_testing.children import Child, Children
from kubernaut_testing.waiting import eventually

__all__ = ["OperatorProcess", "Usage", "children_of", "runs", "usage_of"]


@dataclass(frozen=True)
class Usage:
    """What a process has used: CPU seconds in user and system mode, resident memory now and at most in bytes."""

    user: float
    system: float
    rss: int
    peak: int


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has fetched yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children_of(pid: int) -> set[int]:
    """Process ids of those that a process started itself and that run; empty if there is no such process."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        if int(parent) == pid and state not in "ZX":
            found.add(int(stat.parent.name))
    return found


def usage_of(pid: int) -> Usage:
    """Usage of any running process, from /proc; ProcessLookupError if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(f"cannot measure process {pid}: it has ended") from None
    tick = os.sysconf("SC_CLK_TCK")
    rss = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    peak = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), rss)
    return Usage(int(fields[11]) / tick, int(fields[12]) / tick, rss, max(rss, peak))


class OperatorProcess:
    """A process that can be started again and again; a context manager that starts it and kills it at the end.

    Args:
        argv: the command and its arguments.
        name: for its log and for messages; default is the command's name.
        env: added to this process's environment, from which KUBECONFIG is taken out: an operator under test
            must not reach somebody's real cluster by accident.
        log: file for its output, appended to by each start; default is in a private folder.
        ready: the URL of its ``/readyz``, or a function that tells; None counts it as ready at once.
        ready_timeout: seconds until which it must be ready.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        ready: str | Callable[[], bool] | None = None,
        ready_timeout: float = 60.0,
    ) -> None:
        self.argv = list(argv)
        self.name = name or Path(argv[0]).name
        inherited = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        self.env = {**inherited, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._log = log
        self._ready = ready
        self._ready_timeout = ready_timeout
        self._children: Children | None = None
        self._child: Child | None = None
        self.starts = 0
        """How often it was started."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, wait: bool = True) -> Self:
        """Start it; with ``wait`` until it is ready.

        Raises AssertionError with the end of its log when it ends or does not become ready.
        """
        if self.running:
            raise RuntimeError(f"cannot start {self.name}: it is running as process {self.pid}")
        if self._children is None:
            self._children = Children("operator")
        self._child = self._children.spawn(self.name, self.argv, env=self.env, log=self._log)
        self.starts += 1
        if wait:
            self.wait_ready()
        return self

    def close(self) -> None:
        """Kill it if it runs, and remove its private folder."""
        children, self._children = self._children, None
        if children is not None:
            children.close()

    def wait_ready(self) -> None:
        """Wait until it is ready."""

        def ready() -> bool:
            if not self.running:
                return True
            if callable(self._ready):
                return self._ready()
            if self._ready is None:
                return True
            with urllib.request.urlopen(self._ready, timeout=5) as answer:
                return bool(answer.status == 200)

        eventually(
            ready,
            timeout=self._ready_timeout,
            message=lambda: f"readiness of {self.name}; the end of its log:\n{self._alive.log_tail()}\n",
        )
        if not self.running:
            code = self._alive.returncode
            raise AssertionError(f"{self.name} ended with code {code}; the end of its log:\n{self._alive.log_tail()}")

    @property
    def running(self) -> bool:
        """Whether it runs (a frozen one does)."""
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        return self._alive.pid

    @property
    def returncode(self) -> int | None:
        """Exit code of the last start, minus the signal number if a signal ended it; None while it runs."""
        return self._alive.returncode

    @property
    def log(self) -> Path:
        """Its output, of all starts."""
        return self._alive.log

    def records(self) -> list[dict[str, Any]]:
        """The lines of its output that are JSON objects, decoded."""
        found = []
        for line in self.log.read_text(errors="replace").split("\n"):  # text may hold other line ends
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue  # a line cut short by a kill
        return found

    def usage(self) -> Usage:
        """CPU and memory of the running process."""
        return usage_of(self.pid)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; nothing happens if it has ended."""
        if self.running:
            self._alive.kill()

    def terminate(self, grace: float = 30.0) -> int:
        """SIGTERM and wait; SIGKILL after ``grace`` seconds. Returns the exit code."""
        return self._alive.terminate(grace)

    def pause(self) -> None:
        """SIGSTOP: it stands still, its connections stay open."""
        self._alive.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after ``pause``."""
        self._alive.signal(signal.SIGCONT)

    def wait_exit(self, timeout: float = 30.0) -> int:
        """Wait until it has ended by itself; the exit code. TimeoutError if it does not."""
        return self._alive.wait(timeout)

    def restart(self, *, graceful: bool = False) -> Self:
        """End it (SIGKILL unless ``graceful``) and start it again."""
        if self.running:
            self.terminate() if graceful else self.kill()
        return self.start()

    @property
    def _alive(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"cannot use {self.name}: it was never started")
        return self._child

"""Child processes that never outlive their owner.

``Children`` owns a private temporary folder and any number of processes. They end, and the folder goes, when
``close()`` is called, when the interpreter exits, and also when the owner is killed by SIGKILL: the guard
(``guard.py``) sees to the last. Folders of runs whose guard died too (a machine that was switched off) are
swept when the next run starts.

All children share the guard's process group, so Ctrl-C at a terminal reaches the owner alone, which then stops
them in order.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

__all__ = ["Child", "Children"]

_PREFIX = "kubernaut-testing-"


class Child:
    """One process: its ``pid``, its ``log`` file, and how to end it."""

    def __init__(self, owner: Children, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._owner = owner
        self._process = process
        self.name = name
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal number if a signal ended it; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._owner._forget(self.pid)
        return code

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.returncode is None

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        self._process.send_signal(number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code; TimeoutError after ``timeout`` seconds."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} (pid {self.pid}) still runs after {timeout} s; log: {self.log}") from None
        self._owner._forget(self.pid)
        return code

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self.wait()

    def terminate(self, grace: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after ``grace`` seconds; the exit code."""
        # A stopped process cannot react to SIGTERM.
        for number in (signal.SIGTERM, signal.SIGCONT):
            self._process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            return self.wait(grace)
        self.kill()
        return self.wait()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its output, for messages about a failure."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Children:
    """A folder and processes with the lifetime of this object; a context manager.

    Args:
        purpose: a word for the folder's name.
        keep: leave the folder behind on ``close()``, to look at logs.
    """

    def __init__(self, purpose: str, *, keep: bool = False) -> None:
        _sweep_stale()
        self._keep = keep
        self._open = True
        self._owner_pid = os.getpid()
        self._children: list[Child] = []
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._guard.stdout is not None
        if not self._guard.stdout.readline():
            raise RuntimeError(f"cannot start the guard of {self.folder}: {sys.executable} ended at once")
        self._guard.stdout.close()
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a process whose output is appended to ``log`` (default ``<folder>/<name>.log``).

        ``pass_fds`` are file descriptors that it inherits under the same numbers.
        """
        log = log or self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in argv],
                env=None if env is None else dict(env),
                cwd=cwd or self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self._guard.pid,
                pass_fds=pass_fds,
            )
        self._tell(f"+{process.pid}")
        child = Child(self, name, process, log)
        self._children.append(child)
        return child

    def close(self) -> None:
        """Kill what still runs, remove the folder; harmless when repeated and in a forked child."""
        if not self._open or os.getpid() != self._owner_pid:
            return
        self._open = False
        atexit.unregister(self.close)
        for child in reversed(self._children):
            if child.running:
                child.kill()
        # The group is the guard's and holds what the children left behind; it goes with the guard.
        os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self, pid: int) -> None:
        if self._open:
            self._tell(f"-{pid}")

    def _tell(self, line: str) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._guard.stdin.write(f"{line}\n".encode())
            self._guard.stdin.flush()


def _sweep_stale() -> None:
    """Remove the folders, and kill the processes, of runs whose guard is gone as well."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < 60:
                continue  # its guard may be just about to take the lock
            with (folder / "guard.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # alive, or another user's
        with contextlib.suppress(OSError):
            for pid in (folder / "pids").read_text().split():
                # The number may belong to somebody else by now: kill it only if its arguments name the folder.
                if str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)

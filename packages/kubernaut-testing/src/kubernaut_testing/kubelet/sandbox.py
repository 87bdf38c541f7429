"""One container: a process in Linux namespaces of its own, made by bubblewrap, without root and without images.

The container sees a root of its own, made anew for each start: the system's programs and libraries, this
interpreter's environment, its volumes, `/proc`, `/dev`; nothing of the user's home, of `/etc`, of other pods. It has
its own users (one uid, no capabilities), processes (it is process 1, so SIGTERM without a handler does nothing, as in
a real container), host name and mounts. The network is the machine's: pods tell themselves apart by addresses of
127.0.0.0/8.

Arguments go to bubblewrap through a file descriptor: environment variables may hold secrets, and a command line is
visible to everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from kubernaut_testing.binaries import ToolUnavailableError
from kubernaut_testing.children import Child, Children
from kubernaut_testing.systempackages import find_system_program

__all__ = ["Bind", "Recipe", "SandboxProcess", "StartError", "isolation_available"]

_ETC = ("ssl", "ca-certificates", "pki", "alternatives", "ld.so.cache", "localtime", "mime.types", "nsswitch.conf")
"""What images of the usual kind have in /etc; the pod adds its hosts, passwd and resolv.conf."""


class StartError(Exception):
    """The container could not be set up; the text is bubblewrap's own."""


@dataclass(frozen=True)
class Bind:
    """A path of this machine at a place in the container."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a container, decided: the sandbox adds nothing to it.

    Attributes:
        command: program (a path in the container) and arguments.
        env: the whole environment.
        binds: mounts, parents before children.
        hostname: the pod's name.
        uid, gid: who it runs as.
        read_only_root: whether everything but its mounts is read-only.
        workdir: made if it does not exist.
    """

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    binds: Sequence[Bind] = ()
    hostname: str = "localhost"
    uid: int = 65532
    gid: int = 65532
    read_only_root: bool = False
    workdir: str = "/"

    def arguments(self) -> list[str]:
        """bubblewrap's options."""
        words = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        words += ["--uid", str(self.uid), "--gid", str(self.gid), "--hostname", self.hostname]
        # In the process group of its owner's guard, not in a session of its own: it goes with the group, however early.
        words += ["--as-pid-1", "--die-with-parent"]
        words += _base()
        words += ["--perms", "1777", "--dir", "/tmp"]  # noqa: S108 - the container's
        for bind in self.binds:
            words += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.target]
        if self.workdir != "/":
            words += ["--dir", self.workdir]
        if self.read_only_root:
            words += ["--remount-ro", "/"]
        words += ["--chdir", self.workdir]
        for name, value in self.env.items():
            words += ["--setenv", name, value]
        return words


@cache
def _base() -> tuple[str, ...]:
    """The part of the root that all containers share."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/") / name
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in _ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return (*words, "--dev", "/dev", "--proc", "/proc")


@cache
def _bwrap() -> str:
    return str(find_system_program("bwrap"))


@cache
def isolation_available() -> tuple[bool, str]:
    """Whether containers can be run here, and if not, why: no bubblewrap, or a system that forbids namespaces."""
    try:
        bwrap = _bwrap()
    except ToolUnavailableError as error:
        return False, str(error)
    command = [bwrap, *Recipe(()).arguments(), "--", "/usr/bin/env", "true"]
    try:
        tried = subprocess.run(command, env={}, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"cannot run {bwrap}: {error}"
    if tried.returncode == 0:
        return True, ""
    return False, (
        "cannot isolate containers: this system does not let a user make Linux namespaces "
        f"({tried.stderr.strip() or 'bwrap gives no reason'}); allow unprivileged user namespaces, or run as root"
    )


class SandboxProcess:
    """A container that runs; ``spawn`` makes one, inside a running loop."""

    def __init__(self, child: Child, status: int) -> None:
        self._child = child
        self._status = status
        self._told = b""
        self._named = asyncio.Event()
        self._end = asyncio.create_task(self._follow())
        self.pid = 0
        """The process id of the container's process 1, on this machine; 0 until ``begun``."""

    @classmethod
    def spawn(cls, recipe: Recipe, children: Children, log: Path) -> SandboxProcess:
        """Make a container, its output appended to ``log``; it runs when ``begun`` has returned.

        Nothing is awaited here, so that a caller which is cancelled always knows what it has to stop.
        """
        arguments = os.memfd_create("bwrap-arguments")
        reading, writing = os.pipe()
        try:
            words = [*recipe.arguments(), "--json-status-fd", str(writing)]
            os.write(arguments, b"".join(word.encode() + b"\0" for word in words))
            os.lseek(arguments, 0, os.SEEK_SET)
            child = children.spawn(
                log.stem,
                [_bwrap(), "--args", str(arguments), "--", *recipe.command],
                env={},
                cwd=Path("/"),
                log=log,
                pass_fds=(arguments, writing),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(arguments)
            os.close(writing)
        os.set_blocking(reading, False)
        return cls(child, reading)

    async def begun(self) -> None:
        """Wait until its program runs; until then process 1 is bubblewrap, which makes the mounts.

        Raises StartError if that fails.
        """
        await self._named.wait()
        comm = Path(f"/proc/{self.pid}/comm")
        while self.running and self.pid:
            try:
                if comm.read_text() != "bwrap\n":  # noqa: ASYNC240 - in memory
                    return
            except OSError:
                break
            await asyncio.sleep(0.002)
        await self.wait()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._end.done()

    async def wait(self) -> int:
        """Wait for its end: the exit code, 128 + number if a signal ended it; StartError if it never began."""
        return await asyncio.shield(self._end)

    def send(self, number: int) -> None:
        """Send a signal to the container's process 1, whose end is that of all its processes."""
        if self.running and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, also while it is being made."""
        if self.running:
            self._child.signal(signal.SIGKILL)

    async def _follow(self) -> int:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._status, ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                try:
                    data = os.read(self._status, 4096)
                except BlockingIOError:  # told twice of what was read once
                    continue
                self._told += data
                if b"\n" in self._told and not self.pid:
                    self.pid = int(json.loads(self._told.split(b"\n")[0])["child-pid"])
                    self._named.set()
                if not data:
                    break
        finally:
            loop.remove_reader(self._status)
            os.close(self._status)
            self._named.set()
        code = await asyncio.to_thread(self._child.wait)
        if code > 0 and b"exit-code" not in self._told:
            raise StartError(self._child.log_tail(3).strip() or f"bwrap ended with code {code}")
        return code if code >= 0 else 128 - code

"""The guard: a tiny process that outlives its owner by a moment and cleans up after it.

Run by file name with an isolated interpreter (``python -I -S guard.py FOLDER``), so it imports the standard
library only. Its standard input is a pipe whose other end only the owner holds: when the owner dies, however
it dies, the pipe ends, and the guard kills every process that was named to it, and its own process group, and
removes the folder. PR_SET_PDEATHSIG is not used because it fires when the *thread* that started the child
ends, and fixtures run in threads.

Lines understood: ``+PID`` watch over a process, ``-PID`` it has ended in good order. An owner that closes in good
order kills the guard together with its process group.
"""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import sys
from pathlib import Path


def main() -> None:
    """Wait for the owner's end; then kill, remove and leave."""
    folder, owner = Path(sys.argv[1]), os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pids: set[int] = set()
    with (folder / "guard.lock").open("w") as lock:
        # Held for our whole life: a folder whose lock is free is stale and may be swept by the next run.
        fcntl.flock(lock, fcntl.LOCK_EX)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        _listen(pids, folder, owner)
        for pid in pids:
            _kill(pid)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)


def _listen(pids: set[int], folder: Path, owner: int) -> None:
    """Follow the owner's lines until it ends."""
    rest = b""
    while True:
        readable, _, _ = select.select([0], [], [], 1.0)
        if not readable:
            # A forked child of the owner can keep the pipe open; the parent's pid tells the truth.
            if os.getppid() != owner:
                return
            continue
        data = os.read(0, 4096)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            pid = int(line[1:])
            pids.add(pid) if line[:1] == b"+" else pids.discard(pid)
        (folder / "pids").write_text(" ".join(str(pid) for pid in sorted(pids)))


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()

"""Ports for servers that have to be told theirs, which nobody else takes before they start or while they restart.

A port that the system chooses (a ``bind`` to port 0) is free again once it has been asked for, and may be somebody
else's by the time its server starts. These ports lie below those that Linux and macOS choose from, and each is locked
for as long as this process lives, so that runs side by side do not choose the same one. The locks are bytes of one
file, which the system releases whatever becomes of the process; nothing is left to be cleaned up.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import threading
from functools import cache
from pathlib import Path

__all__ = ["PORTS", "free_port"]

PORTS = range(20000, 30000)
"""What is chosen from."""

_taken: set[int] = set()
_lock = threading.Lock()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that is this process's from now on.

    Raises RuntimeError when there is none left.
    """
    with _lock:
        for port in random.sample(PORTS, len(PORTS)):
            # A process's own locks do not exclude each other.
            if port not in _taken and _reserve(port):
                _taken.add(port)
                if _is_free(port):
                    return port
    raise RuntimeError(f"cannot find a free port from {PORTS.start} to {PORTS.stop - 1}: all are taken")


@cache
def _locks() -> int:
    path = Path(tempfile.gettempdir()) / f"kubernaut-ports-{os.getuid()}"
    # Never closed: that would release all locks on it.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _reserve(port: int) -> bool:
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""`python -m demo [--keep] [--bare] [--context NAME] [--dir FOLDER]`; `make demo` runs it.

Exit code 0: everything was as it must be. 1: something differed, or the demo could not run; it says what. 130: Ctrl-C.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from demo.ground import DemoError
from demo.places import on_existing_cluster, on_own_control_plane
from demo.screen import Screen
from kubernaut_runtime import ConnectError
from kubernaut_status import TransportError
from kubernaut_testing import binaries
from kubernaut_testing.controlplane import ControlPlaneError
from kubernaut_testing.rest import ApiError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    # A supervisor's SIGTERM must clean up as Ctrl-C does, most of all in somebody's cluster.
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started it in the background
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    screen = Screen()
    try:
        with _folder(options.dir) as folder:
            if options.context is None:
                return on_own_control_plane(screen, folder, keep=options.keep, bare=options.bare)
            return on_existing_cluster(screen, folder, options.context, keep=options.keep)
    except KeyboardInterrupt:
        print("\nended before it was done", file=sys.stderr)
        return 130
    except (
        *(DemoError, ApiError, ConnectError, TransportError, ControlPlaneError, binaries.ToolUnavailableError),
        *(LookupError, OSError, TimeoutError),
    ) as error:
        text = str(error.args[0] if isinstance(error, LookupError) and error.args else error)
        print(f"\n{text if text.startswith('cannot') else f'cannot run the demo: {text}'}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Classifies signals and delivers notifications on a real API server, and proves what that cost.",
    )
    parser.add_argument("--bare", action="store_true", help="operators as bare processes, not installed by helm")
    parser.add_argument("--keep", action="store_true", help="stay up for a look around, until Ctrl-C")
    parser.add_argument(
        "--context",
        metavar="NAME",
        help="use the existing cluster of this context (looked up in $KUBECONFIG, else ~/.kube/config) instead of a "
        "control plane of its own",
    )
    parser.add_argument(
        "--dir", type=Path, default=Path(".demo"), metavar="FOLDER", help="for logs and deliveries (default: .demo)"
    )
    return parser


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """The demo's folder, emptied of the last run's files and locked against another run."""
    path = path.resolve()
    mark = path / ".lock"
    if path.exists() and not mark.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DemoError(f"cannot use {path}: it is not a folder of the demo's and not empty; give another with --dir")
    path.mkdir(parents=True, exist_ok=True)
    with mark.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"cannot use {path}: another demo runs in it; end that, or give --dir") from None
        for entry in path.iterdir():
            if entry != mark:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield path


if __name__ == "__main__":
    sys.exit(main())

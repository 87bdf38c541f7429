"""Hot reload of mounted files: notice a change, try it, keep the last good one.

The *folder* is watched, since kubelet changes a ConfigMap or Secret by renaming its `..data` link, editors
rename a new file into place, and people edit in place; one watch sees all three. Changes settle for 200 ms, then
the sha256 of the content decides whether there is news. A look every 30 s finds what the kernel did not tell
(network file systems, a folder that was itself replaced, a node whose inotify limits are used up).

A callback that raises keeps the last good content in force: it is counted in `config_reload_total{file,result}`, shown
by `config_last_reload_successful{file}` until the content on disk is in force again, told in one log line, and handed
to `on_failure` (the process writes an Event on its own Pod). What it raises with `retryable` set says nothing about the
content, which is handed to it again at the next look.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge
from watchfiles import awatch

log = logging.getLogger(__name__)

ReloadCallback = Callable[[bytes], Awaitable[None] | None]
"""Gets the file's new content (`b""` for a folder); raises to refuse it."""

_DEBOUNCE_MS = 200
_LOOK_EVERY_MS = 30_000


class ReloadMetrics:
    """`config_reload_total{file,result}` (`ok` or `failed`) and `config_last_reload_successful{file}`."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._reloads = Counter(
            "config_reload_total",
            "Times that a changed file was read again, by what became of it.",
            ("file", "result"),
            registry=registry,
        )
        self._in_force = Gauge(
            "config_last_reload_successful",
            "1 while the content on disk is in force, 0 while it was refused or cannot be read.",
            ("file",),
            registry=registry,
        )

    def begin(self, file: Path) -> None:
        """Show the counters of `file` from 0 on, so that its first reload is seen as an increase."""
        for result in ("ok", "failed"):
            self._reloads.labels(str(file), result)

    def count(self, file: Path, result: str) -> None:
        """Count one reload of `file`."""
        self._reloads.labels(str(file), result).inc()
        self.in_force(file, result == "ok")

    def in_force(self, file: Path, value: bool) -> None:
        """Note whether what is on disk is what the process works with."""
        self._in_force.labels(str(file)).set(value)


class FileWatcher:
    """Watches one file, or all files directly in one folder.

    `digest` is the sha256 (hex) of the content already in use; without it call `load` before `run`.
    `on_failure(path, reason)` hears of content that was refused; the reason is one line.
    """

    def __init__(
        self,
        path: Path,
        callback: ReloadCallback,
        *,
        metrics: ReloadMetrics,
        digest: str | None = None,
        on_failure: Callable[[Path, str], None] | None = None,
    ) -> None:
        self.path = path
        self._callback = callback
        self._metrics = metrics
        metrics.begin(path)
        self._on_failure = on_failure
        self._seen = digest
        self._unreadable = False
        self._refused = False
        self.watching = asyncio.Event()
        """Set once the kernel watch stands: later changes are noticed at once."""

    async def load(self, *, required: bool = True) -> None:
        """Hand the present content to the callback. What it raises is the caller's: a bad first load ends the start.

        Not so where the content is not `required`: then a bad first load is told like a bad reload.
        """
        try:
            content, self._seen = await asyncio.to_thread(_read, self.path)
        except OSError as error:
            if required:
                raise
            self._missing(error)
            return
        try:
            await self._call(content)
        except Exception as error:
            if required:
                raise
            self._refuse(error)
            return
        self._metrics.in_force(self.path, True)

    def accepted(self) -> None:
        """Content that the callback refused is in force after all: what it lacked has come."""
        if self._refused:
            self._refused = False
            self._metrics.in_force(self.path, not self._unreadable)

    async def run(self) -> None:
        """Watch until cancelled."""
        self._metrics.in_force(self.path, not (self._refused or self._unreadable))
        while True:
            try:
                await self._follow(self.path if self.path.is_dir() else self.path.parent)
            except (OSError, RuntimeError) as error:  # RuntimeError: watchfiles, when the node has no inotify left
                log.warning("cannot watch a folder, trying again", extra={"file": str(self.path), "error": str(error)})
            await asyncio.sleep(_LOOK_EVERY_MS / 1000)
            await self.check()

    async def _follow(self, folder: Path) -> None:
        changes = awatch(
            folder,
            watch_filter=None,
            step=_DEBOUNCE_MS,  # quiet time that ends a burst
            debounce=5 * _DEBOUNCE_MS,  # the longest burst that is waited for
            rust_timeout=_LOOK_EVERY_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        while True:
            # The kernel watch is set up in the first step of the generator; only then is a look complete.
            burst = asyncio.ensure_future(anext(changes))
            try:
                await asyncio.sleep(0)
                await self.check()
                self.watching.set()
                await burst
            except StopAsyncIteration:
                return
            finally:
                if not burst.done():
                    burst.cancel()

    async def check(self) -> None:
        """Look once: read, compare, and call back if the content is new."""
        try:
            content, digest = await asyncio.to_thread(_read, self.path)
        except OSError as error:
            self._missing(error)
            return
        if digest == self._seen:
            if self._unreadable:
                self._unreadable = False
                self._metrics.in_force(self.path, not self._refused)
            return
        self._unreadable = False
        self._seen = digest
        try:
            await self._call(content)
        except Exception as error:  # noqa: BLE001 (whatever a callback refuses with, the old content stays)
            self._refuse(error)
            if getattr(error, "retryable", False):
                self._seen = None
            return
        self._refused = False
        self._metrics.count(self.path, "ok")
        log.info("reloaded", extra={"file": str(self.path), "sha256": digest[:12]})

    async def _call(self, content: bytes) -> None:
        result = self._callback(content)
        if inspect.isawaitable(result):
            await result

    def _missing(self, error: OSError) -> None:
        # Between two renames a file may be missing for a moment: told once, last good kept.
        if not self._unreadable:
            self._unreadable = True
            self._failed(f"cannot read {self.path}: {error.strerror or error}")

    def _refuse(self, error: Exception) -> None:
        self._refused = True
        self._failed(str(error) or type(error).__name__)

    def _failed(self, reason: str) -> None:
        line = "; ".join(part.strip() for part in reason.splitlines() if part.strip())
        self._metrics.count(self.path, "failed")
        log.error("cannot reload, the last good content stays", extra={"file": str(self.path), "error": line})
        if self._on_failure is not None:
            self._on_failure(self.path, line)


def _read(path: Path) -> tuple[bytes, str]:
    """Return (content, sha256); for a folder (b"", sha256 over names and contents of the files in it)."""
    if not path.is_dir():
        content = path.read_bytes()
        return content, hashlib.sha256(content).hexdigest()
    total = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.is_file() and not file.name.startswith(".."):
            total.update(file.name.encode("utf-8", "surrogateescape") + b"\0")
            try:
                total.update(hashlib.sha256(file.read_bytes()).digest())
            except PermissionError:
                total.update(b"unreadable")
    return b"", total.hexdigest()

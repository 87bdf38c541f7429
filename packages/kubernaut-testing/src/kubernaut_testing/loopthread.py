"""An event loop in a thread of its own, and servers in one: they answer while a test blocks."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from aiohttp import web

from kubernaut_testing.pki import server_context

__all__ = ["LoopServer", "LoopThread", "listen"]

T = TypeVar("T")


class LoopThread:
    """Starts at once; ``close()`` cancels what runs in it and ends the thread."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        # Transports close in callbacks; give them their turn before the loop goes.
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Exception):
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 30.0) -> T:
        """Run a coroutine there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def close(self) -> None:
        """End the thread; harmless when repeated."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)


async def listen(runner: web.AppRunner, ssl_context: Any = None, *, port: int = 0) -> int:
    """Serve on loopback, on a free port unless one is given; returns the port."""
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=ssl_context, reuse_address=True)
    await site.start()
    address: tuple[str, int] = runner.addresses[0]
    return address[1]


class LoopServer(ABC):
    """A server on loopback in a thread of its own; a context manager.

    Args:
        name: of the thread, of the certificate, and in the name of its folder of temporary files.
        tls: make a certificate that nobody trusts unless told to (``ca_file``).
        port: 0 takes a free one; ``start`` after ``stop`` takes the same again, as a server that was away does.
    """

    def __init__(self, name: str, *, tls: bool, port: int = 0) -> None:
        self._name = name
        self._tls = tls
        self._port = port
        self._thread: LoopThread | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def start(self) -> Self:
        """Begin to listen. Harmless when repeated."""
        if self._thread is None:
            context = server_context(self.folder, self._name) if self._tls else None
            thread = LoopThread(self._name)
            try:
                self._port = thread.run(self._listen(context, self._port))
            except BaseException:
                thread.close()
                raise
            self._thread = thread
        return self

    def stop(self) -> None:
        """Stop listening and cut what is open; what was received stays. Harmless when repeated."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(TimeoutError):  # what does not end is cancelled with its loop
                thread.run(self._close(), timeout=10)
            thread.close()

    @property
    def folder(self) -> Path:
        """For its temporary files; gone after the context manager."""
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix=f"kubernaut-{self._name}-")
        return Path(self._temporary.name)

    @property
    def ca_file(self) -> Path | None:
        """The authority of its certificate; None without TLS."""
        return self.folder / "ca.crt" if self._tls else None

    @abstractmethod
    async def _listen(self, tls: ssl.SSLContext | None, port: int) -> int:
        """Listen on loopback; returns the port."""

    @abstractmethod
    async def _close(self) -> None:
        """Stop listening and cut what is open."""

"""The kubelet's endpoint for ``kubectl logs`` and ``helm test --logs``: the API server forwards the request to here.

Only logs: exec, attach and port-forward are not served. It listens on loopback, on a free port that the Node tells the
API server, and asks for no credentials: the API server has checked them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from kubernaut_testing.kubelet.container import Container
from kubernaut_testing.loopthread import listen
from kubernaut_testing.pki import server_context

__all__ = ["LogServer"]

_POLL = 0.2


class LogServer:
    """Serves ``/containerLogs/<namespace>/<pod>/<container>``; made and used inside a running loop.

    Args:
        find: the container by namespace, pod and name; LookupError if there is none.
        folder: for its certificate.
    """

    def __init__(self, find: Callable[[str, str, str], Container], folder: Path) -> None:
        self._find = find
        self._folder = folder
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start(self) -> int:
        """Listen; the port."""
        return await listen(self._runner, server_context(self._folder, "local-kubelet"))

    async def stop(self) -> None:
        """Close the port and all connections."""
        await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        wanted = request.match_info
        try:
            container = self._find(wanted["namespace"], wanted["pod"], wanted["container"])
        except LookupError as error:
            return web.Response(status=404, text=str(error))
        path = container.log_path(previous=request.query.get("previous") == "true")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with path.open("ab+") as log:
            log.seek(0)
            content = log.read()
            if (lines := request.query.get("tailLines")) is not None:
                kept = content.splitlines(keepends=True)
                content = b"".join(kept[max(len(kept) - int(lines), 0) :])
            limit = int(request.query.get("limitBytes", len(content)))
            await response.write(content[:limit])
            while request.query.get("follow") == "true":
                # What was written before the end is read after it has been seen.
                ended = "running" not in container.state
                if content := log.read():
                    await response.write(content)
                elif ended:
                    break
                await asyncio.sleep(_POLL)
        return response

"""The sink that the config asks for, with all that belongs to it.

| `datastorage` | `audit.file` | events go |
|---|---|---|
| – | – | to standard output, one JSON line each |
| – | set | to the file |
| set | – | to Data Storage |
| set | set | to Data Storage; what it does not get goes to the file |

With `datastorage` readiness waits for it (gate `datastorage`), and at the end of the process what waits is sent for at
most `FLUSH_SECONDS`. A process that lost events ends with exit code 1, as the Go controllers do.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubernaut_runtime.connection import SERVICE_ACCOUNT, TokenFile
from kubernaut_runtime.flags import StartError
from kubernaut_runtime.runtime import Runtime
from kubernaut_runtime.sections import DataStorageSection

from .accounts import Accounts
from .client import DataStorageClient, Trust, server_of
from .datastorage import DataStorageSink
from .events import AuditSink, EventSource
from .gate import NAME, ReadinessGate
from .jsonlines import JsonLinesSink, LineFile

log = logging.getLogger(__name__)

CA_FILE_ENV = "TLS_CA_FILE"
"""Environment variable with the authority of Data Storage's certificate (PEM); without it the system's are trusted."""

FLUSH_SECONDS = 5.0
"""How long the end of the process may wait for Data Storage: passes have had 17.5 of 25 s, Events come after."""


async def open_sink(runtime: Runtime[Any], source: EventSource, *, account: Path = SERVICE_ACCOUNT) -> AuditSink:
    """Return the sink for `source`'s events, and register with `runtime` what it needs to run and to end.

    To be called in `setup`. `account` is the folder with the ServiceAccount's token.
    Raises `StartError` if `audit.file` or the CA file cannot be used.
    """
    accounts = Accounts(source.service, runtime.registry, runtime.clock.monotonic)
    file = _open_file(runtime.config.audit.file)
    section = runtime.config.datastorage
    if section is None:
        lines = JsonLinesSink(file, accounts, payloads=source.payloads, now=runtime.clock.now)

        def end_lines() -> None:
            lines.close()
            accounts.settle()

        runtime.on_shutdown(end_lines, "audit")
        log.info("audit events are written as JSON lines", extra={"to": str(file.path) if file else "stdout"})
        return lines

    client = await _client(runtime, section, account)
    sink = DataStorageSink(client, section.buffer, accounts, payloads=source.payloads, spare=file, clock=runtime.clock)
    gate = ReadinessGate(client, section.health_url, runtime.clock)

    async def end() -> None:
        try:
            await sink.close(FLUSH_SECONDS)
        finally:
            await client.close()
            if file is not None:
                file.close()
            accounts.settle()

    runtime.add_readiness(NAME, gate.check)
    runtime.add_task("audit", sink.run)
    runtime.add_task("data storage gate", gate.run)
    runtime.on_shutdown(end, "audit")
    log.info("audit events are sent to Data Storage", extra={"server": server_of(section.url)})
    return sink


async def _client(runtime: Runtime[Any], section: DataStorageSection, account: Path) -> DataStorageClient:
    trust = Trust(runtime.config.tls_profile)
    ca_file = os.environ.get(CA_FILE_ENV)
    if ca_file and any(urlsplit(url).scheme == "https" for url in (section.url, section.health_url)):
        try:
            await runtime.watch_file(Path(ca_file), trust.load)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StartError(
                f"cannot use the CA file {ca_file}, named by {CA_FILE_ENV}: {reason}; mount it or unset {CA_FILE_ENV}"
            ) from None
    return DataStorageClient(
        section.url,
        section.health_url,
        user_agent=runtime.user_agent,
        timeout=section.timeout,
        token=TokenFile(account / "token"),
        trust=trust,
    )


def _open_file(path: Path | None) -> LineFile | None:
    if path is None:
        return None
    try:
        return LineFile(path)
    except OSError as error:
        raise StartError(
            f"cannot write audit.file {path}: {error.strerror}; create its folder, or allow writing there"
        ) from None

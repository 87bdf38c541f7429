"""One request to Data Storage: who we are, whom we trust, and what an answer means. Sending again is the sink's doing.

* **Token**: that of the pod's ServiceAccount, read again when the file changed and at least once a minute; after a 401
  whatever the file says. Without a file (outside a cluster) requests go without a token, which is told once.
* **TLS**: `TLS_CA_FILE` names the authority, and only that is trusted; else the system's. A changed file is used by the
  next request. `tlsProfile: Modern` asks for TLS 1.3; anything else for 1.2 (`Old` allows less elsewhere, but a client
  gains nothing by it).
* Redirects are not followed: a token belongs to one address. Idle connections are closed after 15 s, because a pod
  that has moved leaves dead ones behind. A text about a failure holds no URL and no token.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from kubernaut_runtime.connection import TokenFile
from kubernaut_status.aiohttp_client import retry_after_seconds

log = logging.getLogger(__name__)

BATCH_PATH = "/api/v1/audit/events/batch"
IDLE_SECONDS = 15.0
HEALTH_SECONDS = 10.0
_READ = 8192
_SHOWN = 200


class NoAnswerError(Exception):
    """No answer came; the events may have arrived all the same. The text says why in a few words, without a URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Data Storage said: status code, Retry-After in seconds, and the reason of a refusal (one line)."""

    code: int
    retry_after: float | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """201: stored; 202: the database was away, the events are in the dead-letter queue."""
        return 200 <= self.code < 300


class Trust:
    """The TLS settings, which may change while the process runs; `context` is what the next request uses."""

    def __init__(self, profile: str = "") -> None:
        self._least = ssl.TLSVersion.TLSv1_3 if profile == "Modern" else ssl.TLSVersion.TLSv1_2
        self.context = self._context(None)

    def load(self, content: bytes) -> None:
        """Trust the authorities in `content` (PEM) and no other. Raises ValueError if there are none."""
        try:
            text = content.decode("utf-8")
            if "-----BEGIN CERTIFICATE-----" not in text:
                raise ValueError("no certificate")
            self.context = self._context(text.encode("ascii", "ignore").decode())  # comments may hold anything
        except (ssl.SSLError, ValueError):
            raise ValueError("it holds no certificates in PEM format") from None

    def _context(self, authorities: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=authorities)
        context.minimum_version = self._least
        return context


class DataStorageClient:
    """Talks to one Data Storage; an async context manager, to be made within the event loop.

    `url` is its base, `health_url` what readiness asks; `timeout` is for one request, in seconds.
    """

    def __init__(
        self,
        url: str,
        health_url: str,
        *,
        user_agent: str,
        timeout: float = 10.0,
        token: TokenFile | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._batch_url = url.rstrip("/") + BATCH_PATH
        self._health_url = health_url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._token = token
        self._trust = trust or Trust()
        self._told_tokenless = False
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=4, keepalive_timeout=IDLE_SECONDS),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, body: bytes) -> Answer:
        """POST a JSON array of events once. Raises `NoAnswerError`."""
        try:
            async with self._session.post(
                self._batch_url,
                data=body,
                headers={"Content-Type": "application/json", **self._authorization()},
                ssl=self._trust.context,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                if response.status == 401 and self._token is not None:
                    self._token.forget()
                if 200 <= response.status < 300:
                    return Answer(response.status)
                reason = _reason(await _content(response))
                return Answer(response.status, retry_after_seconds(response.headers), reason)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(_cause(error)) from None

    async def health(self) -> str | None:
        """Return None if the health URL answers 2xx, else what it does instead."""
        try:
            async with self._session.get(
                self._health_url,
                ssl=self._trust.context,
                timeout=aiohttp.ClientTimeout(total=HEALTH_SECONDS),
            ) as response:
                return None if 200 <= response.status < 300 else f"it answers {response.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _cause(error)

    def _authorization(self) -> Mapping[str, str]:
        if self._token is None:
            return {}
        if token := self._token():
            return {"Authorization": f"Bearer {token}"}
        if not self._told_tokenless:
            self._told_tokenless = True
            log.warning(
                "audit events are sent without a ServiceAccount token: %s is missing or empty", self._token.path
            )
        return {}


def server_of(url: str) -> str:
    """Return host and port of `url`, for logs."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


async def _content(response: aiohttp.ClientResponse) -> bytes:
    with contextlib.suppress(aiohttp.ClientError, OSError):
        return await response.content.read(_READ)
    return b""


def _reason(body: bytes) -> str:
    """The reason in an RFC 7807 answer, on one line: never the dump of a value that may follow it."""
    try:
        problem: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(problem, dict):
        return ""
    parts = [part for key in ("title", "detail") if isinstance(part := problem.get(key), str) and part.strip()]
    if isinstance(fields := problem.get("field_errors"), dict):
        parts.append(", ".join(map(str, fields)))
    return ": ".join(part.strip().splitlines()[0][:_SHOWN] for part in parts if part.strip())


def _cause(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({_verification(error.certificate_error)})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return "its URL is not an http(s) address"
    return f"the connection was lost ({type(error).__name__})"


def _verification(error: Exception) -> str:
    return str(getattr(error, "verify_message", "") or "verification failed")

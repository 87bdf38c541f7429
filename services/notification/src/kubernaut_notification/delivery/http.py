"""What the HTTP channels share: one POST, its answer, and which failures are worth a retry (BR-NOT-055, BR-NOT-058).

| outcome | class |
|---|---|
| 200..299, whatever the body | success |
| 429, 500..599 | retryable; Retry-After (seconds or date) is passed on |
| 307, 308 | followed; see below |
| any other status | permanent |
| a certificate or TLS handshake that fails | permanent |
| no connection, connection lost, no answer in time | retryable; where the request may have arrived, the text says so |

A redirect that keeps the message (307, 308) is followed `MAX_REDIRECTS` times: on the same server, or to https on
another if nothing that is sent proves who we are. The others (301, 302, 303) ask for a GET without the message; the
page behind them may well answer 200, so following one would count a lost message as delivered. They are permanent
errors that ask to correct the URL, and show neither it nor where it leads.

The URL is a credential, and so is what a channel puts into headers or body to prove who it is. No error text is taken
from an exception that might quote one, and no exception is chained to another; what the receiver answers is searched
for the secrets and the URL's parts before it is kept.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from yarl import URL

from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.credentials import Secret
from kubernaut_notification.delivery.payload import to_json
from kubernaut_notification.delivery.proxies import proxy_for
from kubernaut_notification.delivery.redaction import redact, without_secrets
from kubernaut_runtime.text import cut, one_line

MAX_BODY = 512
"""Code points of a receiver's answer that are kept in an error text."""

MAX_REDIRECTS = 5
"""Redirects that one call follows."""

_KEEPING, _LOSING = (307, 308), (301, 302, 303)
_CONNECT_SHARE = 0.75
"""Part of a call's time in which it must be connected: what ends by this was surely not delivered."""

_READ_BODY = 4096
OUTCOME_UNKNOWN = "; the receiver may have the message all the same"
TLS_TEXT = "TLS certificate validation failed (permanent failure - BR-NOT-058)"
_UNSENDABLE = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError)


def is_webhook_url(url: str) -> bool:
    """Whether `url` is an http or https address with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, from `now`; None if absent or unreadable."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def webhook_url(name: str, secret: Secret) -> str:
    """Return the URL that `secret` holds now; `name` leads the error text.

    Raises `PermanentError` without the URL if it is empty or no http(s) address.
    """
    url = secret.value()
    if not url:
        raise PermanentError(f"{label(name)} URL is empty: {secret.advice()}", reason="credential")
    if not is_webhook_url(url):
        advice = secret.advice().replace("put it into", "correct", 1)
        raise PermanentError(f"{label(name)} URL is not an http(s) address: {advice}", reason="credential")
    return url


def label(name: str) -> str:
    """Return how texts call the receiver of a channel type: `slack webhook`, but plain `webhook`."""
    return name if name == "webhook" else f"{name} webhook"


def url_secrets(url: str) -> list[str]:
    """Return what must not be shown of `url`: itself, path, query, user info, and every longer part of them."""
    parts = urlsplit(url)
    pieces = [
        piece for piece in re.split(r"[/?&=#]", f"{parts.path}?{parts.query}#{parts.fragment}") if len(piece) >= 6
    ]
    whole = [url, parts.path if len(parts.path) > 1 else "", parts.query, parts.password or parts.username or ""]
    if parts.username or parts.password:
        whole.append(_basic(unquote(parts.username or ""), unquote(parts.password or "")))
    return [text for text in (*whole, *pieces) if text]


class HttpPoster:
    """POSTs JSON through a shared session. `name` (slack, ...) leads every error text; `timeout` is for one call."""

    def __init__(
        self,
        name: str,
        session: aiohttp.ClientSession,
        *,
        timeout: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._label = label(name)
        self._session = session
        self._timeout = timeout if timeout > 0 else 10.0
        self._now = now

    async def post(
        self,
        url: str,
        payload: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        *,
        secrets: Iterable[str] = (),
    ) -> None:
        """Send `payload` once; return when it was accepted.

        `secrets` are further texts beside the URL that the receiver knows and no error may show. Raises
        `RetryableError` or `PermanentError` as the table in the module's docstring says.
        """
        failure: DeliveryError | None
        try:
            failure = await self._send(url, to_json(payload), dict(headers or {}), list(secrets))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = self._failed(error)
        if failure is not None:
            raise failure

    async def _send(self, url: str, body: bytes, headers: dict[str, str], secrets: list[str]) -> DeliveryError | None:
        """POST, and POST again where a redirect leads that may be followed; None if it was accepted."""
        address = URL(url)
        if address.user or address.password:
            headers["Authorization"] = f"Basic {_basic(address.user or '', address.password or '')}"
            address = address.with_user(None)
        proves = bool(secrets) or "Authorization" in headers
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.post(
                address,
                data=body,
                headers={"Content-Type": "application/json", **headers},
                timeout=aiohttp.ClientTimeout(
                    total=max(0.001, deadline - loop.time()), connect=_CONNECT_SHARE * self._timeout
                ),
                allow_redirects=False,
                proxy=proxy_for(address),
            ) as response:
                if 200 <= response.status < 300:
                    return None
                if response.status not in _KEEPING:
                    return await self._refused(response, [*secrets, *url_secrets(url)])
                target = _target(address, response.headers.get("Location"))
                if target is None:
                    return self._misled(response.status, "to where a message must not go")
                if proves and target.origin() != address.origin():
                    return self._misled(response.status, "to another server, which must not see the credential")
                address = target
        return RetryableError(f"{self._label} request failed: too many redirects", reason="redirects")

    def _misled(self, status: int, where: str) -> PermanentError:
        text = f"{self._label} returned {status} (permanent failure): it redirects {where}; correct the URL"
        return PermanentError(text, reason="redirects")

    async def _refused(self, response: aiohttp.ClientResponse, secrets: Iterable[str]) -> DeliveryError:
        if response.status in _LOSING:
            return self._misled(response.status, "to a page and drops the message")
        body = await _answer(response, secrets)
        if response.status == 429 or 500 <= response.status < 600:
            return RetryableError(
                f"{self._label} returned {response.status} (retryable): {body}",
                parse_retry_after(response.headers.get("Retry-After"), self._now()),
                reason="rate_limited" if response.status == 429 else "server_error",
            )
        text = f"{self._label} returned {response.status} (permanent failure): {body}"
        return PermanentError(text, reason="rejected")

    def _failed(self, error: Exception) -> DeliveryError:
        if tls := tls_problem(error):  # first: a certificate error is also a ValueError
            return PermanentError(f"{TLS_TEXT}: {tls}", reason="tls")
        if isinstance(error, _UNSENDABLE):
            return PermanentError(f"{self._label} URL is not an http(s) address", reason="bad_url")
        cause, reason, arrived = _transport_problem(error, self._timeout)
        return RetryableError(
            f"{self._label} request failed: {cause}{OUTCOME_UNKNOWN if arrived else ''}",
            reason=reason,
            outcome_unknown=arrived,
        )


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _target(address: URL, location: str | None) -> URL | None:
    """Return where `location` leads from `address`, without a user; None if that is no place to follow to."""
    try:
        target = address.join(URL(location or "")).with_user(None)
        followed = target.scheme == "https" or target.origin() == address.origin()
    except ValueError:
        return None
    return target if location and followed and target.host else None


async def _answer(response: aiohttp.ClientResponse, secrets: Iterable[str]) -> str:
    raw = b""
    try:
        while len(raw) < _READ_BODY and (chunk := await response.content.read(_READ_BODY - len(raw))):
            raw += chunk
    except (aiohttp.ClientError, OSError):
        return "(the answer's body could not be read)"
    return told(raw.decode("utf-8", errors="replace"), secrets, cut_off=len(raw) >= _READ_BODY)


def told(answer: str, secrets: Iterable[str], *, cut_off: bool = False) -> str:
    """Return what a receiver answered as an error text may quote it: no secrets, one line, `MAX_BODY` code points."""
    return cut(redact(one_line(without_secrets(answer, secrets, cut_off=cut_off))), MAX_BODY)


def tls_problem(error: BaseException) -> str:
    """Return what is wrong with the receiver's certificate or handshake, empty if that is not the trouble."""
    inner = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message or "certificate verify failed"
    if isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return ""  # the connection ended during the handshake: nothing is said about the certificate
    if isinstance(inner, ssl.SSLError):
        return str(inner.reason or "handshake failed").replace("_", " ").lower()
    if isinstance(error, aiohttp.ClientSSLError | ssl.CertificateError | aiohttp.ServerFingerprintMismatch):
        return "handshake failed"
    return ""


def _transport_problem(error: Exception, timeout: float) -> tuple[str, str, bool]:
    """Return a text without any address, a word for metrics, and whether the request may have arrived."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "timed out while connecting", "timeout", False
    if isinstance(error, asyncio.TimeoutError):
        return f"timed out: no answer within {timeout:g} s", "timeout", True
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "host name could not be resolved", "connection", False
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        # The exception's own text names the address.
        cause = os.strerror(number) if number > 0 else type(error.os_error).__name__
        return f"cannot connect: {cause}", "connection", False
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy does not connect: it answers {error.status}", "proxy", False
    return "connection lost before an answer was read", "connection", True

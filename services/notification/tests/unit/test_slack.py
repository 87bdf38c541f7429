"""The Slack channel against a real HTTP server."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import json
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.credentials import InlineSecret
from kubernaut_notification.delivery.http import HttpPoster, is_webhook_url, parse_retry_after, url_secrets
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.redaction import without_secrets
from kubernaut_notification.delivery.registry import http_session
from kubernaut_notification.delivery.slack import SlackChannel, payload

MakeNR = Callable[..., NotificationRequest]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECRET_PATH = "/services/T0SECRET0/B0SECRET0/k3yk3yk3yk3y"
NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


@dataclass
class Hook:
    """A webhook that answers as told and keeps what it got."""

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    handler: Handler | None = None
    got: list[Any] = field(default_factory=list)
    content_types: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{SECRET_PATH}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.content_types.append(request.headers["Content-Type"])
        self.got.append(json.loads(await request.read()))
        if self.handler is not None:
            return await self.handler(request)
        return web.Response(status=self.status, text=self.body, headers=self.headers)


async def serve(answer: Handler, context: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port: int = runner.addresses[0][1]
    return runner, port


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    runner, made.port = await serve(made.answer)
    yield made
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with http_session() as made:
        yield made


async def deliver(
    session: aiohttp.ClientSession, url: str, nr: NotificationRequest, timeout: float = 20.0
) -> DeliveryError | None:
    """Deliver once; return the error, after checking that neither it nor its traceback shows the URL's secret."""
    secret = InlineSecret(url, "put it into the credential file 'hook'")
    channel = SlackChannel(secret, HttpPoster("slack", session, timeout=timeout, now=lambda: NOW))
    try:
        await channel.deliver(Message(nr, "slack:a", 1, NOW))
    except DeliveryError as error:
        shown = error.text + "".join(traceback.format_exception(error))
        assert "k3yk3y" not in shown
        assert "T0SECRET0" not in shown
        return error
    return None


# --- what is sent -----------------------------------------------------------------------------------------------


@pytest.mark.behaviour(45)
async def test_the_message_is_three_blocks_and_two_flags(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    assert await deliver(session, hook.url, make_nr(priority="Critical", body="**b** <x>")) is None
    assert hook.got == [
        {
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "🚨 hello"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "*b* &lt;x>".replace(">", "&gt;")}},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": "*Priority:* Critical | *Type:* Simple"}]},
            ],
            "replace_original": False,
            "delete_original": False,
        }
    ]
    assert hook.content_types == ["application/json"]


@pytest.mark.parametrize(
    ("priority", "emoji"),
    [("Critical", "\U0001f6a8"), ("High", "⚠️"), ("Medium", "ℹ️"), ("Low", "\U0001f4ac"), ("P5", "\U0001f4e2")],
)
@pytest.mark.behaviour(45)
def test_the_header_starts_with_the_priority(make_nr: MakeNR, priority: str, emoji: str) -> None:
    assert payload(make_nr(priority=priority))["blocks"][0]["text"]["text"] == f"{emoji} hello"


def texts(nr: NotificationRequest) -> tuple[str, str]:
    header, section, _ = payload(nr)["blocks"]
    return header["text"]["text"], section["text"]["text"]


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_long_texts_are_cut_and_there_are_still_three_blocks(make_nr: MakeNR) -> None:
    header, section = texts(make_nr(subject="é" * 500, body="🚨" * 5000))
    assert len(header) == 150
    assert 2990 < units(section) <= 3000
    assert header.endswith("é…")
    assert section.endswith("🚨…")


def test_texts_at_the_limit_are_not_cut(make_nr: MakeNR) -> None:
    header, section = texts(make_nr(priority="Medium", subject="x" * 147, body="y" * 3000))
    assert (len(header), section) == (150, "y" * 3000)


@pytest.mark.parametrize("tail", ["&", "[a](https://example.com/abcdefgh)", "```\ncode\n", "`x`"])
@pytest.mark.parametrize("offset", range(2960, 3004))
def test_a_cut_never_splits_an_entity_a_link_or_a_fence(make_nr: MakeNR, tail: str, offset: int) -> None:
    _, section = texts(make_nr(body="x" * offset + tail + "y" * 200))
    assert units(section) <= 3000
    assert section.count("```") % 2 == 0
    assert section.count("<") == section.count(">")
    assert section.count("&") == section.count("&amp;")


@given(st.text(max_size=200), st.integers(1, 40))
@settings(max_examples=50)
def test_any_text_fits(text: str, times: int) -> None:
    nr = NotificationRequest.model_validate({"spec": {"subject": text * times, "body": text * times}})
    made = payload(nr)
    header, section, context = made["blocks"]
    assert units(header["text"]["text"]) <= 150
    assert 0 < units(section["text"]["text"]) <= 3000
    assert context["type"] == "context"
    json.dumps(made, ensure_ascii=False).encode()


def test_a_body_that_converts_to_nothing_is_no_empty_block(make_nr: MakeNR) -> None:
    assert texts(make_nr(body="```\n```"))[1] == "(no text)"


# --- what the answer means --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.behaviour(41)
async def test_any_2xx_is_success(hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR, status: int) -> None:
    hook.status = status
    hook.body = "" if status == 204 else "ok"
    assert await deliver(session, hook.url, make_nr()) is None


@pytest.mark.parametrize("body", ["{not json", "invalid_token", '{"ok":false}'])
@pytest.mark.behaviour(42)
async def test_the_body_of_a_success_does_not_matter(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR, body: str
) -> None:
    hook.body = body
    assert await deliver(session, hook.url, make_nr()) is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 599])
@pytest.mark.behaviour(41)
async def test_429_and_5xx_are_retryable(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR, status: int
) -> None:
    hook.status, hook.body = status, "busy"
    error = await deliver(session, hook.url, make_nr())
    assert isinstance(error, RetryableError)
    assert error.text == f"slack webhook returned {status} (retryable): busy"
    assert error.retry_after is None
    assert not error.outcome_unknown


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 408, 410, 499])
@pytest.mark.behaviour(24, 41)
async def test_every_other_answer_is_permanent(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR, status: int
) -> None:
    hook.status, hook.body = status, "" if status == 304 else "no_service"
    error = await deliver(session, hook.url, make_nr())
    assert isinstance(error, PermanentError)
    assert error.text == f"slack webhook returned {status} (permanent failure): {hook.body}"


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_passed_on(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR, status: int
) -> None:
    hook.status, hook.headers = status, {"Retry-After": "60"}
    error = await deliver(session, hook.url, make_nr())
    assert isinstance(error, RetryableError)
    assert error.retry_after == 60


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
        ("Sun, 01 Mar 2026 10:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 09:00:00 GMT", 0.0),
        ("Sun, 99 Mar 2026 09:00:00 GMT", None),
        ("Sun, 01 Mar 99999999999999999999 10:01:00 GMT", None),
        ("Sun, 01 Mar 2026 10:01:00 +99999999999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


async def test_a_long_answer_is_cut_and_cleaned(hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR) -> None:
    hook.status, hook.body = 500, "a\r\n\x1b[31mpassword=hunter2 " + "x" * 100_000
    error = await deliver(session, hook.url, make_nr())
    assert error is not None
    assert len(error.text) < 600
    assert "hunter2" not in error.text
    assert error.text.isprintable()


async def test_an_answer_that_quotes_the_url_does_not_leak_it(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    hook.status, hook.body = 404, f"no such hook: http://127.0.0.1{SECRET_PATH} ({SECRET_PATH.rsplit('/', 1)[1]})"
    assert isinstance(await deliver(session, hook.url, make_nr()), PermanentError)


# --- what happens without an answer -----------------------------------------------------------------------------


@pytest.mark.behaviour(43)
async def test_no_answer_in_time_is_retryable_and_says_that_the_outcome_is_unknown(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    release = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    hook.handler = hang
    error = await deliver(session, hook.url, make_nr(), timeout=1)
    release.set()
    assert isinstance(error, RetryableError)
    assert error.text.startswith("slack webhook request failed: timed out: no answer within 1 s")
    assert (error.outcome_unknown, error.reason) == (True, "timeout")


async def test_a_connection_that_does_not_come_about_in_time_is_surely_not_delivered(
    session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    """A firewall that drops packets looks like this; here nobody answers the TLS handshake."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}{SECRET_PATH}"
        error = await deliver(session, url, make_nr(), timeout=2)
    assert isinstance(error, RetryableError)
    assert error.text == "slack webhook request failed: timed out while connecting"
    assert (error.outcome_unknown, error.reason) == (False, "timeout")


async def test_a_connection_lost_after_the_request_is_an_unknown_outcome(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    hook.handler = drop
    error = await deliver(session, hook.url, make_nr())
    assert isinstance(error, RetryableError)
    assert error.outcome_unknown
    assert "the receiver may have the message all the same" in error.text


async def test_a_refused_connection_is_retryable_and_surely_not_delivered(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR, unused_port: int
) -> None:
    error = await deliver(session, f"http://127.0.0.1:{unused_port}{SECRET_PATH}", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text == "slack webhook request failed: cannot connect: Connection refused"
    assert not error.outcome_unknown


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.behaviour(43)
async def test_a_name_that_does_not_resolve_is_retryable(session: aiohttp.ClientSession, make_nr: MakeNR) -> None:
    error = await deliver(session, f"https://no-such-host.invalid{SECRET_PATH}", make_nr())
    assert isinstance(error, RetryableError)
    assert "slack" in error.text


@pytest.mark.parametrize(
    "url", ["hooks.slack.com/services/k3yk3yk3y", "ftp://host/k3yk3yk3y", "http://", "http://[::k3yk3y"]
)
async def test_a_url_that_is_none_is_permanent_and_not_shown(
    session: aiohttp.ClientSession, make_nr: MakeNR, url: str
) -> None:
    error = await deliver(session, url, make_nr())
    assert isinstance(error, PermanentError)
    assert "slack webhook URL is not an http(s) address" in error.text
    assert not is_webhook_url(url)


async def test_an_empty_url_is_permanent_and_names_the_credential(
    session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    error = await deliver(session, "", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text == "slack webhook URL is empty: put it into the credential file 'hook'"


def test_pieces_of_a_url_are_found_in_any_text() -> None:
    url = f"https://user:p4ss@h{SECRET_PATH}?token=abcdefgh"
    text = without_secrets(f"x {SECRET_PATH} k3yk3yk3yk3y T0SECRET0 token=abcdefgh p4ss", url_secrets(url))
    assert "p4ss" not in text
    assert not any(part in text for part in ("k3y", "SECRET0", "abcdefgh"))


@pytest.mark.parametrize(
    ("url", "sent"), [("https://me:p%40ss@h/", "me:p@ss"), ("https://t0kent0ken@h/", "t0kent0ken:")]
)
def test_what_a_url_says_of_its_user_is_found_as_the_header_that_it_becomes(url: str, sent: str) -> None:
    header = base64.b64encode(sent.encode()).decode()
    text = without_secrets(f'{{"authorization": "Basic {header}"}} p@ss t0kent0ken', url_secrets(url))
    assert header not in text
    assert ("p@ss" if "@ss" in sent else "t0kent0ken") not in text


# --- TLS --------------------------------------------------------------------------------------------------------


def certificate(folder: Path, host: str, *, expired: bool = False) -> ssl.SSLContext:
    """Write a self-signed certificate for `host` to `folder`, return a server context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(UTC)
    alternative: x509.GeneralName = (
        x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=-1 if expired else 1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "cert.pem"
    pem.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def deliver_over_tls(
    folder: Path, nr: NotificationRequest, context: ssl.SSLContext, *, trusted: bool
) -> tuple[DeliveryError | None, Hook]:
    hook = Hook()
    runner, port = await serve(hook.answer, context)
    trust = ssl.create_default_context(cafile=folder / "cert.pem") if trusted else True
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        error = await deliver(session, f"https://127.0.0.1:{port}{SECRET_PATH}", nr)
    await runner.cleanup()
    return error, hook


@pytest.mark.behaviour(44)
async def test_a_valid_certificate_is_accepted(tmp_path: Path, make_nr: MakeNR) -> None:
    error, hook = await deliver_over_tls(tmp_path, make_nr(), certificate(tmp_path, "127.0.0.1"), trusted=True)
    assert error is None
    assert len(hook.got) == 1


@pytest.mark.parametrize(
    ("host", "expired", "trusted"),
    [("127.0.0.1", True, True), ("other.example", False, True), ("127.0.0.1", False, False)],
    ids=["expired", "wrong host", "unknown authority"],
)
@pytest.mark.behaviour(44)
async def test_a_certificate_that_cannot_be_trusted_is_permanent(
    tmp_path: Path, make_nr: MakeNR, host: str, expired: bool, trusted: bool
) -> None:
    context = certificate(tmp_path, host, expired=expired)
    error, hook = await deliver_over_tls(tmp_path, make_nr(), context, trusted=trusted)
    assert isinstance(error, PermanentError)
    assert error.text.startswith("TLS certificate validation failed (permanent failure - BR-NOT-058): ")
    assert hook.got == []


@pytest.mark.behaviour(44)
async def test_a_server_that_speaks_no_tls_is_permanent(
    hook: Hook, session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    error = await deliver(session, hook.url.replace("http://", "https://"), make_nr())
    assert isinstance(error, PermanentError)
    assert "TLS certificate validation failed" in error.text


async def test_a_connection_closed_during_the_handshake_is_retryable(
    session: aiohttp.ClientSession, make_nr: MakeNR
) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = await deliver(session, f"https://127.0.0.1:{port}{SECRET_PATH}", make_nr())
    server.close()
    assert isinstance(error, RetryableError)

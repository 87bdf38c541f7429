"""The email channel: one mail per attempt, handed to a smarthost by SMTP.

| outcome | class |
|---|---|
| the server took the mail (250 after DATA) for all recipients | success |
| a 4xx reply at any point | retryable |
| a 5xx reply at any point | permanent |
| a certificate or handshake that fails; no STARTTLS where `requireTls` asks for it | permanent |
| no connection, connection lost, no answer in time | retryable; from DATA on the text says that the mail may be out |

TLS: port 465 speaks it from the start; on any other port STARTTLS is used wherever it is offered, and required unless
`requireTls: false`. A certificate is always verified, and a password is never sent over a connection without TLS.

Several recipients (`to: a@x, b@y`) share one mail, and nobody gets it twice:

* one of them is refused for now (4xx): nothing is sent, the attempt fails and all are tried again;
* some are refused for good (5xx): the others get the mail, and the attempt fails for good with the number of those who
  did not, because a status that says "sent" would hide them.

Recipients that must not wait for each other belong into entries of their own; each entry is a channel.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import aiosmtplib
from aiosmtplib import SMTP

from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.credentials import Secret
from kubernaut_notification.delivery.http import OUTCOME_UNKNOWN, TLS_TEXT, tls_problem, told
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.mime import mail, parse_addresses

IMPLICIT_TLS_PORT = 465
DEFAULT_PORT = 587
"""Port of a smarthost that is given without one: submission."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where mail goes, as an entry of `emailConfigs` says it; read anew at each attempt. `password` None: no login."""

    to: str
    sender: str
    smarthost: str
    require_tls: bool = True
    username: str = ""
    password: Secret | None = None


def parse_smarthost(text: str) -> tuple[str, int]:
    """Return host and port of `host`, `host:port` or `[v6 address]:port`. Raises ValueError."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    number = int(port) if port else DEFAULT_PORT
    if not host or any(char.isspace() or char == "/" for char in host) or not 0 < number < 65536:
        raise ValueError("not a host and port")
    return host, number


class EmailChannel:
    """Sends mail as `mailbox` says. `timeout` is for the whole conversation; `tls` checks the server's certificate."""

    def __init__(self, mailbox: Mailbox, tls: ssl.SSLContext, *, timeout: float = 10.0) -> None:
        self._mailbox = mailbox
        self._tls = tls
        self._timeout = timeout if timeout > 0 else 10.0

    async def deliver(self, message: Message) -> None:
        """Send the mail once.

        Raises `RetryableError` or `PermanentError` as the module's docstring says.
        """
        box = self._mailbox
        (sender,) = _parsed(lambda: parse_addresses(box.sender)[:1], "from", "one address")
        recipients = _parsed(lambda: parse_addresses(box.to), "to", "addresses, separated by commas")
        host, port = _parsed(lambda: parse_smarthost(box.smarthost), "smarthost", "host:port")
        password = box.password.value() if box.password else ""
        if box.password and not password:
            raise PermanentError(f"email password is empty: {box.password.advice()}", reason="credential")
        content = mail(message, sender, recipients)
        client = SMTP(
            hostname=host,
            port=port,
            use_tls=port == IMPLICIT_TLS_PORT,
            start_tls=False,
            tls_context=self._tls,
            local_hostname=socket.gethostname(),
            timeout=None,
        )
        conversation = _Conversation(client, box, password)
        failure: DeliveryError | None = None
        try:
            async with asyncio.timeout(self._timeout):
                await conversation.hand_over(sender.addr_spec, [item.addr_spec for item in recipients], content)
        except DeliveryError as error:
            failure = error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            failure = conversation.failed(error, self._timeout)
        finally:
            _leave(client, polite=conversation.accepted)
        if failure is not None:
            raise failure


class _Conversation:
    """One connection. `in_data`: the mail may be out; `accepted`: it is."""

    def __init__(self, client: SMTP, box: Mailbox, password: str) -> None:
        self._client = client
        self._box = box
        self._password = password
        self.in_data = False
        self.accepted = False

    async def hand_over(self, sender: str, recipients: list[str], content: bytes) -> None:
        await self._client.connect()
        await self._secure()
        if self._password:
            await self._client.login(self._box.username, self._password)
        await self._client.mail(sender)
        refused: list[aiosmtplib.SMTPRecipientRefused] = []
        for recipient in recipients:
            try:
                await self._client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused.append(error)
        passing = [error for error in refused if not _is_final(error.code)]
        if passing or len(refused) == len(recipients):
            first = passing[0] if passing else refused[0]
            raise self._refused(first.code, first.message, f"{len(refused)} of {len(recipients)} recipients refused: ")
        self.in_data = True
        await self._client.data(content)
        self.accepted = True
        if refused:
            raise PermanentError(
                f"email was taken for {len(recipients) - len(refused)} of {len(recipients)} recipients; "
                f"the others were refused: {refused[0].code} {self._told(refused[0].message)}",
                reason="rejected",
            )

    async def _secure(self) -> None:
        """Encrypt the connection, or stop where that is asked for and cannot be had."""
        if self._client.get_transport_info("sslcontext") is None:
            try:
                await self._client.ehlo()
            except aiosmtplib.SMTPHeloError as error:
                if not _is_final(error.code):
                    raise
                await self._client.helo()
            if self._client.supports_extension("starttls"):
                await self._client.starttls()
                await self._client.ehlo()
            elif self._box.require_tls:
                raise PermanentError(
                    "cannot send the email: the server offers no STARTTLS; use one that does, or set requireTls: false",
                    reason="tls",
                )
            elif self._password:
                raise PermanentError(
                    "cannot send the email: the server offers no STARTTLS, and a password is not sent without TLS",
                    reason="tls",
                )
        else:
            await self._client.ehlo()
        if self._password and not self._client.supported_auth_methods:
            raise PermanentError("cannot send the email: the server offers no login that is known", reason="credential")

    def failed(self, error: Exception, timeout: float) -> DeliveryError:
        """Return what `error` means; its own text is not used, since it may quote what was sent."""
        if isinstance(error, aiosmtplib.SMTPResponseException):
            return self._refused(error.code, error.message)
        if tls := tls_problem(error) or tls_problem(error.__cause__ or error):
            return PermanentError(f"{TLS_TEXT}: {tls}", reason="tls")
        cause, reason = _transport_problem(error, timeout)
        if not reason:
            return PermanentError(f"cannot send the email: {cause}")
        return RetryableError(
            f"email request failed: {cause}{OUTCOME_UNKNOWN if self.in_data else ''}",
            reason=reason,
            outcome_unknown=self.in_data,
        )

    def _refused(self, code: int, reply: str, before: str = "") -> DeliveryError:
        if _is_final(code):
            text = f"email server returned {code} (permanent failure): {before}{self._told(reply)}"
            return PermanentError(text, reason="credential" if code in (530, 534, 535) else "rejected")
        if 400 <= code < 500:
            return RetryableError(
                f"email server returned {code} (retryable): {before}{self._told(reply)}", reason="server_error"
            )
        return RetryableError(
            f"email request failed: the server's answer is not SMTP{OUTCOME_UNKNOWN if self.in_data else ''}",
            reason="server_error",
            outcome_unknown=self.in_data,
        )

    def _told(self, reply: str) -> str:
        forms = (self._password, f"\0{self._box.username}\0{self._password}") if self._password else ()
        encoded = [base64.b64encode(form.encode()).decode() for form in forms]
        return told(reply, [*forms, *encoded])


def _is_final(code: int) -> bool:
    return 500 <= code < 600


def _transport_problem(error: Exception, timeout: float) -> tuple[str, str]:
    """Return a text without any address and a word for metrics; no word if trying again is no use."""
    cause = error.__cause__
    if isinstance(error, TimeoutError):
        return f"timed out: no answer within {timeout:g} s", "timeout"
    if isinstance(cause, socket.gaierror):
        return "host name could not be resolved", "connection"
    if isinstance(error, aiosmtplib.SMTPConnectError) and isinstance(cause, OSError) and cause.strerror:
        return f"cannot connect: {cause.strerror}", "connection"
    if isinstance(error, OSError):  # includes SMTPServerDisconnected
        return "connection lost before an answer was read", "connection"
    return f"unexpected {type(error).__name__}", ""


T = TypeVar("T")


def _parsed(parse: Callable[[], T], key: str, what: str) -> T:
    try:
        return parse()
    except ValueError:
        pass
    raise PermanentError(
        f"cannot send the email: {key} in the receiver's emailConfigs must be {what}; correct the routing file",
        reason="config",
    )


def _leave(client: SMTP, *, polite: bool) -> None:
    """End the connection; the goodbye waits for no answer, in which time a cancellation could lose a taken mail."""
    if polite and isinstance(client.transport, asyncio.WriteTransport):
        client.transport.write(b"QUIT\r\n")
    client.close()

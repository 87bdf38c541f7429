"""A mail server in the place of a smarthost: it takes mail, keeps it, and fails where it is told to.

    with SmtpReceiver(users={"ops": "s3cret"}) as server:
        server.fail("RCPT", "451 4.7.1 greylisted")
        ...
        (mail,) = server.wait_for(1)
        assert mail.message["Subject"] == "..."

Like any server of today it offers STARTTLS, and AUTH only after it. Its certificate is for loopback and from an
authority of its own, ``ca_file``, that nobody trusts unless told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from typing import Any, Literal, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from kubernaut_testing.loopthread import LoopServer
from kubernaut_testing.waiting import PATIENCE

__all__ = ["Mail", "SmtpReceiver", "Stage"]

Stage = Literal["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END"]
"""Where a conversation can fail: ``DATA`` before the text is asked for, ``END`` after all of it has come."""

Reply = str | Callable[[str], str]


@dataclass(frozen=True)
class Mail:
    """One mail whose text came completely.

    ``reply`` is what its sender was told ("" if the connection was cut instead): a mail may have come and been
    refused. ``monotonic`` is in seconds and comparable with ``time.monotonic()`` of this process; ``time`` is aware
    UTC; ``user`` is who logged in, "" for nobody.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    tls: bool
    user: str
    reply: str
    monotonic: float
    time: dt.datetime

    @property
    def message(self) -> EmailMessage:
        """The parsed mail; headers are decoded."""
        return email.message_from_bytes(self.content, policy=default)


@dataclass
class _Fault:
    stage: str
    reply: Reply
    drop: bool
    delay: float
    address: str
    left: int | None


class SmtpReceiver(LoopServer):
    """An SMTP server on loopback; a context manager.

    Args:
        starttls: offer STARTTLS.
        implicit_tls: speak TLS from the start, as on port 465.
        users: name -> password; a login with anything else is refused with 535.
        auth_without_tls: offer AUTH on a connection without TLS, too.
        port: 0 takes a free one; ``start`` after ``stop`` takes the same again.
    """

    def __init__(
        self,
        *,
        starttls: bool = True,
        implicit_tls: bool = False,
        users: Mapping[str, str] | None = None,
        auth_without_tls: bool = False,
        port: int = 0,
    ) -> None:
        super().__init__("smtp", tls=starttls or implicit_tls, port=port)
        self._starttls = starttls and not implicit_tls
        self._implicit = implicit_tls
        self._users = dict(users or {})
        self._auth_require_tls = not (auth_without_tls or implicit_tls)
        self.logins: list[str] = []
        """Every name that a login was tried with."""
        self._mails: list[Mail] = []
        self._faults: list[_Fault] = []
        self._open: set[_Conversation] = set()
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        """Where it listens; 0 before its first start unless one was given."""
        return self._port

    @property
    def smarthost(self) -> str:
        """``127.0.0.1:<port>``."""
        return f"127.0.0.1:{self._port}"

    @property
    def mails(self) -> list[Mail]:
        """Every mail that came so far, in order of arrival, refused ones included."""
        with self._changed:
            return list(self._mails)

    @property
    def taken(self) -> list[Mail]:
        """The mails that this server took: their sender was told so, or could not be told."""
        return [mail for mail in self.mails if not mail.reply or mail.reply.startswith("2")]

    def fail(
        self,
        stage: Stage,
        reply: Reply = "",
        *,
        drop: bool = False,
        delay: float = 0.0,
        address: str = "",
        times: int | None = 1,
    ) -> None:
        """Let the next ``times`` conversations (None: all) that reach ``stage`` fail there.

        Args:
            stage: where.
            reply: the answer, code included; or a function of what the client sent that returns it.
            drop: reset the connection instead of answering.
            delay: seconds before that; alone it makes the server slow and changes nothing else.
            address: only for this recipient, with stage ``RCPT``.
            times: how often.
        """
        with self._changed:
            self._faults.append(_Fault(stage, reply, drop, delay, address, times))

    def clear(self) -> None:
        """Forget mails, logins and faults."""
        with self._changed:
            self._mails.clear()
            self._faults.clear()
            self.logins.clear()

    def wait_for(self, count: int, *, timeout: float = PATIENCE) -> list[Mail]:
        """Block until ``count`` mails have come and return them.

        Raises AssertionError after ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._mails) >= count, timeout):
                raise AssertionError(f"{len(self._mails)} mails came within {timeout:g} s, not {count}")
            return list(self._mails)

    async def _listen(self, tls: ssl.SSLContext | None, port: int) -> int:
        loop = asyncio.get_running_loop()

        def converse() -> _Conversation:
            return _Conversation(
                self,
                loop=loop,
                hostname="smtp.test",
                ident="ready",
                tls_context=None if self._implicit else tls,
                auth_require_tls=self._auth_require_tls,
                authenticator=self._authenticate,
            )

        self._server = await loop.create_server(
            converse, "127.0.0.1", port, ssl=tls if self._implicit else None, reuse_address=True
        )
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def _close(self) -> None:
        self._server.close()
        for conversation in list(self._open):
            conversation.cut()

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        name, password = data.login.decode(), data.password.decode()
        self.logins.append(name)
        return AuthResult(success=self._users.get(name) == password, handled=False, auth_data=data)

    def _take_fault(self, stage: str, said: str) -> _Fault | None:
        with self._changed:
            for fault in self._faults:
                if fault.stage == stage and fault.left != 0 and fault.address in said:
                    if fault.left is not None:
                        fault.left -= 1
                    return fault
        return None

    def _keep(self, mail: Mail) -> None:
        with self._changed:
            self._mails.append(mail)
            self._changed.notify_all()


class _TextHook:
    """Where the library tells that a mail's text has come."""

    async def handle_DATA(self, server: _Conversation, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return await server.text_came()


class _Conversation(SMTP):
    """One connection: the library's server with a place to fail before each command."""

    def __init__(self, receiver: SmtpReceiver, **settings: Any) -> None:
        self._receiver = receiver
        super().__init__(_TextHook(), **settings)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._receiver._open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver._open.discard(self)
        with contextlib.suppress(AssertionError, AttributeError):  # the library expects a session that went further
            super().connection_lost(error)

    def cut(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            cast(asyncio.WriteTransport, self._original_transport or self.transport).abort()

    async def _fails(self, stage: Stage, said: str) -> str | None:
        """Play the fault of a stage; returns the answer that it gives instead, None if all goes on."""
        fault = self._receiver._take_fault(stage, said)
        if fault is None:
            return None
        await asyncio.sleep(fault.delay)
        if fault.drop:
            self.cut()
            raise asyncio.CancelledError
        return (fault.reply(said) if callable(fault.reply) else fault.reply) or None

    async def _answered(self, stage: Stage, said: str | None) -> bool:
        reply = await self._fails(stage, said or "")
        if reply is not None:
            await self.push(reply)
        return reply is not None

    async def _handle_client(self) -> None:
        if await self._answered("CONNECT", ""):
            assert self.transport is not None
            self.transport.close()
            return
        await super()._handle_client()

    async def smtp_EHLO(self, arg: str) -> None:  # noqa: N802 - the library finds commands by these names
        if not await self._answered("EHLO", arg):
            await super().smtp_EHLO(arg)

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        if not await self._answered("STARTTLS", arg):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        if not await self._answered("AUTH", arg):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        if not await self._answered("MAIL", arg):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        if not await self._answered("RCPT", arg):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if not await self._answered("DATA", arg):
            await super().smtp_DATA(arg)

    async def text_came(self) -> str:
        """Keep the mail; returns the answer to it."""
        reply: str | None = ""
        try:
            reply = await self._fails("END", "") or "250 2.0.0 taken"
        finally:  # also where the connection is cut instead of an answer
            self._keep(reply or "")
        return reply

    def _keep(self, reply: str) -> None:
        assert self.session is not None
        assert self.envelope is not None
        login = self.session.auth_data
        mail = Mail(
            sender=self.envelope.mail_from or "",
            recipients=tuple(self.envelope.rcpt_tos),
            content=cast(bytes, self.envelope.original_content),
            tls=self._tls_protocol is not None or self._receiver._implicit,
            user=login.login.decode() if isinstance(login, LoginPassword) else "",
            reply=reply,
            monotonic=time.monotonic(),
            time=dt.datetime.now(dt.UTC),
        )
        self._receiver._keep(mail)

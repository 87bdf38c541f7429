"""The mail server takes mail, fails where it is told to, and remembers both."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator

import pytest

from kubernaut_testing.smtp import SmtpReceiver

TEXT = "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\n.dot\r\nbody\r\n"


@pytest.fixture
def server() -> Iterator[SmtpReceiver]:
    with SmtpReceiver(users={"ops": "s3cret"}) as running:
        yield running


def send(server: SmtpReceiver, *recipients: str, login: tuple[str, str] | None = None, tls: bool = False) -> object:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
        if tls:
            client.starttls(context=ssl.create_default_context(cafile=str(server.ca_file)))
        if login:
            client.login(*login)
        return client.sendmail("from@x.test", list(recipients) or ["to@x.test"], TEXT)


def test_a_mail_is_kept_as_it_came(server: SmtpReceiver) -> None:
    send(server, "a@x.test", "b@x.test")
    (mail,) = server.wait_for(1)
    assert (mail.sender, mail.recipients, mail.tls, mail.user) == ("from@x.test", ("a@x.test", "b@x.test"), False, "")
    assert mail.content == TEXT.encode()
    assert mail.message["Subject"] == "grüße"
    assert server.taken == [mail]
    server.clear()
    with pytest.raises(AssertionError, match="0 mails came within"):
        server.wait_for(1, timeout=0.01)


def test_tls_and_login_are_offered_and_seen(server: SmtpReceiver) -> None:
    send(server, login=("ops", "s3cret"), tls=True)
    (mail,) = server.mails
    assert (mail.tls, mail.user) == (True, "ops")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(server, login=("ops", "wrong"), tls=True)
    with pytest.raises(smtplib.SMTPNotSupportedError):
        send(server, login=("ops", "s3cret"))
    assert len(server.mails) == 1


def test_its_certificate_is_not_trusted_by_default(server: SmtpReceiver) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client, pytest.raises(ssl.SSLCertVerificationError):
        client.starttls(context=ssl.create_default_context())


def test_tls_from_the_start() -> None:
    with SmtpReceiver(implicit_tls=True, users={"a": "b"}) as server:
        context = ssl.create_default_context(cafile=str(server.ca_file))
        with smtplib.SMTP_SSL("127.0.0.1", server.port, timeout=20, context=context) as client:
            client.login("a", "b")
            client.sendmail("f@x", ["t@x"], TEXT)
        assert [(mail.tls, mail.user) for mail in server.mails] == [(True, "a")]


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "END"])
def test_a_stage_answers_as_told_and_once(server: SmtpReceiver, stage: str) -> None:
    server.fail(stage, "451 4.3.0 later")  # type: ignore[arg-type]
    with pytest.raises((smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused), match="later"):
        send(server)
    assert server.taken == []
    assert len(server.mails) == (1 if stage == "END" else 0)
    send(server)
    assert len(server.taken) == 1


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"])
def test_a_stage_cuts_the_connection(server: SmtpReceiver, stage: str) -> None:
    server.fail(stage, drop=True)  # type: ignore[arg-type]
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(server)
    # Who has all of the text may have delivered it.
    assert [mail.reply for mail in server.mails] == ([""] if stage == "END" else [])
    assert len(server.taken) == len(server.mails)


def test_one_recipient_of_several_is_refused(server: SmtpReceiver) -> None:
    server.fail("RCPT", "550 no such user", address="b@x.test")
    assert send(server, "a@x.test", "b@x.test") == {"b@x.test": (550, b"no such user")}
    assert server.mails[0].recipients == ("a@x.test",)


def test_an_answer_can_quote_what_was_sent(server: SmtpReceiver) -> None:
    server.fail("MAIL", lambda said: f"550 not from {said}", times=None)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPSenderRefused, match=r"not from FROM:<from@x\.test>"):
            send(server)


def test_a_greeting_can_be_refused(server: SmtpReceiver) -> None:
    server.fail("CONNECT", "421 busy")
    with pytest.raises(smtplib.SMTPConnectError, match="busy"):
        send(server)


def test_a_server_can_go_away_and_come_back_at_its_address(server: SmtpReceiver) -> None:
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        send(server)
    server.start()
    send(server)
    assert len(server.mails) == 1

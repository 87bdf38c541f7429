"""The email channel against a real SMTP server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from scenarios.channel_bench import Bench, shown

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery import email as email_room
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.email import parse_smarthost
from kubernaut_notification.delivery.http import OUTCOME_UNKNOWN
from kubernaut_testing.smtp import SmtpReceiver

MakeNR = Callable[..., NotificationRequest]
MakeBench = Callable[..., Bench]
PASSWORD = "pw-S3CRET-pw"


def entry(server: SmtpReceiver, **more: Any) -> dict[str, Any]:
    return {"to": "a@x.test", "from": "Kubernaut <k@example.com>", "smarthost": server.smarthost, **more}


def bench_for(make_bench: MakeBench, server: SmtpReceiver, timeout: str = "5s", **more: Any) -> Bench:
    made = make_bench(slack={"timeout": timeout})
    made.put("mail", f"{PASSWORD}\n")
    made.route(emailConfigs=[entry(server, **more)])
    return made


@pytest.fixture
def bench(make_bench: MakeBench, mail_server: SmtpReceiver) -> Bench:
    return bench_for(make_bench, mail_server)


async def test_a_mail_arrives_over_tls(bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR) -> None:
    assert await bench.attempt("email:ops", make_nr(subject="grüße", body="wörld\n.")) is None
    (mail,) = mail_server.taken
    assert (mail.sender, mail.recipients, mail.tls, mail.user) == ("k@example.com", ("a@x.test",), True, "")
    assert mail.message["Subject"] == "[Medium] grüße"
    assert mail.message.get_content().startswith("wörld\r\n.\r\n")


async def test_a_login_is_made_with_the_password_file(
    make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    bench = bench_for(make_bench, mail_server, authUsername="ops", credentialRef="mail")
    assert await bench.attempt("email:ops", make_nr()) is None
    assert mail_server.taken[0].user == "ops"


async def test_all_recipients_share_one_mail(make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR) -> None:
    bench = bench_for(make_bench, mail_server, to="a@x.test, B <b@y.test>")
    assert await bench.attempt("email:ops", make_nr()) is None
    (mail,) = mail_server.taken
    assert mail.recipients == ("a@x.test", "b@y.test")


async def test_a_repeated_attempt_has_the_same_message_id_and_the_next_one_another(
    bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    for number in (1, 1, 2):
        assert await bench.attempt("email:ops", make_nr(), number) is None
    first, again, second = (mail.message["Message-ID"] for mail in mail_server.mails)
    assert first == again != second


# --- replies ----------------------------------------------------------------------------------------------------

STAGES = ["CONNECT", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "END"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_4xx_reply_is_retryable(bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR, stage: Any) -> None:
    mail_server.fail(stage, "451 4.7.1 come back later")
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text.startswith("email server returned 451 (retryable): ")
    assert error.text.endswith("4.7.1 come back later")
    assert not error.outcome_unknown
    assert mail_server.taken == []
    assert await bench.attempt("email:ops", make_nr()) is None


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "EHLO"])
async def test_a_5xx_reply_is_permanent(bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR, stage: Any) -> None:
    mail_server.fail(stage, "554 5.7.1 not from you")
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text.startswith("email server returned 554 (permanent failure): ")
    assert error.text.endswith("5.7.1 not from you")
    assert mail_server.taken == []


async def test_a_server_without_ehlo_is_greeted_the_old_way(
    make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    bench = bench_for(make_bench, mail_server, requireTls=False)
    mail_server.fail("EHLO", "502 what is that", times=None)
    assert await bench.attempt("email:ops", make_nr()) is None
    assert not mail_server.taken[0].tls


@pytest.mark.parametrize(("reply", "kind"), [("535 5.7.8 wrong", PermanentError), ("454 4.7.0 busy", RetryableError)])
async def test_a_refused_login_is_judged_by_its_code(
    make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR, reply: str, kind: type[DeliveryError]
) -> None:
    bench = bench_for(make_bench, mail_server, authUsername="ops", credentialRef="mail")
    mail_server.fail("AUTH", reply, times=None)
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, kind)
    assert reply[:3] in error.text


# --- some recipients --------------------------------------------------------------------------------------------


async def test_a_recipient_refused_for_now_holds_the_mail_back_for_all(
    make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    """So that the next attempt gives nobody the mail a second time."""
    bench = bench_for(make_bench, mail_server, to="a@x.test, b@x.test, c@x.test")
    mail_server.fail("RCPT", "450 greylisted", address="b@x.test")
    mail_server.fail("RCPT", "550 unknown", address="c@x.test", times=None)
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text == "email server returned 450 (retryable): 2 of 3 recipients refused: greylisted"
    assert mail_server.mails == []


async def test_recipients_refused_for_good_keep_the_mail_from_nobody_else_and_are_told(
    make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    bench = bench_for(make_bench, mail_server, to="a@x.test, b@x.test, c@x.test")
    mail_server.fail("RCPT", lambda said: f"550 no such user {said}", address="b@x.test")
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text == (
        "email was taken for 2 of 3 recipients; the others were refused: 550 no such user TO:<[REDACTED]>"
    )
    assert mail_server.taken[0].recipients == ("a@x.test", "c@x.test")


# --- no reply ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT"])
async def test_a_connection_lost_before_the_text_is_surely_not_delivered(
    bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR, stage: Any
) -> None:
    mail_server.fail(stage, drop=True)
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text == "email request failed: connection lost before an answer was read"
    assert not error.outcome_unknown


async def test_a_connection_lost_after_the_text_is_an_unknown_outcome(
    bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    mail_server.fail("END", drop=True)
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.outcome_unknown
    assert error.text == f"email request failed: connection lost before an answer was read{OUTCOME_UNKNOWN}"
    assert len(mail_server.taken) == 1


@pytest.mark.parametrize(("stage", "unknown"), [("CONNECT", False), ("RCPT", False), ("END", True)])
async def test_the_whole_conversation_has_one_time_limit(
    make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR, stage: Any, unknown: bool
) -> None:
    bench = bench_for(make_bench, mail_server, timeout="1s")
    mail_server.fail(stage, delay=30)
    begin = time.monotonic()
    error = await bench.attempt("email:ops", make_nr())
    assert time.monotonic() - begin < 15
    assert isinstance(error, RetryableError)
    assert error.text.startswith("email request failed: timed out: no answer within 1 s")
    assert (error.outcome_unknown, error.reason) == (unknown, "timeout")


async def test_the_goodbye_is_said_and_not_waited_for(make_bench: MakeBench, make_nr: MakeNR) -> None:
    """While it were waited for, an end of the process would lose the result, and the mail would go out again."""
    heard: list[bytes] = []
    ended = asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            heard.append(line.strip())
            if heard[-1] == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            if heard[-1] != b"QUIT":
                writer.write(b"250 fine\r\n")
        ended.set()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        bench = make_bench(slack={"timeout": "5s"})
        port = server.sockets[0].getsockname()[1]
        to = {"to": "a@x.test", "from": "k@x.test", "smarthost": f"127.0.0.1:{port}", "requireTls": False}
        bench.route(emailConfigs=[to])
        began = time.monotonic()
        assert await bench.attempt("email:ops", make_nr()) is None
        assert time.monotonic() - began < 4
        await asyncio.wait_for(ended.wait(), 20)
    assert heard[-2:] == [b"DATA", b"QUIT"]


async def test_nobody_there_is_retryable(bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR) -> None:
    mail_server.stop()
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text.startswith("email request failed: cannot connect: ")
    mail_server.start()
    assert await bench.attempt("email:ops", make_nr()) is None


async def test_a_host_that_does_not_resolve_is_retryable(
    bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    bench.route(emailConfigs=[entry(mail_server, smarthost="no-such-host.invalid:25")])
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text == "email request failed: host name could not be resolved"


async def test_something_that_is_no_mail_server_is_retryable(
    bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    mail_server.fail("CONNECT", "HTTP/1.1 400 Bad Request")
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, RetryableError)
    assert error.text == "email request failed: the server's answer is not SMTP"


async def test_a_cancelled_attempt_stays_cancelled(bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR) -> None:
    mail_server.fail("MAIL", delay=30)
    task = asyncio.create_task(bench.attempt("email:ops", make_nr()))
    done, _ = await asyncio.wait({task}, timeout=0.2)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- TLS --------------------------------------------------------------------------------------------------------


async def test_a_server_without_starttls_is_refused_unless_the_entry_allows_it(
    make_bench: MakeBench, make_nr: MakeNR
) -> None:
    with SmtpReceiver(starttls=False) as server:
        bench = bench_for(make_bench, server)
        error = await bench.attempt("email:ops", make_nr())
        assert isinstance(error, PermanentError)
        assert error.text.startswith("cannot send the email: the server offers no STARTTLS; use one that does")
        assert server.mails == []
        bench.route(emailConfigs=[entry(server, requireTls=False)])
        assert await bench.attempt("email:ops", make_nr()) is None
        assert [mail.tls for mail in server.mails] == [False]


async def test_starttls_is_used_where_it_is_offered_though_not_required(
    make_bench: MakeBench, mail_server: SmtpReceiver, make_nr: MakeNR
) -> None:
    bench = bench_for(make_bench, mail_server, requireTls=False)
    assert await bench.attempt("email:ops", make_nr()) is None
    assert mail_server.taken[0].tls


async def test_a_password_is_not_sent_without_tls(make_bench: MakeBench, make_nr: MakeNR) -> None:
    with SmtpReceiver(starttls=False, users={"ops": PASSWORD}, auth_without_tls=True) as server:
        bench = bench_for(make_bench, server, requireTls=False, authUsername="ops", credentialRef="mail")
        error = await bench.attempt("email:ops", make_nr())
        assert isinstance(error, PermanentError)
        assert "a password is not sent without TLS" in error.text
        assert server.logins == []


@pytest.mark.behaviour(44)
@pytest.mark.parametrize("require", [True, False])
async def test_a_certificate_that_cannot_be_trusted_is_permanent(
    make_bench: MakeBench, make_nr: MakeNR, require: bool
) -> None:
    with SmtpReceiver() as server:
        bench = bench_for(make_bench, server, requireTls=require)
        error = await bench.attempt("email:ops", make_nr())
        assert isinstance(error, PermanentError)
        assert error.text.startswith("TLS certificate validation failed (permanent failure - BR-NOT-058): ")
        assert server.mails == []


async def test_the_smtps_port_speaks_tls_from_the_start(
    make_bench: MakeBench, make_nr: MakeNR, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SmtpReceiver(implicit_tls=True, users={"ops": PASSWORD}) as server:
        monkeypatch.setattr(email_room, "IMPLICIT_TLS_PORT", server.port)
        bench = bench_for(make_bench, server, authUsername="ops", credentialRef="mail")
        error = await bench.attempt("email:ops", make_nr())
        assert isinstance(error, PermanentError)  # its certificate is not trusted yet
        assert "TLS certificate validation failed" in error.text
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        bench = bench_for(make_bench, server, authUsername="ops", credentialRef="mail")
        assert await bench.attempt("email:ops", make_nr()) is None
        assert [(mail.tls, mail.user) for mail in server.mails] == [(True, "ops")]


async def test_a_server_that_speaks_no_tls_on_the_smtps_port_is_permanent(
    make_bench: MakeBench, make_nr: MakeNR, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SmtpReceiver() as server:
        monkeypatch.setattr(email_room, "IMPLICIT_TLS_PORT", server.port)
        error = await bench_for(make_bench, server).attempt("email:ops", make_nr())
        assert isinstance(error, PermanentError)
        assert "TLS certificate validation failed" in error.text


# --- entries that cannot work -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"to": ""}, "to in the receiver's emailConfigs must be addresses"),
        ({"to": "ops"}, "to in the receiver's emailConfigs must be addresses"),
        ({"from": ""}, "from in the receiver's emailConfigs must be one address"),
        ({"smarthost": ""}, "smarthost in the receiver's emailConfigs must be host:port"),
        ({"smarthost": "mail:port"}, "smarthost in the receiver's emailConfigs must be host:port"),
    ],
)
async def test_an_entry_that_cannot_work_is_permanent_and_names_its_key(
    bench: Bench, mail_server: SmtpReceiver, make_nr: MakeNR, wrong: dict[str, str], words: str
) -> None:
    bench.route(emailConfigs=[entry(mail_server, **wrong)])
    error = await bench.attempt("email:ops", make_nr())
    assert isinstance(error, PermanentError)
    assert error.text.startswith("cannot send the email: ")
    assert words in error.text
    assert "ValueError" not in shown(error)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("mail.example.com:25", ("mail.example.com", 25)),
        (" mail ", ("mail", 587)),
        ("mail:", ("mail", 587)),
        ("[::1]:465", ("::1", 465)),
        ("[::1]", ("::1", 587)),
        ("::1", ("::1", 587)),
    ],
)
def test_a_smarthost_is_host_and_port(text: str, server: tuple[str, int]) -> None:
    assert parse_smarthost(text) == server


@pytest.mark.parametrize("text", ["", ":25", "mail:0", "mail:99999", "ma il:25", "smtp://mail:25", "a/b"])
def test_what_is_no_smarthost_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_smarthost(text)

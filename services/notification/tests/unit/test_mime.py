"""What a mail looks like, and that nothing of a notification gets into its headers or its recipients."""

from __future__ import annotations

import email
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.message import Message
from kubernaut_notification.delivery.mime import mail, message_id, parse_addresses

MakeNR = Callable[..., NotificationRequest]
NOW = datetime.fromisoformat("2026-03-01T10:00:00+00:00")
SENDER = parse_addresses("Kubernaut <kubernaut@example.com>")[0]
TO = parse_addresses("a@x.test, Bé <b@y.test>")


def parsed(nr: NotificationRequest, attempt: int = 1) -> EmailMessage:
    return email.message_from_bytes(mail(Message(nr, "email:ops", attempt, NOW), SENDER, TO), policy=default)


def text_of(made: EmailMessage) -> str:
    text: str = made.get_content()
    return text.replace("\r\n", "\n")


def test_a_mail_has_subject_text_links_and_a_footer(make_nr: MakeNR) -> None:
    links = [{"service": "grafana", "url": "https://g/d", "label": "Dashboard"}]
    made = parsed(make_nr(priority="Critical", subject="grüße 🚨", body="first\r\n.second\nthird", actionLinks=links))
    assert made["Subject"] == "[Critical] grüße 🚨"
    assert made["From"] == "Kubernaut <kubernaut@example.com>"
    assert made["To"] == "a@x.test, Bé <b@y.test>"
    assert made["Date"].datetime == NOW
    assert made["Auto-Submitted"] == "auto-generated"
    assert made.get_content_type() == "text/plain"
    assert made.get_content_charset() == "utf-8"
    assert text_of(made) == (
        "first\n.second\nthird\n\nDashboard: https://g/d\n\n-- \n"
        "Priority: Critical | Type: Simple | Notification: kubernaut-system/nr-a\n"
    )


def test_an_attempt_that_is_repeated_makes_the_same_bytes(make_nr: MakeNR) -> None:
    first, again = (mail(Message(make_nr(), "email:ops", 1, NOW), SENDER, TO) for _ in range(2))
    assert first == again
    assert parsed(make_nr())["Message-ID"] == message_id("u-1/email:ops/1", "example.com")
    assert parsed(make_nr())["Message-ID"] != parsed(make_nr(), attempt=2)["Message-ID"]


def test_a_subject_adds_no_header(make_nr: MakeNR) -> None:
    made = parsed(make_nr(subject="x\r\nBcc: victim@x.test\r\n\r\nbody"))
    assert made["Subject"] == "[Medium] x Bcc: victim@x.test body"
    assert "Bcc" not in made


@given(st.text(st.characters(exclude_categories=[]), max_size=600), st.text(st.characters(exclude_categories=[])))
@example("a" * 2000, "b" * 5000)
@example("\u2028é\x85\ud800", "\r\r\n.\n..\n\x00")
@example("=?utf-8?q?x?=", "From here\n")
@settings(max_examples=150, deadline=None)
def test_any_text_makes_a_mail_with_the_same_headers(subject: str, body: str) -> None:
    spec = {"type": "Simple", "priority": "Low", "subject": subject, "body": body}
    nr = NotificationRequest.model_validate({"metadata": {"name": "n", "namespace": "ns", "uid": "u"}, "spec": spec})
    raw = mail(Message(nr, "email:ops", 1, NOW), SENDER, TO)
    raw.decode("ascii")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    made = email.message_from_bytes(raw, policy=default)
    assert [name for name, _ in made.items()] == [
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
        *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
    ]
    assert text_of(made).endswith("-- \nPriority: Low | Type: Simple | Notification: ns/n\n")


def test_a_large_body_arrives_whole(make_nr: MakeNR) -> None:
    body = "é🚨x\n" * 50_000
    assert text_of(parsed(make_nr(body=body))).startswith(body.rstrip("\n"))


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("a@x.test", ["a@x.test"]),
        ("a@x.test, B <b@y.test>,", ["a@x.test", "b@y.test"]),
        ('"Doe, \\"J\\" Jane" <jane@x.test>, x@y', ["jane@x.test", "x@y"]),
        ("ops@bücher.test", ["ops@xn--bcher-kva.test"]),
        ("root@localhost", ["root@localhost"]),
    ],
)
def test_addresses_are_separated_by_commas(text: str, addresses: list[str]) -> None:
    assert [address.addr_spec for address in parse_addresses(text)] == addresses


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "ops",
        "@x.test",
        "a b@x.test",
        "ö@x.test",
        "a@x.test, b",
        "a@",
        "a@x y",
        "a@x b@y",
        '"a <b@x.test>',
        "Doe, Jane <j@x>",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_addresses(text)


def test_an_address_cannot_bring_a_command() -> None:
    with pytest.raises(ValueError):
        parse_addresses("a@x.test>\r\nRCPT TO:<b@y.test")

"""What holds for every channel that leaves the cluster, as one table.

Each row of `CHANNELS` is a receiver's entry; its secrets are fixed texts that nothing may show. The tests go by what
the Go controller gets wrong: weak point 10 (rotation needs a restart), 14 (Retry-After is ignored), 15 (only subject
and body are redacted), 22 (a URL, the credential itself, in the error text) and 23 (answers copied without bounds, and
an answer that says "permanent failure" makes an error permanent).
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import pytest
from scenarios.channel_bench import NOW, Bench, shown

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.announcement import Announced
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_notification.delivery.plan import RetryPolicy, decide, plan
from kubernaut_notification.delivery.result import MAX_ERROR, Attempt
from kubernaut_testing.receivers import Answer, Received, WebhookReceiver
from kubernaut_testing.smtp import SmtpReceiver

MakeNR = Callable[..., NotificationRequest]
MakeBench = Callable[..., Bench]

TOKEN = "t0k3n-S3CRET+/=="
PASSWORD = "pw-S3CRET-pw"
PATH = "/services/T0SECRET0/B0SECRET0/k3yS3CRETk3y"
QUERY = "sig=s1gS3CRETs1g%2Fx&sp=%2Ftriggers"


@dataclass(frozen=True)
class Row:
    """One kind of channel. `{url}` in an entry or credential is the receiver's address."""

    kind: str
    configs: str
    entry: dict[str, Any]
    credentials: dict[str, str]
    secrets: tuple[str, ...] = ()
    name: str = ""
    needed: str = field(default="", kw_only=True)
    """The credential without which nothing can be sent."""

    @property
    def key(self) -> str:
        return f"{self.kind}:ops"


URL = "{url}" + PATH + "?" + QUERY
URL_PARTS = ("T0SECRET0", "B0SECRET0", "k3yS3CRETk3y", "s1gS3CRETs1g")
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()

HTTP = [
    Row("slack", "slackConfigs", {"credentialRef": "c"}, {"c": URL}, URL_PARTS, needed="c"),
    Row("pagerduty", "pagerdutyConfigs", {"credentialRef": "c", "url": "{url}/v2"}, {"c": TOKEN}, (TOKEN,), needed="c"),
    Row("teams", "teamsConfigs", {"credentialRef": "c"}, {"c": URL}, URL_PARTS, needed="c"),
    Row("webhook", "webhookConfigs", {"urlRef": "c"}, {"c": URL}, URL_PARTS, "url file", needed="c"),
    Row("webhook", "webhookConfigs", {"url": URL}, {}, URL_PARTS, "inline url"),
    Row(
        "webhook",
        "webhookConfigs",
        {"url": "{url}/hook", "credentialRef": "c"},
        {"c": TOKEN},
        (TOKEN,),
        "token file",
        needed="c",
    ),
    Row(
        "webhook",
        "webhookConfigs",
        {"url": "{url}/hook", "httpConfig": {"bearerToken": TOKEN}},
        {},
        (TOKEN,),
        "inline token",
    ),
    Row(
        "webhook",
        "webhookConfigs",
        {"url": "{url}/hook", "credentialRef": "c", "httpConfig": {"basicAuth": {"username": "me"}}},
        {"c": PASSWORD},
        (PASSWORD, BASIC),
        "password file",
        needed="c",
    ),
]
EMAIL = Row(
    "email",
    "emailConfigs",
    {"to": "a@x.test", "from": "k@x.test", "smarthost": "{smtp}", "authUsername": "ops", "credentialRef": "c"},
    {"c": PASSWORD},
    (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), base64.b64encode(f"\0ops\0{PASSWORD}".encode()).decode()),
    needed="c",
)


def ids(row: Row) -> str:
    return f"{row.kind} {row.name}".strip()


each_http = pytest.mark.parametrize("row", HTTP, ids=ids)
each = pytest.mark.parametrize("row", [*HTTP, EMAIL], ids=ids)
each_kind = pytest.mark.parametrize("row", [*HTTP[:4], EMAIL], ids=ids)


class Site:
    """A workbench with both kinds of servers."""

    def __init__(self, make_bench: MakeBench, receiver: WebhookReceiver, mail_server: SmtpReceiver) -> None:
        self.make_bench = make_bench
        self.bench = make_bench()
        self.receiver = receiver
        self.mail_server = mail_server

    def filled(self, text: str) -> str:
        return text.replace("{url}", self.receiver.url).replace("{smtp}", self.mail_server.smarthost)

    def install(self, row: Row, **credentials: str) -> None:
        for name, value in {**row.credentials, **credentials}.items():
            self.bench.put(name, self.filled(value))
        self.bench.route(**{row.configs: [json.loads(self.filled(json.dumps(row.entry)))]})

    def hang(self) -> None:
        """Let the receiver not answer, and the channels that are built now not wait for long."""
        self.receiver.default = Answer(delay=30)
        self.bench = self.make_bench(slack={"timeout": "1s"})

    def arrivals(self) -> int:
        return len(self.receiver.requests) + len(self.mail_server.taken)

    def wire(self) -> str:
        """All that arrived, as text."""
        requests = "".join(request.body.decode() for request in self.receiver.requests)
        return requests + "".join(
            str(mail.message["Subject"]) + mail.message.get_content() for mail in self.mail_server.mails
        )


@pytest.fixture
def site(mail_server: SmtpReceiver, receiver: WebhookReceiver, make_bench: MakeBench) -> Site:
    return Site(make_bench, receiver, mail_server)


# --- no secret in any error -------------------------------------------------------------------------------------


def last_word(request: Received) -> str:
    """A secret by itself: of the header, of the body or of the address."""
    body = request.json
    proof = request.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("Basic ")
    return proof or body.get("routing_key") or request.path.removeprefix("/services/")


def quoting(status: int) -> Callable[[Received], Answer]:
    """A receiver that answers with all it was sent, in the forms that servers quote things in."""

    def answer(request: Received) -> Answer:
        bare = " ".join(value.split()[-1] for value in request.headers.values() if value)
        sent = f"{request.path}?{QUERY} {unquote(QUERY)} {bare} {request.body.decode()}"
        return Answer(status, f"{sent} {sent.replace('/', chr(92) + '/')} {quote(request.path, safe='')}"[:3000])

    return answer


ERRORS: dict[str, Callable[[Site], None]] = {
    "quoted in a 400": lambda site: setattr(site.receiver, "default", quoting(400)),
    "quoted in a 429": lambda site: setattr(site.receiver, "default", quoting(429)),
    "quoted in a 500": lambda site: setattr(site.receiver, "default", quoting(500)),
    "quoted where the answer is cut off": lambda site: setattr(
        site.receiver,
        "default",
        # What comes before shrinks when it is redacted, so the cut end gets into the text that is kept.
        lambda request: Answer(500, "password=" + "x" * 4069 + " " + last_word(request)),
    ),
    "connection lost": lambda site: setattr(site.receiver, "default", Answer(drop=True)),
    "no answer": lambda site: site.hang(),
    "nobody there": lambda site: site.receiver.stop(),
    "redirected for ever": lambda site: setattr(
        site.receiver, "default", lambda request: Answer(307, headers={"Location": request.path + "?" + QUERY})
    ),
    "redirected to nowhere": lambda site: setattr(
        site.receiver, "default", Answer(307, headers={"Location": f"ftp://host{PATH}"})
    ),
}


def assert_hidden(row: Row, error: DeliveryError | None, caplog: pytest.LogCaptureFixture) -> None:
    assert error is not None
    attempt = Attempt.failure(row.key, 1, NOW, NOW, 0.0, error)
    told = shown(error) + attempt.error + caplog.text
    assert [secret for secret in row.secrets if secret[:6] in told] == []
    assert len(error.text) < MAX_ERROR
    assert error.text.isprintable()


@each_http
@pytest.mark.parametrize("provoke", ERRORS.values(), ids=ERRORS.keys())
async def test_no_error_of_an_http_channel_shows_a_secret(
    site: Site, make_nr: MakeNR, caplog: pytest.LogCaptureFixture, row: Row, provoke: Callable[[Site], None]
) -> None:
    """Weak points 22 and 23."""
    caplog.set_level(logging.DEBUG)
    provoke(site)
    site.install(row)
    assert_hidden(row, await site.bench.attempt(row.key, make_nr()), caplog)


@each_http
@pytest.mark.parametrize("scheme", ["https", "ftp", "http://[", ""])
async def test_no_error_about_an_address_shows_it(
    site: Site, make_nr: MakeNR, caplog: pytest.LogCaptureFixture, row: Row, scheme: str
) -> None:
    """Weak point 22. With `https` the server, which speaks none, breaks the handshake."""
    caplog.set_level(logging.DEBUG)
    plain = site.receiver.url
    text = json.dumps([row.entry, row.credentials]).replace("{url}", plain.replace("http", scheme, 1))
    entry, credentials = json.loads(text)
    for name, value in credentials.items():
        site.bench.put(name, value)
    site.bench.route(**{row.configs: [entry]})
    error = await site.bench.attempt(row.key, make_nr())
    assert isinstance(error, PermanentError)
    assert_hidden(row, error, caplog)


@pytest.mark.parametrize("stage", ["EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("code", ["451", "550"])
async def test_no_error_of_the_email_channel_shows_the_password(
    site: Site, make_nr: MakeNR, caplog: pytest.LogCaptureFixture, stage: Any, code: str
) -> None:
    """Weak points 22 and 23."""
    caplog.set_level(logging.DEBUG, logger="kubernaut_notification")
    site.install(EMAIL)
    secrets = " ".join(EMAIL.secrets)
    site.mail_server.fail(stage, lambda said: f"{code} {said} {secrets} {'y' * 3000}", times=None)
    error = await site.bench.attempt(EMAIL.key, make_nr())
    if stage != "EHLO" or code == "451":
        assert error is not None
        assert code in error.text
    assert_hidden(EMAIL, error, caplog)


@each_http
async def test_an_answer_cannot_make_an_error_permanent(site: Site, make_nr: MakeNR, row: Row) -> None:
    """Weak point 23."""
    site.install(row)
    site.receiver.default = Answer(503, "permanent failure: " * 1000)
    error = await site.bench.attempt(row.key, make_nr())
    assert isinstance(error, RetryableError)
    attempt = Attempt.failure(row.key, 1, NOW, NOW, 0.0, error)
    assert not attempt.permanent
    assert "permanent failure" not in attempt.error
    assert len(attempt.error) < MAX_ERROR


# --- classification ---------------------------------------------------------------------------------------------


@each_http
@pytest.mark.behaviour(41)
@pytest.mark.parametrize("status", [200, 202, 204, 400, 401, 404, 408, 429, 500, 503])
async def test_status_codes_mean_the_same_for_every_http_channel(
    site: Site, make_nr: MakeNR, row: Row, status: int
) -> None:
    site.install(row)
    site.receiver.default = Answer(status, "" if status == 204 else "words")
    error = await site.bench.attempt(row.key, make_nr())
    expected = None if status < 300 else RetryableError if status == 429 or status >= 500 else PermanentError
    assert type(error) is (type(None) if expected is None else expected)
    if error:
        assert f"webhook returned {status}" in error.text
        assert row.kind in error.text


@each_http
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_passed_on_by_every_http_channel(
    site: Site, make_nr: MakeNR, row: Row, status: int
) -> None:
    """Weak point 14."""
    site.install(row)
    site.receiver.default = Answer(status, retry_after=77)
    error = await site.bench.attempt(row.key, make_nr())
    assert isinstance(error, RetryableError)
    assert error.retry_after == 77


@pytest.mark.behaviour(51)
@each_kind
async def test_a_busy_receiver_and_one_attempt_end_in_exhausted_retries_and_success_in_sent(
    site: Site, make_nr: MakeNR, row: Row
) -> None:
    site.install(row)
    policy = RetryPolicy(max_attempts=1)
    announced = [Announced(row.key, 1, NOW)]
    before = plan([row.key], [], announced, policy, NOW)
    site.receiver.script(503)
    site.mail_server.fail("MAIL", "451 busy")
    for phase, reason in (("Failed", "MaxRetriesExhausted"), ("Sent", "AllDeliveriesSucceeded")):
        (attempt,) = await site.bench.deliverer().deliver(make_nr(), announced)
        assert attempt.channel == f"{row.kind}:ops"
        decision = decide(before, "Sending", [attempt])
        assert (decision.phase, decision.reason) == (phase, reason)


@pytest.mark.behaviour(57)
@each_kind
async def test_an_attempt_has_a_duration(site: Site, make_nr: MakeNR, row: Row) -> None:
    site.install(row)
    site.receiver.default = Answer(delay=0.015)
    site.mail_server.fail("MAIL", delay=0.015)
    (attempt,) = await site.bench.deliverer().deliver(make_nr(), [Announced(row.key, 1, NOW)])
    assert attempt.succeeded
    assert attempt.duration >= 0.015
    assert attempt.to_wire()["durationSeconds"] >= 0.015


# --- redaction --------------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.behaviour(74, 75, 76)
async def test_every_channel_gets_the_redacted_copy_only(site: Site, make_nr: MakeNR, row: Row) -> None:
    """Weak point 15: the Go controller redacts subject and body, and sends everything else as it is."""
    site.install(row)
    nr = make_nr(
        type="Completion",
        subject='{"password":"s3cret-01"}',
        body="postgresql://app:s3cret-02@db/x api_key: s3cret-03",
        severity="token=s3cret-04",
        phase="secret: s3cret-05",
        clusterID="pwd=s3cret-06",
        context={
            "analysis": {"rootCause": "password: s3cret-07"},
            "workflow": {"confidence": "token: s3cret-08"},
            "target": {"targetResource": "api_key=s3cret-09"},
            "verification": {"assessed": True, "outcome": "secret=s3cret-10", "reason": "pwd: s3cret-11"},
        },
        extensions={"note": "token=s3cret-12", "db-password": "s3cret-13"},
        actionLinks=[{"service": "token=s3cret-14", "url": "https://u:s3cret-15@g/d", "label": "pwd=s3cret-16"}],
        metadata={"annotations": {"a": "password=s3cret-17", "apiToken": "s3cret-18"}},
    )
    (attempt,) = await site.bench.deliverer().deliver(nr, [Announced(row.key, 1, NOW)])
    assert attempt.succeeded
    assert site.arrivals() == 1
    assert "s3cret" not in site.wire()
    assert "[REDACTED]" in site.wire()
    assert "s3cret-01" in nr.spec.subject  # the stored object is what it was


@each_kind
async def test_words_that_only_look_like_secrets_arrive(site: Site, make_nr: MakeNR, row: Row) -> None:
    """Weak point 15: `sk-` inside a word, and four numbers that are a version."""
    site.install(row)
    subject = "disk-pressure on version 1.2.3.4"
    assert await site.bench.attempt(row.key, make_nr(subject=subject)) is None
    assert subject in site.wire()


# --- credentials ------------------------------------------------------------------------------------------------

with_credential = pytest.mark.parametrize("row", [row for row in [*HTTP, EMAIL] if row.needed], ids=ids)


@with_credential
async def test_a_rotated_credential_is_used_by_the_next_attempt(site: Site, make_nr: MakeNR, row: Row) -> None:
    """Weak point 10. The channel is not built anew."""
    wrong = f"{site.receiver.url}/wrong" if "{url}" in row.credentials[row.needed] else "wr0ng"
    site.install(row, **{row.needed: wrong})
    good = site.filled(row.credentials[row.needed])

    def knows(request: Received) -> int:
        sent = request.path + str(dict(request.headers)) + request.body.decode()
        return 200 if PATH in sent or TOKEN in sent or BASIC in sent else 401

    site.receiver.default = knows
    channel = site.bench.registry.channel(row.key)
    assert isinstance(await site.bench.attempt(row.key, make_nr()), PermanentError)
    site.bench.put(row.needed, good)
    assert await site.bench.attempt(row.key, make_nr(), 2) is None
    assert site.bench.registry.channel(row.key) is channel


@with_credential
async def test_a_removed_credential_is_a_permanent_error_that_names_its_file(
    site: Site, make_nr: MakeNR, row: Row
) -> None:
    """No crash; the notification ends, stalled, with what to do, and the next one works when the file is back."""
    site.install(row)
    path = site.bench.folder / row.needed
    value = path.read_text()
    path.unlink()
    error = await site.bench.attempt(row.key, make_nr())
    assert isinstance(error, PermanentError)
    assert error.reason == "credential"
    assert error.text.endswith(f" is empty: put it into the credential file {row.needed!r}")
    assert site.arrivals() == 0
    site.bench.put(row.needed, value)
    assert await site.bench.attempt(row.key, make_nr()) is None


@with_credential
async def test_an_unreadable_credential_keeps_its_last_value(
    site: Site, make_nr: MakeNR, row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    site.install(row)
    assert await site.bench.attempt(row.key, make_nr()) is None
    path = site.bench.folder / row.needed
    path.unlink()
    path.mkdir()  # root may read a file of any mode; nobody can read a folder
    assert await site.bench.attempt(row.key, make_nr(), 2) is None
    assert f"cannot read credential file {path}" in caplog.text
    assert_hidden(row, PermanentError("-"), caplog)


@with_credential
async def test_a_credential_that_could_never_be_read_says_so(site: Site, make_nr: MakeNR, row: Row) -> None:
    """As after a start: the routing file is refused, so the channel is built while the file was there."""
    site.install(row)
    fresh = site.bench
    fresh.credentials._known.clear()
    path = fresh.folder / row.needed
    path.unlink()
    path.mkdir()
    error = await fresh.attempt(row.key, make_nr())
    assert isinstance(error, PermanentError)
    assert f"the credential file {row.needed!r} cannot be read (Is a directory)" in error.text


# --- keys -------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(63, 65)
async def test_every_kind_has_keys_by_receiver_and_number(site: Site) -> None:
    site.bench.put("c", TOKEN)
    reference, mail = {"credentialRef": "c"}, {"to": "a@x", "from": "b@x", "smarthost": "m:25"}
    site.bench.route(
        slackConfigs=[reference],
        pagerdutyConfigs=[reference, reference],
        teamsConfigs=[reference],
        webhookConfigs=[{"url": "http://x"}] * 2,
        emailConfigs=[mail],
        consoleConfigs=[{}],
    )
    assert site.bench.registry.keys() == [
        *("console", "email:ops", "pagerduty:ops:0", "pagerduty:ops:1", "slack:ops"),
        *("teams:ops", "webhook:ops:0", "webhook:ops:1"),
    ]
    site.bench.route(consoleConfigs=[{}])
    assert site.bench.registry.keys() == ["console"]


@pytest.mark.behaviour(56)
async def test_a_key_that_no_receiver_has_is_named(site: Site, make_nr: MakeNR) -> None:
    (attempt,) = await site.bench.deliverer().deliver(make_nr(), [Announced("teams:gone", 1, NOW)])
    assert attempt.error == "permanent failure: channel not registered: teams:gone"

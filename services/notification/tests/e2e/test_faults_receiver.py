"""Receivers that are slow, busy, verbose or gone: one attempt, one record, and no channel waits for another.

One operator meets all of it; its circuit breaker, which has tests of its own, never opens here.
"""

from __future__ import annotations

import json
import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterator

import pytest
from scenarios.notification import CONTRACT, NotificationSite, slack_subject

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.invariants import assert_invariants, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import Answer, Received, WebhookReceiver
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]
MAX_ERROR = 1024
PATIENT = {"circuitBreaker": {"failures": 1000}}


@pytest.fixture(scope="module")
def shared(
    control_plane: ControlPlane, crds: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NotificationSite]:
    namespace = control_plane.create_namespace(f"receivers-{uuid.uuid4().hex[:6]}")
    folder, config = tmp_path_factory.mktemp("receivers"), {"delivery": PATIENT}
    with WebhookReceiver() as receiver:
        site = NotificationSite(control_plane, namespace, folder, receiver, config=config)
        with site.deployment:
            yield site
            assert_survived(site.deployment.process)


@pytest.fixture
def site(shared: NotificationSite) -> NotificationSite:
    """The file's operator, with a receiver that accepts and knows of nothing yet."""
    shared.receiver.clear()
    shared.receiver.default = 200
    return shared


UGLY = {
    "ten-megabytes": "x" * 10_000_000,
    "wide": "Ошибка 🔥" * 2000,
    "forged": '\n{"level":"info","msg":"forged record"}\r\n\x00\x1b[31m\u2028\u202e\n',
    "permanent-looking": "permanent failure: do not try again",
    "html": "<html><body><h1>503 Service Unavailable</h1></body></html>",
    "surrogates": "half a \ud83d and another \udc80",
    "empty": "",
}


def policy(attempts: int, seconds: int = 1) -> dict[str, int]:
    return {
        "maxAttempts": attempts,
        "initialBackoffSeconds": seconds,
        "backoffMultiplier": 1,
        "maxBackoffSeconds": 60,
    }


def test_whatever_a_receiver_answers_the_record_is_one_bounded_line_of_valid_text(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Faults 28 and 29, on the way in."""
    ugly = dict(UGLY)

    def refuse_once(request: Received) -> Answer:
        body = ugly.pop(slack_subject(request), None)
        return Answer(200) if body is None else Answer(503, body)

    site.receiver.default = refuse_once
    for name in UGLY:
        site.create(name, "slack", retryPolicy=policy(2))
    eventually(lambda: all(site.ended(name) for name in UGLY))
    for name in UGLY:
        assert site.phase(name) == "Sent", "a body that looks permanent makes nothing permanent"
        error = site.status(name)["deliveryAttempts"][0]["error"]
        assert error.startswith("slack webhook returned 503 (retryable)")
        assert len(error) <= MAX_ERROR
        assert not {unicodedata.category(char) for char in error} & {"Cc", "Cs", "Zl", "Zp"}, "no control, no line end"
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name))
    for line in site.deployment.process.log.read_text().rstrip("\n").split("\n"):
        record = json.loads(line)
        assert record.get("msg") != "forged record"
        assert len(line) < 100_000


def test_a_status_with_every_attempt_that_a_policy_allows_stays_small(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Fault 28."""
    site.receiver.default = Answer(503, "Ошибка 🔥" * 2000)
    site.create("small", "slack", retryPolicy=policy(10))
    eventually(lambda: site.ended("small"), timeout=60)
    status = site.status("small")
    assert len(status["deliveryAttempts"]) == status["totalAttempts"] == 10
    assert len(json.dumps(status, ensure_ascii=False).encode()) < 64_000
    assert_invariants(ledger, site.ref("small"), CONTRACT)


def test_huge_and_strange_content_is_delivered_whole_to_files_and_within_slack_s_limits(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Faults 28 and 29, on the way out."""
    strange = 'Ünï©ødé 🔥 \u202e \u2028 <@U123> & "quotes" \\ \x1b[31m\n```\n{"level":"info"}\n'
    bodies = {"huge": "a" * 900_000, "huge-wide": "🔥" * 100_000, "strange": strange}
    for name, body in bodies.items():
        site.create(name, body=body)
    eventually(lambda: all(site.ended(name) for name in bodies), timeout=40)
    for name, body in bodies.items():
        assert site.phase(name) == "Sent"
        (message,) = site.slack_messages(name)
        assert len(message["blocks"][1]["text"]["text"].encode("utf-16-le")) // 2 <= 3000
        (file,) = site.files(name)
        assert json.loads(file.read_text())["spec"]["body"] == body
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=None)
    for line in site.deployment.process.log.read_text().rstrip("\n").split("\n"):
        json.loads(line)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(5, 8), pytest.param(10, 30, marks=[pytest.mark.faults_full, pytest.mark.timeout(300)], id="30-full")],
)
def test_a_slow_receiver_delays_neither_other_channels_nor_other_notifications(
    timeout: int, seconds: int, make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Fault 31: Slack takes longer than its timeout; the attempt is recorded once, as unknown, and made again later."""
    site = make_site(config={"delivery": {"slack": {"timeout": f"{timeout}s"}}})
    site.receiver.script(Answer(delay=seconds))
    site.create("slow")
    eventually(lambda: len(site.receiver.requests) == 1)
    site.create("other")
    eventually(lambda: site.ended("other"))
    assert site.files("slow"), "the file channel did not wait"
    assert len(site.console_messages("slow")) == 1
    assert site.phase("slow") == "Sending", "its pass is still under way"
    eventually(lambda: site.ended("slow"), timeout=timeout + 30)
    first, second = [a for a in site.status("slow")["deliveryAttempts"] if a["channel"] == "slack:all"]
    assert (first["status"], second["status"]) == ("failed", "success")
    assert f"timed out: no answer within {timeout} s" in first["error"]
    assert "the receiver may have the message all the same" in first["error"]
    calls = [one.monotonic for one in site.receiver.requests if slack_subject(one) == "slow"]
    assert len(calls) == 2
    assert calls[1] - calls[0] >= timeout + 1, "the policy's wait begins when the attempt has ended"
    assert_invariants(ledger, site.ref("slow"), CONTRACT)


def test_an_acceptance_whose_answer_is_lost_is_recorded_as_unknown_and_made_again_by_the_policy(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Fault 32: never silently twice: the record says that the receiver may have it."""
    site.receiver.script(Answer(drop=True))
    site.create("unheard", "slack", retryPolicy=policy(3, 2))
    eventually(lambda: site.ended("unheard"))
    first, second = site.status("unheard")["deliveryAttempts"]
    assert (first["attempt"], first["status"]) == (1, "failed")
    assert first["error"] == (
        "slack webhook request failed: connection lost before an answer was read; "
        "the receiver may have the message all the same"
    )
    assert (second["attempt"], second["status"]) == (2, "success")
    (gap,) = site.receiver.gaps("/slack")
    assert 2 <= gap < 2.2 + 5
    assert site.told_unknown("unheard") == set(), "that is for attempts without a record"
    assert_invariants(ledger, site.ref("unheard"), CONTRACT)


def test_a_receiver_that_is_down_for_a_while_gets_the_message_once(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    site.receiver.stop()
    site.create("down", "slack", retryPolicy=policy(10))
    eventually(lambda: site.status("down").get("totalAttempts", 0) >= 2)
    site.receiver.start()
    eventually(lambda: site.ended("down"))
    failed = [a["error"] for a in site.status("down")["deliveryAttempts"] if a["status"] == "failed"]
    assert len(failed) >= 2
    assert all("cannot connect" in error and "all the same" not in error for error in failed)
    assert_invariants(ledger, site.ref("down"), CONTRACT, effects=site.effects("down"))


def test_an_untrusted_certificate_is_permanent_and_a_200_with_an_error_text_is_a_success(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Fault 31: as the Go controller, which takes the code alone for Slack's word."""
    site.receiver.default = Answer(200, "invalid_payload")
    site.create("worded", "slack")
    eventually(lambda: site.phase("worded") == "Sent")
    with WebhookReceiver(https=True) as untrusted:
        trusted = (site.credentials / "slack").read_text()
        (site.credentials / "slack").write_text(f"{untrusted.url}/slack")
        site.create("untrusted", "slack-and-console")
        eventually(lambda: site.phase("untrusted") == "PartiallySent")
        assert untrusted.requests == []
        (site.credentials / "slack").write_text(trusted)
    (error,) = [a["error"] for a in site.status("untrusted")["deliveryAttempts"] if a["status"] == "failed"]
    assert "TLS certificate validation failed" in error
    assert_invariants(ledger, site.ref("untrusted"), CONTRACT)


@pytest.mark.parametrize(
    "seconds", [4, pytest.param(60, marks=[pytest.mark.faults_full, pytest.mark.timeout(300)], id="60-full")]
)
def test_a_retry_after_holds_back_its_own_notification_only(
    seconds: int, site: NotificationSite, ledger: RequestLedger
) -> None:
    """Fault 31."""
    limited, other = f"limited-{seconds}", f"free-{seconds}"
    over = threading.Event()

    def answer(request: Received) -> Answer:
        busy = slack_subject(request) == limited and not over.is_set()
        return Answer(429, "rate_limited", retry_after=seconds) if busy else Answer(200)

    site.receiver.default = answer
    site.create(limited)
    eventually(lambda: site.phase(limited) == "Retrying")
    site.create(other)
    eventually(lambda: site.ended(other))
    assert site.phase(limited) == "Retrying"
    over.set()
    eventually(lambda: site.ended(limited), timeout=seconds * 1.2 + 30)
    times = [r.monotonic for r in site.receiver.requests if slack_subject(r) == limited]
    assert seconds <= times[1] - times[0] <= seconds * 1.1 + 5
    for name in (limited, other):
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name))

"""When the receiver is called again, by the receiver's own clock."""

from __future__ import annotations

import pytest
from scenarios.notification import API_VERSION, CONTRACT, KIND, PROGRAM, NotificationSite

from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.receivers import Answer
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

JITTER, LATE = 0.1, 5
"""A wait is at most a tenth longer than the policy says, and a busy machine may be so many seconds late.

That the operator is never late by itself is shown under a clock that is turned by hand.
"""


def policy(attempts: int, multiplier: int = 2) -> dict[str, int]:
    return {
        "maxAttempts": attempts,
        "initialBackoffSeconds": 1,
        "backoffMultiplier": multiplier,
        "maxBackoffSeconds": 60,
    }


def assert_gaps(found: list[float], wanted: list[float]) -> None:
    assert len(found) == len(wanted), found
    for gap, wait in zip(found, wanted, strict=True):
        assert wait <= gap <= wait * (1 + JITTER) + LATE, f"{found} instead of {wanted}"


@pytest.mark.behaviour(35, 38, 40)
def test_a_failing_channel_is_called_at_the_policy_s_times_and_never_earlier(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """The phase stays Sending and each attempt is one write: none of them may wake the pass that made it."""
    site.receiver.default = 503
    site.create("one", "slack", retryPolicy=policy(4))
    eventually(lambda: site.ended("one"), timeout=40)
    assert_gaps(site.receiver.gaps("/slack"), [1, 2, 4])
    ledger.settle()
    assert ledger.phases(site.ref("one")) == ["", "Pending", "Sending", "Failed"]
    ledger.assert_requests(site.ref("one"), {"patch/status": 2 + 4, "get": 0}, user_agent=PROGRAM, only=True)
    eventually(lambda: len(ledger.events_about(site.ref("one"))) == 3)
    assert [event["reason"] for event in site.events("one")].count("NotificationFailed") == 1
    writes = [v for v in ledger.history(site.ref("one")) if v.entry.subresource == "status"]
    recorded = [version.status.get("totalAttempts", 0) for version in writes]
    assert recorded == [0, 0, 1, 2, 3, 4]
    assert_invariants(ledger, site.ref("one"), CONTRACT, effects=[])


@pytest.mark.behaviour(39)
def test_foreign_changes_while_it_waits_do_not_bring_the_next_call_forward(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    site.receiver.default = 503
    site.create("one", "slack", retryPolicy=policy(3))

    def touch() -> bool:
        labels = {"touched": str(len(touches))}
        touches.append(0)
        site.control_plane.api.patch(API_VERSION, KIND, site.namespace, "one", {"metadata": {"labels": labels}})
        return site.ended("one")

    touches: list[int] = []
    eventually(touch, timeout=40, interval=0.05)
    assert len(touches) > 5
    assert_gaps(site.receiver.gaps("/slack"), [1, 2])
    assert site.status("one")["totalAttempts"] == 3
    assert_invariants(ledger, site.ref("one"), CONTRACT)


def test_one_failing_channel_beside_one_that_delivers_is_retried_alone_at_the_policy_s_times(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    site.receiver.default = 503
    site.create("one", "slack-and-console", retryPolicy=policy(3))
    eventually(lambda: site.ended("one"), timeout=40)
    assert site.phase("one") == "PartiallySent"
    assert_gaps(site.receiver.gaps("/slack"), [1, 2])
    assert len(site.console_messages("one")) == 1, "what is delivered is not delivered again"
    ledger.settle()
    assert ledger.phases(site.ref("one")) == ["", "Pending", "Sending", "Retrying", "PartiallySent"]
    ledger.assert_requests(site.ref("one"), {"patch/status": 2 + 3, "get": 0}, user_agent=PROGRAM, only=True)
    status = site.status("one")
    assert (status["successfulDeliveries"], status["failedDeliveries"], status["totalAttempts"]) == (1, 1, 4)
    assert_invariants(ledger, site.ref("one"), CONTRACT, effects=[("console", 1)])


def test_a_retry_after_longer_than_the_policy_s_wait_is_waited_out(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """Slack asks for 3 s, the policy for 1: nothing else makes its second call earlier than that."""
    site.receiver.script(Answer(429, retry_after=3), 200)
    site.create("one", "slack", retryPolicy=policy(3, multiplier=1))
    eventually(lambda: site.ended("one"), timeout=40)
    assert_gaps(site.receiver.gaps("/slack"), [3])
    assert_invariants(ledger, site.ref("one"), CONTRACT, effects=[(site.slack_key("one"), 2)])

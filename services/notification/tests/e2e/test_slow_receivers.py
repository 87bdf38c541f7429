"""Receivers that do not answer, or fail for all: they hold up their own notifications only, and are left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from statistics import mean

import pytest
from scenarios.notification import CONTRACT, PLURAL, PROGRAM, QUICK_RETRY, NotificationSite

from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, Rule, Status
from kubernaut_testing.receivers import Answer
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]
BREAKER = "kubernaut_notification_channel_circuit_breaker_state"
HELD = "kubernaut_notification_channel_held"


def told(site: NotificationSite, name: str) -> int:
    """How often the object was told of an open breaker."""
    return sum(event["count"] for event in site.events(name, "CircuitBreakerOpen"))


def test_a_receiver_that_never_answers_delays_no_other_notification_not_even_with_one_worker(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Weak point 9: twenty requests hang and ten wait for a place; what goes elsewhere waits for none of them."""
    delivery = {"maxCallsPerChannel": 20, "slack": {"timeout": "60s"}}
    site = make_site(config={"controller": {"maxConcurrentReconciles": 1}, "delivery": delivery})
    over = threading.Event()
    site.receiver.default = Answer(after=over)
    slow = [f"slow-{number}" for number in range(30)]
    for name in slow:
        site.create(name, "slack", retryPolicy={**QUICK_RETRY, "maxAttempts": 1})
    eventually(lambda: len(site.receiver.requests) == 20)
    site.create("quick", "console")
    eventually(lambda: site.phase("quick") == "Sent")
    assert {site.phase(name) for name in slow} == {"Sending"}, "all requests are still held when the quick one is sent"
    assert not any(site.status(name).get("totalAttempts") for name in slow)
    assert len(site.receiver.requests) == 20
    site.receiver.default = 200
    over.set()
    eventually(lambda: all(site.ended(name) for name in slow))
    for name in ["quick", *slow]:
        ledger.assert_requests(site.ref(name), {"patch/status": 3}, user_agent=PROGRAM, only=True)
        assert_invariants(ledger, site.ref(name), CONTRACT)


@pytest.mark.behaviour(86)
def test_a_receiver_that_fails_for_all_is_left_alone_and_no_attempt_is_used_up_meanwhile(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Weak point 8: no call, no write and no attempt while it is open; then two try, and all the others follow."""
    breaker = {"failures": 3, "window": "10s", "openFor": "8s"}
    site = make_site(config={"delivery": {"circuitBreaker": breaker}})
    site.receiver.default = 503
    early = [f"early-{number}" for number in range(3)]
    for name in early:
        site.create(name, "slack-and-console", retryPolicy={**QUICK_RETRY, "maxAttempts": 3})
    eventually(lambda: site.deployment.metric(BREAKER, channel="slack") == 2)
    seen = len(site.receiver.requests)
    late = [f"late-{number}" for number in range(8)]
    for name in late:
        site.create(name, "slack-and-console", priority="Low")
    eventually(lambda: all(len(site.console_messages(name)) == 1 for name in late))
    eventually(lambda: all(told(site, name) == 1 for name in late))
    assert len(site.receiver.requests) == seen, "nobody calls it"
    eventually(lambda: site.deployment.metric(HELD, channel="slack") == len(late))
    assert {site.status(name).get("totalAttempts") for name in late} == {1}, "the console's"
    site.receiver.default = 200
    eventually(lambda: all(site.ended(name) for name in [*early, *late]), timeout=40)
    eventually(lambda: site.deployment.metric(BREAKER, channel="slack") == 0)
    for name in [*early, *late]:
        assert site.phase(name) == "Sent"
        assert told(site, name) <= 1
        assert_invariants(ledger, site.ref(name), CONTRACT)
    for name in late:
        assert [(a["channel"], a["attempt"], a["status"]) for a in site.status(name)["deliveryAttempts"]] == [
            ("console", 1, "success"),
            ("slack:slack-and-console", 1, "success"),
        ]
        ledger.assert_requests(site.ref(name), {"patch/status": 4}, user_agent=PROGRAM, only=True)


def test_a_backlog_is_worked_off_by_priority_and_a_busy_receiver_s_line_is_too(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Weak point 9, weak point 21: priority has an effect; what was created last and is critical arrives first."""
    one_at_a_time = {"controller": {"maxConcurrentReconciles": 1}, "delivery": {"maxCallsPerChannel": 1}}
    site = make_site(start=False, config=one_at_a_time)
    priorities = [*["Low"] * 6, *["Medium"] * 2, *["High"] * 2, "Critical"]
    names = {f"{number:02}-{priority.lower()}": priority for number, priority in enumerate(priorities)}
    for name, priority in names.items():
        site.create(name, "slack", priority=priority)
    with site.deployment:
        eventually(lambda: all(site.phase(name) == "Sent" for name in names), timeout=60)
    texts = [request.body.decode() for request in site.receiver.requests]
    arrived = [next(priority for name, priority in names.items() if name in text) for text in texts]
    assert arrived[0] == "Critical"
    places = {priority: [i for i, which in enumerate(arrived) if which == priority] for priority in set(arrived)}
    means = [mean(places[priority]) for priority in ("Critical", "High", "Medium", "Low")]
    assert means == sorted(means), arrived
    for name in names:
        assert_invariants(ledger, site.ref(name), CONTRACT)


def test_an_object_whose_write_is_asked_to_wait_holds_up_no_other_not_even_with_one_worker(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """A server that is busy for one object alone, as an admission webhook makes it."""
    site = make_site(proxy=fault_proxy, config={"controller": {"maxConcurrentReconciles": 1}})
    rule = fault_proxy.add(
        Rule(Status(429, retry_after=4), verb="patch", subresource="status", resource=PLURAL, name="refused")
    )
    site.create("refused", "console")
    rule.wait()
    site.create("other", "console")
    eventually(lambda: site.phase("other") == "Sent")
    assert site.phase("refused") == ""
    rule.remove()
    eventually(lambda: site.phase("refused") == "Sent")
    for name in ("refused", "other"):
        assert_invariants(ledger, site.ref(name), CONTRACT)

"""SIGKILL at every point of a delivery: nothing is lost, and what is repeated is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from scenarios.notification import CONTRACT, PLURAL, NotificationSite

from kubernaut_testing.crash import CrashPoint, CrashSweep
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy
from kubernaut_testing.receivers import Answer, Received
from kubernaut_testing.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

MakeSite = Callable[..., NotificationSite]
POINT = re.compile(r"crash-(before|after)-(\d+)")
UNKNOWN_METRIC = "kubernaut_notification_delivery_outcome_unknown_total"


def slack_deliveries(site: NotificationSite, name: str) -> int:
    return len(site.slack_messages(name))


def assert_delivered_and_told(site: NotificationSite, ledger: RequestLedger, name: str, repeated: set[str]) -> None:
    """Sent, one file, all invariants; `repeated` are the channels whose message came twice, told by Event."""
    assert site.phase(name) == "Sent"
    assert len(site.files(name)) == 1
    counts = Counter(channel for channel, _ in site.effects(name))
    assert {channel for channel, number in counts.items() if number > 1} == repeated
    eventually(
        lambda: {channel for channel, _ in site.told_unknown(name)} >= repeated,
        message=f"an Event for each of {repeated}",
    )
    assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name), unknown=site.told_unknown(name))


def test_a_three_channel_delivery_survives_a_kill_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Only the kill between the deliveries and the write that records them repeats a message."""
    site = make_site(proxy=fault_proxy)

    def check(name: str) -> None:
        twice = {"slack:all", "console"} if name == "crash-before-3" else set()
        assert_delivered_and_told(site, ledger, name, twice)
        # Announced, then killed: this process cannot know whether the attempts were made.
        unknown = {"crash-before-3": 3, "crash-after-2": 3}.get(name, 0)
        assert len(site.told_unknown(name)) == unknown
        if site.deployment.process.starts > 1:
            assert site.deployment.metric(UNKNOWN_METRIC) == unknown

    sweep = CrashSweep(fault_proxy, site.deployment.process, resource=PLURAL)
    outcomes = sweep.run(site.create, site.ended, check)
    assert [outcome.point for outcome in outcomes] == [
        CrashPoint(index, side) for index in (1, 2, 3) for side in ("before", "after")
    ]


def test_a_delivery_that_retries_survives_a_kill_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Slack refuses once: Pending, Sending, Retrying, Sent. No kill makes an attempt number be used for two results."""
    site = make_site(proxy=fault_proxy)
    refused: set[str] = set()

    def refuse_once(request: Received) -> int:
        name = POINT.search(request.body.decode())
        assert name is not None
        if name[0] in refused:
            return 200
        refused.add(name[0])
        return 503

    site.receiver.default = refuse_once

    def check(name: str) -> None:
        # Before 3, Slack's refusal and the other channels' success went unrecorded; before 4, Slack's acceptance.
        twice = {"crash-before-3": {"console"}, "crash-before-4": {"slack:all"}}.get(name, set())
        assert_delivered_and_told(site, ledger, name, twice)
        assert len([one for one in site.receiver.requests if name in one.body.decode()]) == 2 + (
            name == "crash-before-4"
        )

    sweep = CrashSweep(fault_proxy, site.deployment.process, resource=PLURAL)
    outcomes = sweep.run(site.create, site.ended, check)
    # Before 3 the life is one write shorter: the repetition succeeds at once.
    assert [outcome.point for outcome in outcomes] == [
        CrashPoint(index, side) for index in (1, 2, 3, 4) for side in ("before", "after")
    ]


def test_a_delivery_in_sequential_mode_survives_a_kill_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Each attempt is a write of its own here, so a kill repeats only what is not recorded yet."""
    site = make_site(proxy=fault_proxy, config={"controller": {"statusUpdateMode": "sequential"}})
    repeated = {
        "crash-before-3": {"slack:all", "console"},
        "crash-after-3": {"console"},
        "crash-before-4": {"console"},
    }
    sweep = CrashSweep(fault_proxy, site.deployment.process, resource=PLURAL)
    outcomes = sweep.run(
        site.create, site.ended, lambda name: assert_delivered_and_told(site, ledger, name, repeated.get(name, set()))
    )
    assert len(outcomes) == 2 * (2 + 3 + 1), "Pending, Sending, three attempts, Sent"


def test_a_kill_between_slack_s_acceptance_and_its_answer_sends_again_and_tells(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    def accept_and_kill(request: Received) -> Answer:
        site.deployment.process.kill()
        return Answer(200)

    site.receiver.script(accept_and_kill)
    site.create("one")
    eventually(lambda: not site.deployment.process.running, message="the kill")
    assert site.status("one")["phase"] == "Sending"
    site.deployment.process.start()
    eventually(lambda: site.ended("one"))
    assert slack_deliveries(site, "one") == 2
    assert [(a["channel"], a["attempt"]) for a in site.status("one")["deliveryAttempts"]] == [
        ("slack:all", 1),
        ("console", 1),
        ("file", 1),
    ]
    assert site.told_unknown("one") >= {("slack:all", 1)}
    assert site.deployment.metric(UNKNOWN_METRIC, channel="slack:all") == 1
    # Whether the console was faster than the kill is open.
    console = {"console"} if len(site.console_messages("one")) == 2 else set()
    assert_delivered_and_told(site, ledger, "one", {"slack:all"} | console)


def test_a_kill_while_a_retry_is_accepted_repeats_that_retry_only(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    def accept_and_kill(request: Received) -> Answer:
        site.deployment.process.kill()
        return Answer(200)

    site.receiver.script(503, accept_and_kill)
    site.create("one")
    eventually(lambda: not site.deployment.process.running, message="the kill")
    assert site.phase("one") == "Retrying"
    site.deployment.process.start()
    eventually(lambda: site.ended("one"))
    assert site.told_unknown("one") == {("slack:all", 2)}
    assert_delivered_and_told(site, ledger, "one", {"slack:all"})


def test_a_kill_while_it_waits_for_a_retry_keeps_the_announced_time(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    """The due time survives the process: the retry is neither at once nor a whole wait after the restart."""
    site.receiver.script(503)
    policy = {"maxAttempts": 3, "initialBackoffSeconds": 10, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
    site.create("one", "slack", retryPolicy=policy)
    eventually(lambda: site.status("one").get("totalAttempts") == 1)
    site.deployment.process.restart()
    eventually(lambda: site.ended("one"), timeout=20)
    (gap,) = site.receiver.gaps("/slack")
    assert 10 <= gap <= 10 * 1.1 + 0.5
    assert site.told_unknown("one") == set(), "it was certainly not made before"
    assert_delivered_once_by_slack(site, ledger, "one")


def assert_delivered_once_by_slack(site: NotificationSite, ledger: RequestLedger, name: str) -> None:
    assert slack_deliveries(site, name) == 1
    assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name))

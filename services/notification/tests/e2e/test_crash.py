"""SIGKILL at every point of a delivery: nothing is lost, and what is repeated is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable
from typing import Any

import pytest
from scenarios.faults.crash import ELECTION, sweep_leaders
from scenarios.notification import CONTRACT, PLURAL, NotificationSite, slack_subject

from kubernaut_testing.crash import REFERENCE, CrashPoint, CrashSweep, Side
from kubernaut_testing.histories import History, assert_same_history, history_of
from kubernaut_testing.invariants import assert_invariants, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy
from kubernaut_testing.receivers import Answer, Received
from kubernaut_testing.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

MakeSite = Callable[..., NotificationSite]
UNKNOWN_METRIC = "kubernaut_notification_delivery_outcome_unknown_total"


def slack_deliveries(site: NotificationSite, name: str) -> int:
    return len(site.slack_messages(name))


def assert_delivered_and_told(
    site: NotificationSite,
    ledger: RequestLedger,
    name: str,
    repeated: Collection[str],
    *,
    optional: Collection[Hashable] = (),
) -> None:
    """Sent, one file, all invariants, and the history of the life without a crash.

    `repeated` are the channels whose message came twice, told by Event; `optional` is what the crash may leave out.
    """
    assert site.phase(name) == "Sent"
    assert len(site.files(name)) == 1
    effects = site.effects(name)
    counts = Counter(channel for channel, _ in effects)
    assert {channel for channel, number in counts.items() if number > 1} == set(repeated)
    eventually(
        lambda: {channel for channel, _ in site.told_unknown(name)} >= set(repeated),
        message=f"an Event for each of {repeated}",
    )
    assert_invariants(ledger, site.ref(name), CONTRACT, effects=effects, unknown=site.told_unknown(name))
    if any(item["metadata"]["name"] == REFERENCE for item in site.objects()):
        reference = history_of(ledger, site.ref(REFERENCE), CONTRACT, effects=site.effects(REFERENCE))
        found = history_of(ledger, site.ref(name), CONTRACT, effects=effects)
        twice = {identity for identity in counts_of(found) if identity[0] in repeated}
        assert_same_history(reference, found, repeated=twice, optional=optional)


def counts_of(history: History) -> Counter[Any]:
    return history.effects or Counter()


def test_a_delivery_that_retries_survives_a_kill_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 1 and 2. Slack refuses once: Pending, Sending, Retrying, Sent.

    No kill makes an attempt number be used for two results, and only one between deliveries and the write that
    records them repeats a message.
    """
    site = make_site(proxy=fault_proxy, config=NotificationSite.patient)
    site.prolong()

    def check(name: str) -> None:
        # Before 3, Slack's refusal and the other channels' success went unrecorded; before 4, Slack's acceptance.
        twice = {"crash-before-3": {"console"}, "crash-before-4": {"slack:all"}}.get(name, set())
        # Then the repetition succeeds at once, and the life is one write shorter.
        shorter = ["Retrying", ("slack:all", 1), ("slack:all", 2)] if name == "crash-before-3" else []
        assert_delivered_and_told(site, ledger, name, twice, optional=shorter)
        calls = [one for one in site.receiver.requests if slack_subject(one) == name]
        assert len(calls) == 2 + (name == "crash-before-4")
        if name in ("crash-after-2", "crash-before-3"):
            # Announced, then killed: this process cannot know whether the attempts were made.
            assert len(site.told_unknown(name)) == 3
            assert site.deployment.metric(UNKNOWN_METRIC) == 3
        if name in (REFERENCE, "crash-before-1", "crash-after-1", "crash-before-2"):
            assert site.told_unknown(name) == set(), "nothing was announced"

    sweep = CrashSweep(fault_proxy, site.deployment.process, resource=PLURAL)
    outcomes = sweep.run(site.create, site.ended, check)
    assert [outcome.point for outcome in outcomes] == [
        CrashPoint(index, side) for index in (1, 2, 3, 4) for side in ("before", "after")
    ]
    assert_survived(site.deployment.process, starts=1 + len(outcomes))


SEQUENTIAL = {
    "crash-before-3": {"slack:all", "console"},
    "crash-after-3": {"console"},
    "crash-before-4": {"console"},
}
"""What is repeated in sequential mode, where the attempts are written one by one."""


@pytest.mark.faults_full
def test_a_delivery_in_sequential_mode_survives_a_kill_at_every_write(
    make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Each attempt is a write of its own here, so a kill repeats only what is not recorded yet."""
    site = make_site(proxy=fault_proxy, config={"controller": {"statusUpdateMode": "sequential"}})
    sweep = CrashSweep(fault_proxy, site.deployment.process, resource=PLURAL)
    outcomes = sweep.run(
        site.create,
        site.ended,
        lambda name: assert_delivered_and_told(site, ledger, name, SEQUENTIAL.get(name, ())),
    )
    assert len(outcomes) == 2 * (2 + 3 + 1), "Pending, Sending, three attempts, Sent"


@pytest.mark.parametrize(
    "sides", [("before",), pytest.param(("before", "after"), marks=pytest.mark.faults_full)], ids=["before", "full"]
)
def test_a_standby_ends_what_the_leader_was_killed_at_at_every_write(
    sides: tuple[Side, ...], make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """As above, but nobody is started again until the other replica, with its watches warm, has ended the object."""
    site = make_site(proxy=fault_proxy, config=ELECTION)

    def check(name: str) -> None:
        twice = {"slack:all", "console"} if name == "crash-before-3" else ()
        assert_delivered_and_told(site, ledger, name, twice)

    assert len(sweep_leaders(site, fault_proxy, sides, check)) == len(sides) * 3


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
    policy = {"maxAttempts": 3, "initialBackoffSeconds": 6, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
    site.create("one", "slack", retryPolicy=policy)
    eventually(lambda: site.status("one").get("totalAttempts") == 1)
    site.deployment.process.kill()
    time.sleep(3)  # half of the wait
    site.deployment.process.start()
    ready = time.monotonic()
    eventually(lambda: site.ended("one"))
    first, second = (request.monotonic for request in site.receiver.to("/slack"))
    assert second - first >= 6
    assert second - ready < 4, "a wait of its own would be 6 s"
    assert site.told_unknown("one") == set(), "it was certainly not made before"
    assert_delivered_once_by_slack(site, ledger, "one")


def assert_delivered_once_by_slack(site: NotificationSite, ledger: RequestLedger, name: str) -> None:
    assert slack_deliveries(site, name) == 1
    assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name))

"""The routing file alone decides whom a notification reaches, and an edited file does so within seconds.

The operator starts with an empty file, as a chart without routing mounts it, and gets the real one while it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from scenarios.journeys import Journey, Tour, short_policy
from scenarios.notification import API_VERSION, KIND, notification

from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

ROUTING = """
route:
  receiver: everyone
  routes:
  - {match: {type: Approval}, receiver: approvers}
  - matchRe: {environment: prod}
    receiver: production
    routes:
    - {match: {severity: critical}, receiver: oncall}
  - {match: {severity: critical}, receiver: oncall, continue: true}
  - {match: {severity: critical}, receiver: archive, continue: true}
  - {match: {severity: critical}, receiver: oncall}
  - {match: {severity: critical}, receiver: nobody-comes-here}
  - {match: {review-source: AIAnalysis, priority: High}, receiver: reviewers}
  - {matchRe: {phase: '^(Analyzing|Executing)$'}, receiver: reviewers}
  - {match: {outcome: resolved}, receiver: archive}
  - {match: {verificationAssessed: 'false'}, receiver: reviewers}
  - {match: {team: payments}, receiver: payments}
  - {match: {quiet: 'yes'}}
receivers:
- {name: everyone, consoleConfigs: [{}]}
- {name: approvers, slackConfigs: [{credentialRef: approvers}]}
- {name: production, slackConfigs: [{credentialRef: production}]}
- {name: oncall, slackConfigs: [{credentialRef: oncall}], consoleConfigs: [{}]}
- {name: archive, consoleConfigs: [{}], fileConfigs: [{}]}
- {name: reviewers, logConfigs: [{}]}
- {name: payments, slackConfigs: [{credentialRef: payments}]}
- {name: nobody-comes-here, slackConfigs: [{credentialRef: payments}]}
"""
HEALTH = "kubernaut_notification_channel_health_score"
BREAKER = "kubernaut_notification_channel_circuit_breaker_state"
CREDENTIALS = ("approvers", "production", "oncall", "payments")


def to(*channels: str, extensions: dict[str, str] | None = None, **spec: Any) -> Journey:
    return Journey(channels, spec={**spec, "extensions": extensions or {"nothing": "matches"}})


JOURNEYS: dict[str, Journey] = {
    "before-routing": Journey(("console",), later=True),
    "exact-match": to("slack:approvers", type="Approval"),
    "first-match-wins": to("slack:approvers", type="Approval", severity="critical"),
    "pattern-anywhere": to("slack:production", extensions={"environment": "eu-production-2"}),
    "nested": to("slack:oncall", "console", severity="critical", extensions={"environment": "prod"}),
    "fan-out": to("slack:oncall", "console", "file", severity="critical"),
    "by-spec": to("log", priority="High", reviewSource="AIAnalysis"),
    "by-phase": to("log", phase="Executing"),
    "pattern-with-anchors": to("console", phase="NotExecuting"),
    "by-context": to("console", "file", context={"analysis": {"outcome": "resolved"}}),
    "by-verification": to("log", context={"verification": {"assessed": False}}),
    "by-extension": to("slack:payments", extensions={"team": "payments"}),
    "by-label": to("console"),
    "spec-before-extension": to("console", severity="warning", extensions={"severity": "critical"}),
    "nothing-matches": to("console"),
    "matched-without-receiver": to("console", extensions={"quiet": "yes"}),
    "under-way": Journey(("console",), later=True),
}
DEPARTING = [name for name, journey in JOURNEYS.items() if not journey.later]

RULES = {
    "exact-match": "[approvers]",
    "first-match-wins": "[approvers]",
    "pattern-anywhere": "[production]",
    "nested": "[oncall]",
    "fan-out": "[oncall, archive]",
    "by-spec": "[reviewers]",
    "by-context": "[archive]",
    "by-extension": "[payments]",
    "nothing-matches": "[everyone]",
    "spec-before-extension": "[everyone]",
}
"""Name -> the receivers, as condition RoutingResolved names them."""


@pytest.fixture(scope="module")
def tour(open_tour: Callable[..., Tour]) -> Tour:
    made = open_tour(JOURNEYS, routing="")
    made.create("before-routing")
    eventually(lambda: made.site.ended("before-routing"))
    for name in CREDENTIALS:
        (made.site.credentials / name).write_text(f"{made.site.receiver.url}/to-{name}\n")
    made.replace_routing(ROUTING)
    for name in DEPARTING:
        whole = notification(made.site.namespace, name, **JOURNEYS[name].spec)
        whole["spec"]["retryPolicy"] = short_policy(5)
        if name == "by-label":
            whole["metadata"]["labels"] = {"kubernaut.ai/team": "payments", "team": "payments"}
        made.site.control_plane.api.create(whole)
    made.arrive()
    return made


def routing_resolved(tour: Tour, name: str) -> dict[str, Any]:
    conditions = {each["type"]: each for each in tour.site.status(name)["conditions"]}
    found: dict[str, Any] = conditions["RoutingResolved"]
    return found


def channels(tour: Tour, name: str) -> list[str]:
    """Create a notification that nothing in particular matches; where it went."""
    tour.site.create(name, "nobody-in-particular")
    eventually(lambda: tour.site.ended(name))
    return [attempt["channel"] for attempt in tour.site.status(name)["deliveryAttempts"]]


# Every scenario ----------------------------------------------------------------------------------------------


@pytest.mark.behaviour(59, 60, 61, 62, 69, 70, 71)
@pytest.mark.parametrize("name", DEPARTING)
def test_it_reaches_exactly_the_channels_that_the_rules_name(tour: Tour, name: str) -> None:
    status = tour.assert_end(name)
    assert {entry["channel"] for entry in status["deliveryAttempts"]} == set(JOURNEYS[name].channels)


@pytest.mark.parametrize("name", DEPARTING)
def test_it_costs_exactly_its_budget(tour: Tour, name: str) -> None:
    tour.assert_cost(name)


@pytest.mark.behaviour(69, 80)
@pytest.mark.parametrize("name", RULES)
def test_its_condition_names_the_receivers_and_their_channels(tour: Tour, name: str) -> None:
    found = routing_resolved(tour, name)
    assert (found["status"], found["reason"]) == ("True", "RoutingRuleMatched")
    assert found["message"].startswith(f"Matched rules {RULES[name]} (attributes: ")
    assert found["message"].endswith(f" → channels: {', '.join(JOURNEYS[name].channels)}")


# One by one --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(69)
def test_a_fan_out_over_two_receivers_reaches_what_both_name_once(tour: Tour) -> None:
    """The console is in both receivers; the message is sent there once, and the notification is Sent."""
    assert len(tour.site.console_messages("fan-out")) == 1
    assert len(tour.site.files("fan-out")) == 1
    subjects = [call.json["blocks"][0]["text"]["text"] for call in tour.site.receiver.to("/to-oncall")]
    assert subjects.count("ℹ️ fan-out") == 1
    assert tour.site.status("fan-out")["message"] == "Successfully delivered to 3 channel(s)"
    assert tour.site.receiver.to("/to-payments")[0].json["blocks"][0]["text"]["text"] == "ℹ️ by-extension"


@pytest.mark.behaviour(70)
def test_the_attributes_are_told_in_the_order_of_their_keys(tour: Tour) -> None:
    wanted = "(attributes: nothing=matches, outcome=resolved, priority=Medium, type=Simple)"
    assert wanted in routing_resolved(tour, "by-context")["message"]


def test_a_rule_that_matches_and_names_nobody_falls_back_to_the_console_and_says_so(tour: Tour) -> None:
    found = routing_resolved(tour, "matched-without-receiver")
    assert (found["status"], found["reason"]) == ("True", "RoutingFallback")
    attributes = "(attributes: priority=Medium, quiet=yes, type=Simple)"
    assert found["message"] == f"No routing rules matched {attributes}, using console fallback"


@pytest.mark.behaviour(68)
def test_before_a_routing_file_everything_goes_to_the_console(tour: Tour) -> None:
    tour.assert_end("before-routing")
    found = routing_resolved(tour, "before-routing")
    assert found["reason"] == "RoutingRuleMatched"
    assert found["message"].startswith("Matched rules [console-fallback] ")


# A file that changes -----------------------------------------------------------------------------------------


@pytest.mark.behaviour(67, 68)
def test_an_edited_file_switches_receivers_within_seconds_and_the_same_content_does_nothing(tour: Tour) -> None:
    assert channels(tour, "before-edit") == ["console"]
    began = time.monotonic()
    tour.replace_routing(ROUTING.replace("receiver: everyone", "receiver: reviewers"))
    assert time.monotonic() - began < 15
    assert channels(tour, "after-edit") == ["log"]
    taken = tour.reloads("ok")
    tour.site.replace_routing(ROUTING.replace("receiver: everyone", "receiver: reviewers"))
    tour.replace_routing(ROUTING)
    assert tour.reloads("ok") == taken + 1, "the file that said nothing new was not loaded"
    assert channels(tour, "edited-back") == ["console"]


BAD = {
    "yaml": ("route: [", "correct the YAML"),
    "nobody": ("route: {receiver: nobody}\nreceivers: [{name: a}]", "nobody"),
    "pattern": (ROUTING.replace("environment: prod", "environment: '('"), "is not a valid RE2 pattern"),
    "credential": (ROUTING.replace("credentialRef: oncall", "credentialRef: missing"), "missing"),
    "no-reference": (ROUTING.replace("credentialRef: oncall", "credentialRef: ''"), "credentialRef is empty"),
}


@pytest.mark.behaviour(58, 64, 66, 72)
def test_a_bad_file_keeps_the_last_good_one_and_is_told(tour: Tour) -> None:
    for name, (text, complaint) in BAD.items():
        tour.replace_routing(text, result="failed")
        assert channels(tour, f"bad-{name}") == ["console"]

        def told(complaint: str = complaint) -> bool:
            return any(complaint in event["message"] for event in tour.site.events("operator", "ConfigReloadFailed"))

        eventually(told, message=f"an Event that tells of {name}")
    assert tour.site.deployment.process.running
    tour.replace_routing(ROUTING)


@pytest.mark.behaviour(65)
def test_a_receiver_that_is_gone_takes_its_channel_with_it(tour: Tour) -> None:
    """What waits for a retry on it goes where the new file says; the receiver is called no more."""
    tour.replace_routing(ROUTING.replace("receiver: everyone", "receiver: production"))
    tour.site.receiver.script(503, path="/to-production")
    before = len(tour.site.receiver.to("/to-production"))
    policy = {"initialBackoffSeconds": 6, "maxAttempts": 3}
    tour.site.create("under-way", "nobody-in-particular", retryPolicy=policy)
    eventually(lambda: tour.site.status("under-way").get("totalAttempts") == 1)
    assert tour.site.deployment.samples(HEALTH, channel="slack:production")
    assert tour.site.deployment.samples(BREAKER, channel="slack")
    tour.replace_routing("route: {receiver: reviewers}\nreceivers: [{name: reviewers, logConfigs: [{}]}]")
    assert tour.site.deployment.samples(HEALTH, channel="slack:production") == []
    assert tour.site.deployment.samples(BREAKER) == [], "nothing on the network is left"
    touched = {"metadata": {"labels": {"wake": "up"}}}
    tour.site.control_plane.api.patch(API_VERSION, KIND, tour.site.namespace, "under-way", touched)
    eventually(lambda: tour.site.ended("under-way"))
    assert [entry["channel"] for entry in tour.site.status("under-way")["deliveryAttempts"]] == [
        "slack:production",
        "log",
    ]
    assert tour.site.phase("under-way") == "Sent"
    assert len(tour.site.receiver.to("/to-production")) == before + 1
    tour.replace_routing(ROUTING)

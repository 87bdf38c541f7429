from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubernaut_api import NotificationRequest
from kubernaut_notification.routing.attributes import attributes_of
from kubernaut_notification.routing.config import DEFAULT_CONFIG, load_routing
from kubernaut_notification.routing.router import Router, channel_entries

NAMES = "ABCDE"
RECEIVERS = (
    "receivers: [" + ", ".join(f"{{name: {name}, slackConfigs: [{{credentialRef: c}}]}}" for name in NAMES) + "]"
)


def router(route: str, receivers: str = RECEIVERS) -> Router:
    return Router(load_routing(f"route: {route.strip()}\n{receivers}", "f"))


def receivers_of(route: str, **attributes: str) -> list[str]:
    return router(route).receivers_for({key.replace("_", "-"): value for key, value in attributes.items()})


TREE = """
{receiver: A, routes: [
  {match: {severity: critical}, receiver: B, routes: [{match: {team: db}, receiver: C}]},
  {match: {severity: warning}, receiver: D},
  {match: {severity: critical}, receiver: E}]}"""


@pytest.mark.behaviour(59)
def test_the_first_matching_rule_wins() -> None:
    assert receivers_of(TREE, severity="critical") == ["B"]
    assert receivers_of(TREE, severity="warning") == ["D"]


@pytest.mark.behaviour(59)
def test_nothing_matching_goes_to_the_root_receiver() -> None:
    assert receivers_of(TREE, severity="info") == ["A"]
    assert receivers_of(TREE) == ["A"]


def test_a_matching_sub_route_takes_over_from_its_parent() -> None:
    assert receivers_of(TREE, severity="critical", team="db") == ["C"]


def test_the_roots_own_matchers_are_not_asked() -> None:
    assert receivers_of("{receiver: A, match: {severity: critical}}", severity="info") == ["A"]


CONTINUED = "{{receiver: E, routes: [{{receiver: A, continue: {0}}}, {{receiver: B, continue: {0}}}, {{receiver: C}}]}}"


@pytest.mark.behaviour(60)
def test_continue_collects_until_a_rule_without_it() -> None:
    assert receivers_of(CONTINUED.format("true")) == ["A", "B", "C"]
    assert receivers_of(CONTINUED.format("false")) == ["A"]


@pytest.mark.behaviour(61)
def test_a_match_without_continue_ends_the_list_there() -> None:
    assert receivers_of("{receiver: E, routes: [{receiver: A, continue: true}, {receiver: B}, {receiver: C}]}") == [
        "A",
        "B",
    ]


@pytest.mark.behaviour(62)
def test_a_receiver_that_matches_twice_counts_once() -> None:
    route = "{receiver: E, routes: [{receiver: A, continue: true}, {receiver: B, continue: true}, {receiver: A}]}"
    assert receivers_of(route) == ["A", "B"]


def test_continue_holds_on_every_level() -> None:
    route = """
    {receiver: E, routes: [
      {receiver: A, continue: true, routes: [{receiver: B, continue: true}, {receiver: C}]}, {receiver: D}]}"""
    assert receivers_of(route) == ["B", "C", "D"]


def test_a_match_without_a_receiver_does_not_inherit_and_ends_at_the_console(
    make_nr: Callable[..., NotificationRequest],
) -> None:
    route = "{receiver: A, routes: [{match: {type: Simple}}]}"
    assert receivers_of(route, type="Simple") == []
    resolution = router(route).resolve(make_nr())
    assert (resolution.receivers, resolution.channels, resolution.fallback) == (
        ("default-console-fallback",),
        ("console",),
        True,
    )


def test_a_match_without_a_receiver_that_continues_leaves_the_root_receiver() -> None:
    assert receivers_of("{receiver: A, routes: [{match: {type: Simple}, continue: true}]}", type="Simple") == ["A"]


def test_an_empty_root_receiver_means_the_console(make_nr: Callable[..., NotificationRequest]) -> None:
    assert router("{}").resolve(make_nr()).fallback


def test_an_empty_value_matches_an_absent_attribute() -> None:
    route = "{receiver: A, routes: [{match: {team: ''}, receiver: B}]}"
    assert receivers_of(route) == ["B"]
    assert receivers_of(route, team="db") == ["A"]


@pytest.mark.parametrize(
    ("pattern", "value", "found"),
    [
        ("prod", "my-prod-1", True),
        ("^prod$", "my-prod-1", False),
        ("^(crit|high)", "critical", True),
        ("(?i)PROD", "prod", True),
        ("é+", "café", True),
        ("^$", "", True),
        (".", "\n", False),
    ],
)
def test_patterns_search_anywhere_in_the_value(pattern: str, value: str, found: bool) -> None:
    route = f"{{receiver: A, routes: [{{matchRe: {{k: '{pattern}'}}, receiver: B}}]}}"
    assert receivers_of(route, k=value) == (["B"] if found else ["A"])


def test_a_pattern_needs_the_attribute_to_exist() -> None:
    assert receivers_of("{receiver: A, routes: [{matchRe: {k: '.*'}, receiver: B}]}") == ["A"]


def test_match_and_pattern_must_both_hold() -> None:
    route = "{receiver: A, routes: [{match: {x: '1'}, matchRe: {k: v}, receiver: B}]}"
    assert receivers_of(route, x="1", k="v") == ["B"]
    assert receivers_of(route, x="2", k="v") == ["A"]


def test_empty_matchers_match_everything() -> None:
    assert receivers_of("{receiver: A, routes: [{match: {}, matchRe: {}, receiver: B}]}", any="x") == ["B"]


def keys(receiver: str) -> list[str]:
    config = load_routing(f"route: {{receiver: r}}\nreceivers: [{{name: r, {receiver}}}]", "f")
    return [entry.key for entry in channel_entries(config.receivers[0])]


@pytest.mark.behaviour(63)
def test_a_credentialed_channel_is_keyed_by_its_receiver() -> None:
    assert keys("consoleConfigs: [{}], slackConfigs: [{credentialRef: c}]") == ["slack:r", "console"]


def test_several_entries_of_a_type_are_numbered_from_zero() -> None:
    assert keys("slackConfigs: [{credentialRef: c}, {credentialRef: d}]") == ["slack:r:0", "slack:r:1"]


def test_channels_come_in_the_fixed_order_of_types() -> None:
    text = (
        "logConfigs: [{}], fileConfigs: [{}], consoleConfigs: [{}], webhookConfigs: [{}, {}], emailConfigs: [{}], "
        "teamsConfigs: [{credentialRef: t}], pagerdutyConfigs: [{credentialRef: p}], slackConfigs: [{credentialRef: s}]"
    )
    assert keys(text) == [
        "slack:r",
        "pagerduty:r",
        "teams:r",
        "email:r",
        "webhook:r:0",
        "webhook:r:1",
        "console",
        "file",
        "log",
    ]


def test_a_receiver_without_channels_gets_the_console() -> None:
    assert keys("x: 1") == ["console"]


def test_a_switched_off_entry_counts_all_the_same() -> None:
    assert keys("consoleConfigs: [{enabled: false}], logConfigs: [{enabled: false}]") == ["console", "log"]


@pytest.mark.behaviour(65)
def test_two_receivers_with_slack_have_keys_of_their_own(make_nr: Callable[..., NotificationRequest]) -> None:
    route = "{receiver: E, routes: [{receiver: A, continue: true}, {receiver: B}]}"
    assert router(route).resolve(make_nr()).channels == ("slack:A", "slack:B")


@pytest.mark.behaviour(69)
def test_overlapping_receivers_give_a_channel_once(make_nr: Callable[..., NotificationRequest]) -> None:
    """Weak point 6: the Go controller counts it twice, and a full success is partial."""
    receivers = """receivers:
- {name: A, slackConfigs: [{credentialRef: c}], consoleConfigs: [{}]}
- {name: B, consoleConfigs: [{}], logConfigs: [{}]}"""
    route = "{receiver: A, routes: [{receiver: A, continue: true}, {receiver: B}]}"
    resolution = router(route, receivers).resolve(make_nr())
    assert resolution.receivers == ("A", "B")
    assert resolution.channels == ("slack:A", "console", "log")


def test_of_two_receivers_with_one_name_the_last_counts(make_nr: Callable[..., NotificationRequest]) -> None:
    receivers = "receivers: [{name: A, logConfigs: [{}]}, {name: A, fileConfigs: [{}]}]"
    assert router("{receiver: A}", receivers).resolve(make_nr()).channels == ("file",)
    assert [entry.key for entry in router("{receiver: A}", receivers).entries()] == ["file"]


@pytest.mark.behaviour(68)
def test_without_a_file_everything_goes_to_the_console_and_counts_as_matched(
    make_nr: Callable[..., NotificationRequest],
) -> None:
    resolution = Router(DEFAULT_CONFIG).resolve(make_nr())
    assert (resolution.receivers, resolution.channels, resolution.fallback) == (
        ("console-fallback",),
        ("console",),
        False,
    )


@pytest.mark.behaviour(70)
def test_attributes_come_from_spec_context_and_extensions_in_this_order(
    make_nr: Callable[..., NotificationRequest],
) -> None:
    spec: dict[str, Any] = {
        "type": "ManualReview",
        "severity": "critical",
        "phase": "Analyzing",
        "reviewSource": "AIAnalysis",
        "context": {"analysis": {"outcome": "resolved"}, "workflow": {"workflowName": "hidden"}},
        "extensions": {"severity": "overridden", "outcome": "overridden", "environment": "prod"},
    }
    nr = make_nr(metadata={"labels": {"kubernaut.ai/team": "x"}}, **spec)
    assert attributes_of(nr) == {
        "type": "ManualReview",
        "severity": "critical",
        "phase": "Analyzing",
        "review-source": "AIAnalysis",
        "priority": "Medium",
        "outcome": "resolved",
        "environment": "prod",
    }


@pytest.mark.behaviour(71)
def test_an_assessment_that_failed_is_an_attribute(make_nr: Callable[..., NotificationRequest]) -> None:
    assert attributes_of(make_nr(context={"verification": {"assessed": False}}))["verificationAssessed"] == "false"
    assert "verificationAssessed" not in attributes_of(make_nr(context={}))


def test_an_object_without_a_spec_is_routed_without_attributes() -> None:
    bare = NotificationRequest.model_validate({"metadata": {"name": "a"}})
    assert Router(DEFAULT_CONFIG).resolve(bare).attributes == {}


def test_a_hostile_value_costs_linear_time(make_nr: Callable[..., NotificationRequest]) -> None:
    route = "{receiver: A, routes: [{matchRe: {k: '(a+)+$'}, receiver: B}]}"
    assert receivers_of(route, k="a" * 50_000 + "!") == ["A"]

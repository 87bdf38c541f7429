from __future__ import annotations

import pytest

from kubernaut_notification.routing.config import RoutingError, load_routing

GOOD = """
route:
  receiver: all
  groupBy: [type]
  groupWait: 30s
  routes:
  - match: {severity: critical}
    receiver: sre
    continue: true
receivers:
- name: all
  consoleConfigs: [{enabled: true}]
- name: sre
  slackConfigs: [{channel: "#sre", credentialRef: slack-sre, username: bot, iconEmoji: ":fire:"}]
  pagerdutyConfigs: [{credentialRef: pd, url: https://x, severity: critical}]
  teamsConfigs: [{credentialRef: teams}]
  emailConfigs: [{to: a@b.c, from: x@y.z, smarthost: "m:25", requireTls: false}]
  webhookConfigs: [{url: https://hook, httpConfig: {bearerToken: t0p, basicAuth: {username: u, password: p4ss}}}]
  fileConfigs: [{path: /tmp/x, enabled: true}]
  logConfigs: [{enabled: true}]
somethingElse: {entirely: [unknown]}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(RoutingError) as caught:
        load_routing(text, "/etc/routing.yaml")
    return caught.value.problems


def test_every_documented_key_is_read_and_unknown_ones_are_ignored() -> None:
    config = load_routing(GOOD, "f")
    (child,) = config.route.routes
    assert child is not None
    assert (child.receiver, child.continue_, child.match) == ("sre", True, {"severity": "critical"})
    sre = config.receivers[1]
    assert sre.slack_configs[0].icon_emoji == ":fire:"
    assert sre.email_configs[0].from_ == "x@y.z"
    assert sre.webhook_configs[0].http_config is not None
    assert config.credential_refs() == ["slack-sre", "pd", "teams"]


def test_inline_secrets_are_shown_in_no_representation() -> None:
    shown = repr(load_routing(GOOD, "f"))
    assert "t0p" not in shown
    assert "p4ss" not in shown


@pytest.mark.behaviour(58)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it must hold the keys route and receivers"),
        ("- a", "it must hold the keys route and receivers"),
        ("receivers: [{name: a}]", "route is missing"),
        ("route: {receiver: a}", "receivers is missing or empty"),
        ("route: {receiver: a}\nreceivers: []", "receivers is missing or empty"),
        ("route: {receiver: a}\nreceivers: [{name: a}, null]", "receivers[1] is empty"),
        ("route: [", "line 1"),
        ("route: {receiver: b}\nreceivers: [{name: a}]", "route.receiver names 'b', which is not among the receivers"),
        ("route: {}\nreceivers: [{slackConfigs: []}]", "receivers[0].name is empty"),
        ("route: {routes: [null]}\nreceivers: [{name: a}]", "route.routes[0] is empty"),
        (
            "route: {routes: [{routes: [{receiver: x}]}]}\nreceivers: [{name: a}]",
            "route.routes[0].routes[0].receiver names 'x'",
        ),
        ("route: {receiver: [a]}\nreceivers: [{name: a}]", "route.receiver: must be a valid string"),
        ("route: &a {routes: [*a]}\nreceivers: [{name: a}]", "an anchor contains itself"),
        (f"route: {'[' * 3000}{']' * 3000}\nreceivers: [{{name: a}}]", "it is nested too deeply"),
        ('route: {}\nreceivers: [{name: "a\\ud800"}]', "receivers[0].name holds half a surrogate pair"),
        (
            "route: {}\nreceivers: [{name: a, webhookConfigs: [{}, {}]}, {name: 'a:1', webhookConfigs: [{}]}]",
            "receivers 'a' and 'a:1' both make channel webhook:a:1; rename one",
        ),
        ("route: {}\nroute: {}\nreceivers: [{name: a}]", "key 'route' is given twice"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_key(text: str, problem: str) -> None:
    (line,) = problems(text)
    assert line.startswith("cannot load routing file /etc/routing.yaml: ")
    assert problem in line


@pytest.mark.behaviour(72)
@pytest.mark.parametrize("pattern", ["(", "a**", "(?=look)", r"(a)\1"])
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    """Look-around and back-references are not RE2."""
    (line,) = problems(f"route: {{routes: [{{matchRe: {{type: '{pattern}'}}}}]}}\nreceivers: [{{name: a}}]")
    assert "route.routes[0].matchRe.type" in line
    assert "is not a valid RE2 pattern" in line


@pytest.mark.behaviour(64, 66)
@pytest.mark.parametrize("kind", ["slackConfigs", "pagerdutyConfigs", "teamsConfigs"])
def test_an_http_channel_needs_a_credential_reference(kind: str) -> None:
    (line,) = problems(f"route: {{receiver: a}}\nreceivers: [{{name: a, {kind}: [{{credentialRef: ''}}]}}]")
    assert f"receivers[0].{kind}[0].credentialRef is empty; name a file" in line


def test_all_problems_are_told_at_once() -> None:
    text = "route: {receiver: x, routes: [{receiver: y}]}\nreceivers: [{name: a, slackConfigs: [{}]}]"
    assert len(problems(text)) == 3


def test_words_and_numbers_in_matchers_are_the_texts_that_stand_there() -> None:
    text = "route: {routes: [{match: {a: yes, b: 007, c: 1.10, d: true}}]}\nreceivers: [{name: r}]"
    (child,) = load_routing(text, "f").route.routes
    assert child is not None
    assert child.match == {"a": "yes", "b": "007", "c": "1.10", "d": "true"}


def test_receivers_whose_names_look_like_numbered_ones_are_fine_while_no_channel_is_shared() -> None:
    load_routing(
        "route: {}\nreceivers: [{name: a, webhookConfigs: [{}, {}]}, "
        "{name: 'a:1', teamsConfigs: [{credentialRef: t}]}, "
        "{name: 'a:2', webhookConfigs: [{}]}, {name: 'a:0', webhookConfigs: [{}, {}]}]",
        "f",
    )


def test_a_key_without_a_value_counts_as_absent() -> None:
    config = load_routing("route: {receiver: a, routes:, match: }\nreceivers: [{name: a, slackConfigs: }]", "f")
    assert (config.route.routes, config.receivers[0].slack_configs) == ((), ())

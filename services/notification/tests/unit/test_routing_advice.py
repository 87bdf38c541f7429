"""A routing file that says something in vain is put in force, and warned of with file, receiver and key."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kubernaut_notification.routing.advice import advice
from kubernaut_notification.routing.config import RoutingError, load_routing
from kubernaut_notification.routing.table import RoutingTable

MAIL = {"to": "a@x.test", "from": "b@x.test", "smarthost": "mail:25"}


def routing(route: dict[str, Any] | None = None, **entries: Any) -> str:
    receivers = [{"name": "ops", **entries}]
    return yaml.safe_dump({"route": {"receiver": "ops", **(route or {})}, "receivers": receivers})


@pytest.mark.parametrize(
    ("entries", "warnings"),
    [
        (
            {"slackConfigs": [{"credentialRef": "c", "channel": "#x", "username": "bot", "iconEmoji": ":x:"}]},
            [
                "slackConfigs[0].channel: has no effect",
                "slackConfigs[0].username: has no effect",
                "slackConfigs[0].iconEmoji: has no effect",
            ],
        ),
        (
            {"pagerdutyConfigs": [{"credentialRef": "c", "severity": "Critical", "url": "nowhere"}]},
            [
                "pagerdutyConfigs[0].severity: has no effect, since it is none of critical, error, warning, info",
                "pagerdutyConfigs[0].url: is not an http(s) address; every delivery will fail for good",
            ],
        ),
        ({"consoleConfigs": [{"enabled": False}]}, ["consoleConfigs[0].enabled: has no effect; remove the entry"]),
        ({"logConfigs": [{}, {"enabled": False}]}, ["logConfigs[1].enabled: has no effect"]),
        (
            {"fileConfigs": [{"enabled": False, "path": "/x"}]},
            ["fileConfigs[0].enabled: has no effect", "fileConfigs[0].path: has no effect; files go to"],
        ),
        (
            {"webhookConfigs": [{"url": "http://x", "httpConfig": {"bearerToken": "S3CRET"}}]},
            ["webhookConfigs[0].httpConfig.bearerToken: is a secret in the routing file; put it into a credential"],
        ),
        (
            {
                "webhookConfigs": [
                    {"url": "http://x", "httpConfig": {"basicAuth": {"username": "u", "password": "S3CRET"}}}
                ]
            },
            ["webhookConfigs[0].httpConfig.basicAuth.password: is a secret in the routing file"],
        ),
        (
            {
                "webhookConfigs": [
                    {"url": "http://x", "httpConfig": {"bearerToken": "S3CRET", "basicAuth": {"username": "u"}}}
                ]
            },
            [
                "webhookConfigs[0].httpConfig.bearerToken: is a secret",
                "webhookConfigs[0].httpConfig.basicAuth: has no effect beside bearerToken",
            ],
        ),
        (
            {"webhookConfigs": [{"urlRef": "u", "credentialRef": "c", "httpConfig": {"basicAuth": {}}}]},
            ["webhookConfigs[0].httpConfig.basicAuth.username: is empty"],
        ),
        ({"webhookConfigs": [{}]}, ["webhookConfigs[0].url: is empty, and so is urlRef; every delivery will fail"]),
        ({"webhookConfigs": [{"url": "S3CRET"}]}, ["webhookConfigs[0].url: is not an http(s) address"]),
        (
            {"emailConfigs": [{"to": "ops", "requireTls": False}]},
            [
                "emailConfigs[0].to: holds no usable address; every delivery will fail for good",
                "emailConfigs[0].from: holds no usable address",
                "emailConfigs[0].smarthost: is not host:port",
                "emailConfigs[0].requireTls: is false",
            ],
        ),
        ({"emailConfigs": [MAIL], "consoleConfigs": [{"enabled": True}], "fileConfigs": [{}]}, []),
        ({"pagerdutyConfigs": [{"credentialRef": "c", "severity": "info", "url": "https://eu"}]}, []),
        ({"webhookConfigs": [{"urlRef": "u", "credentialRef": "c"}]}, []),
    ],
)
def test_what_has_no_effect_or_a_risk_is_told_with_receiver_and_key(
    entries: dict[str, Any], warnings: list[str]
) -> None:
    lines = advice(load_routing(routing(**entries), "f"))
    assert len(lines) == len(warnings)
    for line, warning in zip(lines, warnings, strict=True):
        assert line.startswith(f"receivers[0] ('ops').{warning}")
        assert "S3CRET" not in line


def test_grouping_is_told_with_its_route() -> None:
    text = routing({"groupBy": ["type"], "routes": [{"receiver": "ops"}, {"receiver": "ops", "groupWait": "30s"}]})
    assert advice(load_routing(text, "f")) == [
        "route.groupBy: has no effect; notifications are not grouped",
        "route.routes[1].groupWait: has no effect; notifications are not grouped",
    ]


def test_a_key_that_nothing_reads_is_told_with_the_nearest_one(caplog: pytest.LogCaptureFixture) -> None:
    text = routing({"routes": [{"receiver": "ops", "match_re": {"team": "a"}}]}, slackConfig=[{"credentialRef": "c"}])
    table = RoutingTable()
    assert table.load(text, "f")
    assert [record.getMessage() for record in caplog.records] == [
        "routing file f: receivers[0].slackConfig: unknown key, did you mean receivers[0].slackConfigs?",
        "routing file f: route.routes[0].match_re: unknown key, did you mean route.routes[0].matchRe?",
    ]


def test_warnings_are_logged_with_the_file_whenever_one_is_put_in_force(caplog: pytest.LogCaptureFixture) -> None:
    table, text = RoutingTable(), routing(consoleConfigs=[{"enabled": False}])
    table.load(text, "/etc/routing.yaml")
    assert [record.getMessage() for record in caplog.records] == [
        "routing file /etc/routing.yaml: receivers[0] ('ops').consoleConfigs[0].enabled: has no effect; "
        "remove the entry to switch the channel off"
    ]
    with pytest.raises(RoutingError):
        table.load("route: {}", "/etc/routing.yaml")
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (
            {"emailConfigs": [{**MAIL, "authUsername": "ops"}]},
            "receivers[0].emailConfigs[0]: authUsername and credentialRef belong together; name the file with the",
        ),
        (
            {"emailConfigs": [{**MAIL, "credentialRef": "c"}]},
            "receivers[0].emailConfigs[0]: authUsername and credentialRef belong together; name the user",
        ),
        (
            {"webhookConfigs": [{"url": "http://S3CRET", "urlRef": "u"}]},
            "receivers[0].webhookConfigs[0]: url and urlRef are both set; remove one",
        ),
        (
            {"webhookConfigs": [{"url": "x", "credentialRef": "c", "httpConfig": {"bearerToken": "S3CRET"}}]},
            "receivers[0].webhookConfigs[0]: credentialRef and a token or password in httpConfig are both set",
        ),
    ],
)
def test_a_contradiction_in_new_keys_is_refused(entries: dict[str, Any], problem: str) -> None:
    with pytest.raises(RoutingError) as caught:
        load_routing(routing(**entries), "/etc/routing.yaml")
    (line,) = caught.value.problems
    assert line.startswith(f"cannot load routing file /etc/routing.yaml: {problem}")
    assert "S3CRET" not in line


def test_references_of_webhooks_and_mail_are_looked_for_like_any_other() -> None:
    config = load_routing(
        routing(
            webhookConfigs=[{"urlRef": "url", "credentialRef": "token"}],
            emailConfigs=[{**MAIL, "authUsername": "u", "credentialRef": "mail"}],
        ),
        "f",
    )
    assert sorted(config.credential_refs()) == ["mail", "token", "url"]
    assert "S3CRET" not in repr(load_routing(routing(webhookConfigs=[{"url": "http://S3CRET"}]), "f"))

"""The operator as a process: leadership, an orderly end, reloads, credentials, and what it never tells."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from scenarios.notification import API_VERSION, CONTRACT, KIND, PLURAL, PROGRAM, NotificationSite

from kubernaut_notification import __version__
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.deployment import OperatorDeployment
from kubernaut_testing.files import replace_file
from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import BlackHole, FaultProxy, Rule
from kubernaut_testing.receivers import Answer, Received, WebhookReceiver
from kubernaut_testing.rest import ApiError
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., NotificationSite]
ELECTION = {
    "controller": {"leaderElection": True, "leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "500ms"}
}
LEASE = ("coordination.k8s.io/v1", "Lease")


def leads(deployment: OperatorDeployment) -> bool:
    return deployment.metric("leader_election_master_status") == 1


def passes(deployment: OperatorDeployment) -> float:
    return deployment.metric("controller_runtime_reconcile_total")


def assert_delivered_once(site: NotificationSite, ledger: RequestLedger, names: list[str]) -> None:
    for name in names:
        assert site.phase(name) == "Sent", name
        assert len(site.slack_messages(name)) == 1, name
        assert_invariants(ledger, site.ref(name), CONTRACT, effects=site.effects(name), unknown=site.told_unknown(name))


# The start ---------------------------------------------------------------------------------------------------

LIVE_CONFIG = (Path(__file__).parents[1] / "live-config.yaml").read_text()
"""The file of the Go controllers' chart, as it is mounted."""


def test_the_live_chart_s_config_file_runs_unchanged_but_for_places_on_this_machine(
    make_site: MakeSite, ledger: RequestLedger, datastorage: DataStorage
) -> None:
    live = yaml.safe_load(LIVE_CONFIG)
    site = make_site(start=False, datastorage=datastorage)
    deployment = site.deployment
    addresses = yaml.safe_load(deployment.config_file.read_text())["controller"]
    live["controller"].update({key: addresses[key] for key in ("metricsAddr", "healthProbeAddr")})
    live["delivery"]["file"]["outputDir"] = str(site.output)
    live["delivery"]["credentials"]["dir"] = str(site.credentials)
    live["datastorage"].update(url=datastorage.url, healthUrl=datastorage.health_url)
    deployment.config_file.write_text(yaml.safe_dump(live))
    go_style = ["-config" if each == "--config" else each for each in deployment.process.argv]
    assert "-config" in go_style
    deployment.process.argv[:] = go_style
    with deployment:
        site.create("one")
        eventually(lambda: site.phase("one") == "Sent")
    ledger.assert_requests(site.ref("one"), {"patch/status": 3}, user_agent=f"{PROGRAM}/{__version__}", only=True)


def test_a_check_of_the_live_chart_s_file_finds_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(LIVE_CONFIG)
    script = Path(sys.executable).with_name(PROGRAM)
    done = subprocess.run([script, "--config", config, "--check-config"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"OK: {config}"), done.stderr
    config.write_text(LIVE_CONFIG.replace("healthProbeAddr", "healthProbeAdr"))
    done = subprocess.run([script, "--config", config, "--check-config"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "controller.healthProbeAdr" in done.stderr
    assert "healthProbeAddr" in done.stderr


# Leadership --------------------------------------------------------------------------------------------------


def test_of_two_replicas_one_works_and_a_kill_hands_over_without_a_second_slack_message(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    site = make_site(config=ELECTION)
    first = site.deployment
    eventually(lambda: leads(first))
    with site.deploy("second", config=ELECTION) as second:
        before = [f"before-{number}" for number in range(10)]
        for name in before:
            site.create(name)
        eventually(lambda: all(site.ended(name) for name in before))
        assert passes(second) == 0, "a standby reconciles nothing"
        assert not leads(second)
        assert second.probe("/readyz")[0] == 200, "its watches are warm"

        # One that waits for its retry, and some that come while nobody leads.
        site.receiver.script(503)
        site.create("waiting", retryPolicy={"initialBackoffSeconds": 1, "maxAttempts": 3})
        eventually(lambda: site.phase("waiting") == "Retrying")
        first.process.kill()
        meanwhile = [f"meanwhile-{number}" for number in range(5)]
        for name in meanwhile:
            site.create(name)
        eventually(lambda: leads(second), timeout=40)
        eventually(lambda: all(site.ended(name) for name in [*meanwhile, "waiting"]), timeout=40)
        assert_delivered_once(site, ledger, [*before, *meanwhile, "waiting"])


def test_a_frozen_leader_that_wakes_up_after_its_replacement_writes_and_sends_nothing(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    site = make_site(config=ELECTION)
    first = site.deployment
    eventually(lambda: leads(first))
    with site.deploy("second", config=ELECTION) as second:
        first.process.pause()
        names = [f"frozen-{number}" for number in range(5)]
        for name in names:
            site.create(name)
        eventually(lambda: leads(second), timeout=40)
        eventually(lambda: all(site.ended(name) for name in names), timeout=40)
        first.process.resume()
        eventually(lambda: not leads(first))
        last = site.create("after")["metadata"]["name"]
        eventually(lambda: site.ended(last))
        assert passes(first) == 0, "it saw the objects and left them to the leader"
        assert_delivered_once(site, ledger, [*names, last])


def test_a_replica_that_ends_in_order_hands_over_at_once(make_site: MakeSite, ledger: RequestLedger) -> None:
    """The lease is released: the standby does not wait for it to run out."""
    patient = {"controller": {**ELECTION["controller"], "leaseDuration": "60s", "renewDeadline": "40s"}}
    site = make_site(config=patient)
    eventually(lambda: leads(site.deployment))
    with site.deploy("second", config=patient) as second:
        assert site.deployment.process.terminate() == 0
        eventually(lambda: leads(second), timeout=40)  # two thirds of what the lease would last
        site.create("one")
        eventually(lambda: site.ended("one"))
        assert_delivered_once(site, ledger, ["one"])


def test_a_standby_whose_watch_is_silent_looks_before_it_acts(
    make_site: MakeSite, ledger: RequestLedger, fault_proxy: FaultProxy
) -> None:
    """What the dead leader recorded is listed first: nothing it did is done again, and nothing waits for the watch."""
    site = make_site(config=ELECTION)
    eventually(lambda: leads(site.deployment))
    fault_proxy.add(Rule(BlackHole(), verb="watch", resource=PLURAL))
    with site.deploy("second", config=ELECTION, proxy=fault_proxy) as second:
        site.receiver.script(503)
        site.create("waiting", retryPolicy={"initialBackoffSeconds": 2, "maxAttempts": 3})
        eventually(lambda: site.phase("waiting") == "Retrying")
        site.deployment.process.kill()
        eventually(lambda: leads(second), timeout=40)
        eventually(lambda: site.ended("waiting"), timeout=40)
    assert len(site.receiver.to("/slack")) == 2
    assert_delivered_once(site, ledger, ["waiting"])


# The end -----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(15)
def test_an_orderly_end_under_load_loses_nothing_and_repeats_nothing(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    site = make_site(config={"delivery": {"maxCallsPerChannel": 2}})
    site.receiver.default = Answer(delay=0.5)
    names = [f"load-{number}" for number in range(40)]
    for name in names:
        site.create(name)
    site.receiver.wait_for(6)
    assert site.deployment.process.terminate() == 0
    site.receiver.default = 200
    sent = len(site.receiver.requests)
    assert sent < len(names), "it ended under load, not after it"
    assert sent == sum(site.ended(name) for name in names), "what was sent is recorded"
    site.deployment.process.start()
    eventually(lambda: all(site.ended(name) for name in names), timeout=60)
    assert_delivered_once(site, ledger, names)
    for name in names:
        assert len(site.console_messages(name)) == 1


# Reloads -----------------------------------------------------------------------------------------------------


def reloads(site: NotificationSite, result: str) -> float:
    return site.deployment.metric("config_reload_total", file=str(site.routing), result=result)


def channels(site: NotificationSite, name: str) -> set[str]:
    site.create(name, "nobody-in-particular")
    eventually(lambda: site.ended(name))
    return {attempt["channel"] for attempt in site.status(name)["deliveryAttempts"]}


@pytest.mark.behaviour(66, 67)
def test_a_bad_routing_file_keeps_the_last_good_one_and_is_told_and_a_good_one_is_applied(
    site: NotificationSite,
) -> None:
    assert channels(site, "at-first") == {"slack:all", "console", "file"}
    good = site.routing.read_text()

    site.replace_routing("route: {receiver: nobody}\nreceivers: []\n")
    eventually(lambda: reloads(site, "failed") == 1)
    assert channels(site, "bad") == {"slack:all", "console", "file"}
    (event,) = eventually(lambda: site.events("operator", "ConfigReloadFailed"))
    assert event["involvedObject"]["kind"] == "Pod"
    assert "name at least one receiver" in event["message"]

    site.replace_routing("route: [")
    eventually(lambda: reloads(site, "failed") == 2)
    site.replace_routing(good.replace("credentialRef: slack", "credentialRef: missing"))
    eventually(lambda: reloads(site, "failed") == 3)
    assert channels(site, "still-bad") == {"slack:all", "console", "file"}

    site.write_routing(default="console")
    eventually(lambda: reloads(site, "ok") == 1)
    assert channels(site, "good") == {"console"}


def test_a_routing_file_that_came_before_its_credential_is_applied_when_that_comes(site: NotificationSite) -> None:
    site.replace_routing(site.routing.read_text().replace("credentialRef: slack", "credentialRef: late"))
    eventually(lambda: reloads(site, "failed") == 1)
    site.replace_routing(site.routing.read_text().replace("receiver: all", "receiver: slack", 1))
    eventually(lambda: reloads(site, "failed") == 2)
    assert channels(site, "before") == {"slack:all", "console", "file"}, "the last good file is in force"
    assert site.deployment.metric("config_last_reload_successful", file=str(site.routing)) == 0
    replace_file(site.credentials / "late", f"{site.receiver.url}/late")
    eventually(lambda: site.deployment.metric("config_reload_total", file=str(site.credentials), result="ok") >= 1)
    assert channels(site, "after") == {"slack:slack"}
    assert site.deployment.metric("config_last_reload_successful", file=str(site.routing)) == 1
    assert len(site.receiver.to("/late")) == 1


@pytest.mark.behaviour(65)
def test_routing_that_changes_under_way_moves_what_is_still_to_be_sent(
    site: NotificationSite, ledger: RequestLedger
) -> None:
    site.receiver.script(503)
    policy = {"maxAttempts": 3, "initialBackoffSeconds": 6, "backoffMultiplier": 1, "maxBackoffSeconds": 60}
    site.create("one", "nobody-in-particular", retryPolicy=policy)
    eventually(lambda: site.phase("one") == "Retrying")
    site.write_routing(default="console")
    eventually(lambda: reloads(site, "ok") == 1)
    eventually(lambda: site.ended("one"))
    assert site.phase("one") == "Sent"
    assert len(site.receiver.requests) == 1, "Slack is no longer asked"
    assert_invariants(ledger, site.ref("one"), CONTRACT)


@pytest.mark.behaviour(73)
def test_a_rotated_credential_reaches_the_next_attempt_without_a_restart(site: NotificationSite) -> None:
    credential = site.credentials / "slack"

    def refuse_and_rotate(request: Received) -> int:
        fresh = credential.with_name(".new")
        fresh.write_text(f"{site.receiver.url}/rotated\n")
        fresh.replace(credential)
        return 503

    site.receiver.script(refuse_and_rotate)
    site.create("one", "slack")
    eventually(lambda: site.ended("one"))
    assert site.phase("one") == "Sent"
    assert [request.path for request in site.receiver.requests] == ["/slack", "/rotated"]


@pytest.mark.behaviour(48, 73)
def test_a_removed_credential_fails_the_delivery_with_what_to_do_and_a_returned_one_works(
    site: NotificationSite,
) -> None:
    credential = site.credentials / "slack"
    content = credential.read_text()
    credential.unlink()
    site.create("without", "slack")
    eventually(lambda: site.ended("without"))
    (attempt,) = site.status("without")["deliveryAttempts"]
    assert "put it into the credential file 'slack'" in attempt["error"]
    assert site.deployment.process.running
    credential.write_text(content)
    site.create("with", "slack")
    eventually(lambda: site.phase("with") == "Sent")


# What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.behaviour(16, 17)
@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"priority": "Urgent"}, r'spec\.priority: Unsupported value: "Urgent": supported values: .*"Critical"'),
        ({"subject": ""}, r"spec\.subject: .*at least 1 char"),
        ({"subject": "s" * 501}, r"spec\.subject: Too long: may not be more than 500"),
        ({"type": None}, r"spec\.type: Required value"),
        ({"retryPolicy": {"maxAttempts": 11}}, r"spec\.retryPolicy\.maxAttempts: .*less than or equal to 10"),
    ],
)
def test_an_invalid_notification_is_rejected_by_the_api_server_with_a_clear_message(
    spec: dict[str, Any], complaint: str, make_site: MakeSite
) -> None:
    site = make_site(start=False)
    with pytest.raises(ApiError, match=complaint) as refusal:
        site.create("bad", **spec)
    assert refusal.value.status == 422
    assert site.objects() == []


@pytest.mark.behaviour(18)
def test_the_spec_cannot_be_changed_after_creation(make_site: MakeSite) -> None:
    site = make_site(start=False)
    site.create("one")
    with pytest.raises(ApiError, match="spec is immutable after creation"):
        site.control_plane.api.patch(API_VERSION, KIND, site.namespace, "one", {"spec": {"subject": "other"}})


# What is never told ------------------------------------------------------------------------------------------

TOKEN = "T024SECRETPART/B0SECRETPART/x0SecretTokenPartOfTheUrl"
HOST = "secrethostpart.invalid"
SECRETS = [*TOKEN.split("/"), "SecretTokenPart", "secrethostpart", "hunter2"]


def test_a_secret_webhook_url_is_in_no_status_log_metric_event_or_audit_whatever_fails(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    site = make_site(config={"logging": {"level": "DEBUG"}, "delivery": {"slack": {"timeout": "2s"}}})
    path = f"/services/{TOKEN}"
    credential = site.credentials / "slack"
    whole = f"{site.receiver.url}{path}"

    def echo(status: int) -> Callable[[Received], Answer]:
        return lambda request: Answer(status, f"no such hook {whole} or {request.path} or {TOKEN.split('/')[2]}")

    answers: dict[str, Any] = {
        "ok": 200,
        "refused": echo(404),
        "busy": echo(503),
        "limited": Answer(429, f"slow down, {path}", retry_after=1),
        "dropped": Answer(drop=True),
        "slow": Answer(delay=4),
        "redirected": Answer(307, headers={"Location": path}),
        "moved": Answer(308, headers={"Location": f"http://{HOST}{path}"}),
    }
    credential.write_text(whole)
    once = {"maxAttempts": 1}

    def deliver(name: str) -> None:
        site.create(name, "slack", retryPolicy=once)
        eventually(lambda: site.ended(name), message=f"end of {name}")

    for name, answer in answers.items():
        site.receiver.default = answer
        deliver(name)
    with WebhookReceiver(https=True) as untrusted:
        urls = {
            "certificate": f"{untrusted.url}{path}",
            "not-tls": f"{site.receiver.url.replace('http', 'https')}{path}",
            "unresolved": f"http://{HOST}{path}",
            "closed": f"http://127.0.0.1:1{path}",
            "password": f"http://admin:hunter2@127.0.0.1:1{path}",
            "scheme": f"ftp://{HOST}{path}",
            "nonsense": f"http://[{HOST}{path}",
            "control": f"http://127.0.0.1:1{path}\x01\u202e",
        }
        for name, url in urls.items():
            credential.write_text(url)
            deliver(name)

    expected = {"ok": "Sent"}
    assert {name: site.phase(name) for name in [*answers, *urls]} == {
        name: expected.get(name, "Failed") for name in [*answers, *urls]
    }
    eventually(lambda: len(site.events("control", "NotificationFailed")) == 1)
    ledger.settle()
    with urllib.request.urlopen(site.deployment.metrics_url, timeout=20) as answer:
        metrics = answer.read().decode()
    places = {
        "status": repr([found.get("status") for found in site.objects()]),
        "log and audit": site.deployment.process.log.read_text(),
        "metrics": metrics,
        "events": repr(site.control_plane.api.list("v1", "Event", site.namespace)),
        "requests": repr([entry.request for entry in ledger.entries(user_agent=PROGRAM)]),
    }
    assert "notification.message.failed" in places["log and audit"], "the audit trail is there"
    assert "webhook returned 404" in places["status"], "the errors are there"
    leaks = [(place, secret) for place, text in places.items() for secret in SECRETS if secret.lower() in text.lower()]
    assert leaks == []

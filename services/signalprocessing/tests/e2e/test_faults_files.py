"""Mounted files that are wrong at a reload: the last good ones decide."""

from __future__ import annotations

import pytest
from scenarios.faults.files import BadFile, assert_bad_files_are_told, reloads
from scenarios.faults.verdicts import assert_done_once
from scenarios.signalprocessing import SignalProcessingSite

from kubernaut_testing.files import replace_file
from kubernaut_testing.invariants import assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def site(make_site) -> SignalProcessingSite:
    return make_site()


def test_bad_config_policy_and_mapping_files_keep_the_last_good_and_are_told_by_metric_and_event(
    site: SignalProcessingSite, ledger: RequestLedger
) -> None:
    """Fault 34."""
    config, policy, mappings = site.deployment.config_file, site.policies / "policy.rego", site.mappings
    good_config, good_policy = config.read_text(), policy.read_text()
    bad: list[BadFile] = [
        (config, good_config + "logging: {level: LOUD}\n", "logging.level"),
        (config, b"controller: [\xff", "UTF-8"),
        (policy, "package signalprocessing\n\nseverity := ", str(policy)),
        (policy, b"package signalprocessing\n# \xff", str(policy)),
        (policy, good_policy + '\nleak := http.send({"method": "get", "url": "http://example.com"})\n', "http.send"),
        (mappings, "proactive_signal_mappings: [", str(mappings)),
        (mappings, "proactive_signal_mappings: {PredictedOOMKill: 3}\n", str(mappings)),
    ]

    def works(number: int) -> None:
        name = f"bad-{number}"
        site.create(name, name="PredictedOOMKill")
        eventually(lambda: site.ended(name))
        assert_done_once(site, ledger, name)
        found = site.status(name)["signalClassification"]
        assert (found["severity"], found["signalName"]) == ("critical", "OOMKilled")

    assert_bad_files_are_told(site, bad, works)

    replace_file(config, good_config + "logging: {level: DEBUG}\n")
    replace_file(policy, good_policy.replace('"sev1": "critical"', '"sev1": "high"'))
    replace_file(mappings, "proactive_signal_mappings: {PredictedOOMKill: Fire}\n")
    eventually(lambda: all(reloads(site, path, "ok") == 1 for path in (config, policy, mappings)))
    site.create("good", name="PredictedOOMKill")
    eventually(lambda: site.ended("good"))
    found = site.status("good")["signalClassification"]
    assert (found["severity"], found["signalName"]) == ("high", "Fire")
    assert_survived(site.deployment.process)

"""Reads of a signal's target that fail, are refused or hang, and targets with hostile content."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from scenarios.faults import FULL
from scenarios.faults.verdicts import all_ended, assert_cost, assert_done_once
from scenarios.signalprocessing import CONTRACT, PLURAL, SIGNAL, SignalProcessingSite
from scenarios.workloads import POD, create_object

from kubernaut_testing.invariants import assert_invariants, assert_quiet, assert_survived
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import Delay, FaultProxy, ResetAfter, Rule, Status
from kubernaut_testing.proxy.actions import Action
from kubernaut_testing.rest import ApiError
from kubernaut_testing.waiting import eventually

pytestmark = pytest.mark.e2e

MakeSite = Callable[..., SignalProcessingSite]

FAULTS: dict[str, tuple[Action, str]] = {
    "forbidden": (Status(403), "grant verb get on pods"),
    "unauthorized": (Status(401), "cannot read pods"),
    "busy": (Status(429, retry_after=1), "cannot read pods"),
    "failing": (Status(500), "cannot read pods"),
    "away": (Status(503), "cannot read pods"),
    "reset": (ResetAfter(), "cannot read pods"),
    "hanging": (Delay(60), "did not end within enrichment.timeout"),
}
"""What becomes of the read of a Pod of that name, and what is said of it."""


def failures(site: SignalProcessingSite, name: str) -> int:
    return int((site.status(name).get("failureInfo") or {}).get("consecutiveFailures", 0))


@pytest.mark.behaviour(37, 38, 103)
@pytest.mark.parametrize("to_the_end", [False, pytest.param(True, marks=FULL, id="to-the-end-full")])
def test_reads_that_fail_hold_up_their_own_signals_only_and_are_made_again(
    to_the_end: bool, make_site: MakeSite, fault_proxy: FaultProxy, ledger: RequestLedger
) -> None:
    """Faults 11, 12 and 13 on reads, and a namespace that is not there: recorded once, told once, waited for."""
    site = make_site(proxy=fault_proxy, config={"enrichment": {"timeout": "2s"}})
    rules = []
    for name, (fault, _) in FAULTS.items():
        create_object(site.control_plane, "v1", "Pod", site.namespace, name, spec=POD)
        rules.append(fault_proxy.add(Rule(fault, verb="get", resource="pods", name=name)))
        site.create(name, targetResource={"kind": "Pod", "name": name, "namespace": site.namespace})
    missing = f"{site.namespace[:50]}-missing"
    site.create("homeless", targetResource={"kind": "Pod", "name": "any", "namespace": missing})
    said = {name: text for name, (_, text) in FAULTS.items()} | {"homeless": f"namespace {missing} does not exist"}
    free = [f"free-{number}" for number in range(3)]
    for name in free:
        site.create(name)
    eventually(lambda: all_ended(site, free))
    assert_cost(site, ledger, *free)
    assert_done_once(site, ledger, *free)
    eventually(lambda: all(failures(site, name) == 1 for name in said))
    for name, text in said.items():
        assert site.phase(name) == "Enriching"
        assert text in site.status(name)["failureInfo"]["error"], name
        (event,) = eventually(lambda name=name: site.events(name, "EnrichmentFailed"))
        assert event["count"] == 1
        assert_invariants(ledger, site.ref(name), CONTRACT)
    assert site.deployment.metric("controller_runtime_reconcile_errors_total", controller=PLURAL) == 0
    assert_quiet(site.objects, seconds=1)
    assert_survived(site.deployment.process)
    if to_the_end:
        for rule in rules:
            rule.remove()
        site.control_plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": missing}})
        eventually(lambda: all_ended(site, list(said)), timeout=90)
        for name in said:
            ledger.assert_requests(site.ref(name), {"patch/status": 6}, user_agent=site.program, only=True)
        assert_done_once(site, ledger, *said)


FORGED = '{"level":"error","msg":"forged record"}'
HOSTILE = f"line\r\n{FORGED}\n\x1b[31mred\u2028\u202e\x7f"


def test_hostile_and_huge_content_is_one_line_bounded_and_never_forges_a_record(
    make_site: MakeSite, ledger: RequestLedger
) -> None:
    """Faults 28 to 30: names, labels and annotations with anything in them; objects near the largest that there is."""
    site = make_site()
    annotations = {"forged": HOSTILE, "wide": "🔥" * 10_000, "large": "x" * 150_000}
    create_object(site.control_plane, "v1", "Pod", site.namespace, "ugly", spec=POD, annotations=annotations)
    namespace = {"metadata": {"annotations": {"large": "x" * 200_000}}}
    site.control_plane.api.patch("v1", "Namespace", None, site.namespace, namespace)
    ugly: dict[str, Any] = {
        "name": HOSTILE[:100],
        "severity": HOSTILE,
        "labels": {HOSTILE: HOSTILE},
        "annotations": {"wide": "🔥" * 20_000},
        "targetResource": {"kind": "Pod", "name": "ugly", "namespace": site.namespace},
    }
    bent: dict[str, Any] = {"kind": "Pod", "name": f"../../{HOSTILE}", "namespace": site.namespace}
    site.create("ugly", **ugly)
    site.create("bent", targetResource=bent)
    site.create("odd", targetResource={"kind": HOSTILE, "name": "x" * 100_000, "namespace": site.namespace})
    site.create("large", **(ugly | {"providerData": "y" * 900_000}))
    completed = ["ugly", "bent", "odd", "large"]
    eventually(lambda: all_ended(site, completed), timeout=60)
    assert_cost(site, ledger, *completed)
    assert_done_once(site, ledger, *completed)
    assert site.status("ugly")["kubernetesContext"]["workload"]["annotations"]["forged"] == HOSTILE
    assert site.status("bent")["kubernetesContext"]["degradedMode"] is True

    # With what was found, it would be larger than what etcd takes: that is its end, and no loop.
    site.create("too-large", **(ugly | {"providerData": "y" * 1_200_000}))
    eventually(lambda: site.ended("too-large"))
    assert site.phase("too-large") == "Failed"
    assert "too large" in site.status("too-large")["failureInfo"]["error"]
    assert_invariants(ledger, site.ref("too-large"), CONTRACT, effects=site.effects("too-large"))

    for name in [*completed, "too-large"]:
        for event in site.events(name):
            assert len(event["message"]) <= 1024
            assert not {unicodedata.category(char) for char in event["message"]} & {"Cc", "Zl", "Zp"}, event["message"]
    for line in filter(None, site.deployment.process.log.read_text().split("\n")):
        if FORGED in line:
            raise AssertionError(f"forged: {line[:200]}")
        json.loads(line)
    with pytest.raises(ApiError, match=r"spec\.signal\.fingerprint"):
        site.create("refused", fingerprint=SIGNAL["fingerprint"].upper())
    assert_quiet(site.objects, seconds=1)
    assert_survived(site.deployment.process)

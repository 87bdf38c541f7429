"""SignalProcessing classifies while targets, namespaces, permissions, deadlines and rules of the policy fail it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from scenarios.signalprocessing import SignalProcessingSite
from tests.observability.stories.story import ELECTION, HEALTHY, Story

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.prometheus import Prometheus
from kubernaut_testing.proxy import FaultProxy, Rule, Status
from kubernaut_testing.waiting import eventually

ODD = """
severity := "odd" if input.signal.severity == "odd"

labels["hungry"] := ["yes"] if {
	input.signal.severity == "hungry"
	count(numbers.range(1, 10000000)) > 0
}
"""
"""Two rules more: an answer that no status can hold, and one that takes more memory than a worker may have."""

LONG_AGO = "2026-03-01T10:00:00Z"


class SignalProcessingStory(Story):
    """The story."""

    expected: ClassVar = {
        "Failed": "firing",
        "TargetsWrong": "firing",
        "RemoteSignals": "firing",
        "DeadlinesPassed": "firing",
        "PolicyUnanswered": "firing",
        "PolicyRuleUnusable": "firing",
        "EnrichmentFailing": "pending",
        "ContextsDegraded": "pending",
        "Forbidden": "pending",
        "ReloadFailed": "pending",
        "StatusConflicts": "pending",
        "StatusWritesFailing": "pending",
    }
    healthy: ClassVar = HEALTHY | {"StatusRefused"}
    site: SignalProcessingSite

    def begin(self) -> None:
        """Let one signal through."""
        self._process({"well": {}})

    def go_on(self, prometheus: Prometheus) -> None:
        """Process signals of all kinds while status writes meet conflicts and a busy server, in two waves with a scrape
        between them; at last put a wrong policy in place and leave it there.
        """
        self.disturb_writes()
        self.proxy.add(Rule(Status(403), verb="get", resource="statefulsets"))
        self._process(self._wave(0))
        prometheus.wait_scraped()
        self._process(self._wave(1))
        self.site.write_policy("package signalprocessing\n\nseverity := ")
        policy = str(self.site.policies / "policy.rego")
        eventually(lambda: self.deployment.metric("config_last_reload_successful", file=policy) == 0)

    def _wave(self, wave: int) -> dict[str, dict[str, Any]]:
        here = self.site.target
        signals: dict[str, dict[str, Any]] = {"remote": {"clusterID": "east"}, "odd": {"severity": "odd"}}
        for number in range(3):
            signals |= {
                f"well-{number}": {},
                f"gone-{number}": {"targetResource": here | {"name": "gone"}},
                f"nowhere-{number}": {"targetResource": here | {"namespace": "nowhere"}},
                f"forbidden-{number}": {"targetResource": here | {"kind": "StatefulSet"}},
                f"late-{number}": {"times_out_at": LONG_AGO},
                f"hungry-{number}": {"severity": "hungry"},
            }
        return {f"{name}-{wave}": options for name, options in signals.items()}

    def _process(self, signals: dict[str, dict[str, Any]]) -> None:
        for name, options in signals.items():
            self.site.create(name, **options)
        eventually(lambda: all(self.site.ended(name) for name in signals), timeout=60)


@contextmanager
def signalprocessing(control_plane: ControlPlane, folder: Path) -> Iterator[SignalProcessingStory]:
    """An operator of its own, started; what does not pass by itself, and a policy without an answer, are tried once."""
    SignalProcessingSite.install_crds(control_plane)
    namespace = control_plane.create_namespace("observability-signalprocessing")
    with FaultProxy(control_plane) as proxy:
        once = {"maxAttempts": 1}
        config = {"controller": ELECTION, "enrichment": once, "classifier": once}
        site = SignalProcessingSite(control_plane, namespace, folder, config=config, proxy=proxy)
        site.write_policy((site.policies / "policy.rego").read_text() + ODD)
        with site.deployment:
            yield SignalProcessingStory(site, proxy)

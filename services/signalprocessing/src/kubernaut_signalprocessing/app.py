"""`kubernaut-signalprocessing`: wires the service's rooms to the runtime, nothing else."""

from __future__ import annotations

import logging
import random
import sys

from kubernaut_api import SIGNAL_PROCESSING
from kubernaut_runtime import Operator, Runtime, run_operator
from kubernaut_runtime.audit import open_sink
from kubernaut_runtime.checked import Fact, watches

from . import __version__
from .audit import SOURCE, AuditTrail
from .classification.policy import Classifier
from .classification.policy_file import check_policy, open_policy, policy_facts
from .classification.signal_mode import SignalModes, check_mappings, find_mappings, mapping_facts
from .config import DEFAULT_CONFIG_PATH, FLEET_UNSUPPORTED, SignalProcessingConfig
from .enrichment import add_enricher
from .enrichment.kinds import NAMESPACES
from .metrics import SignalProcessingMetrics
from .phases import PHASES
from .priority import urgency_of
from .reconciler import SignalProcessingReconciler
from .reporting import Reporter
from .status import StatusWriter

logger = logging.getLogger(__name__)

COMPONENT = "signalprocessing-controller"


async def setup(runtime: Runtime[SignalProcessingConfig]) -> None:
    """Build the controller from the runtime's parts."""
    config, clock = runtime.config, runtime.clock
    if config.fleet.endpoint.strip():
        runtime.readiness.note("fleet", f"fleet.endpoint {FLEET_UNSUPPORTED}")
    modes = SignalModes()
    await _follow_mappings(runtime, modes)
    metrics = SignalProcessingMetrics(runtime.registry, clock.now)
    reporter = Reporter(
        runtime.events(COMPONENT, SIGNAL_PROCESSING),
        AuditTrail(await open_sink(runtime, SOURCE), clock.now),
        metrics,
    )
    enricher = add_enricher(runtime, metrics)
    classifier = Classifier(await open_policy(runtime), modes, metrics.policy_error)
    runtime.add_kind(
        SIGNAL_PROCESSING,
        lambda store: SignalProcessingReconciler(
            store,
            StatusWriter(runtime.status_manager(store, phases=PHASES), clock.now),
            enricher,
            classifier,
            reporter,
            clock,
            config,
            random=random.random,
        ),
        priority=urgency_of,
    )


async def _follow_mappings(runtime: Runtime[SignalProcessingConfig], modes: SignalModes) -> None:
    """Load the table of proactive signals and follow its file. Without a usable one all signals are reactive."""
    path, named = find_mappings()
    if not named and not path.exists():
        logger.info("no signal mode mappings: all signals are reactive", extra={"file": str(path)})
        return
    await runtime.watch_file(path, lambda content: modes.load(content, str(path)), required=False)


def check(config: SignalProcessingConfig) -> list[str]:
    """Return what is wrong with the files that the config refers to, one line each."""
    return [*check_policy(config), *check_mappings()]


def facts(config: SignalProcessingConfig) -> list[Fact]:
    """Return what was looked at."""
    return [watches(SIGNAL_PROCESSING, NAMESPACES), *policy_facts(config), *mapping_facts()]


OPERATOR = Operator(
    name="signalprocessing",
    version=__version__,
    config=SignalProcessingConfig,
    default_config=DEFAULT_CONFIG_PATH,
    setup=setup,
    check=check,
    facts=facts,
    description="Enriches SignalProcessings with what the cluster knows and classifies them by policy.",
)


def main() -> None:
    """Run the operator; the console script."""
    sys.exit(run_operator(OPERATOR))

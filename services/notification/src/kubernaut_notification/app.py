"""`kubernaut-notification`: wires the service's rooms to the runtime, nothing else."""

from __future__ import annotations

import logging
import random
import sys

from kubernaut_api import NOTIFICATION_REQUEST
from kubernaut_runtime import Operator, Runtime, run_operator
from kubernaut_runtime.audit import open_sink
from kubernaut_runtime.checked import Fact, watches

from . import __version__
from .audit import SOURCE, AuditTrail
from .config import DEFAULT_CONFIG_PATH, DEFAULT_ROUTING_PATH, ROUTING_PATH_ENV, NotificationConfig
from .delivery.credentials import CredentialStore
from .delivery.deliverer import Deliverer
from .delivery.file import check_output_dir
from .delivery.lanes import Lanes
from .delivery.registry import build_registry, http_session
from .metrics import NotificationMetrics
from .phases import PHASES
from .priority import urgency_of
from .reconciler import NotificationReconciler
from .reporting import Reporter
from .routing.check import check_routing, find_routing_file, routing_facts, unreadable
from .routing.config import RoutingError
from .routing.router import Router
from .routing.table import RoutingTable
from .sending import Sender
from .status import ATTEMPT_IDENTITY, StatusWriter

logger = logging.getLogger(__name__)

COMPONENT = "notification-controller"


async def setup(runtime: Runtime[NotificationConfig]) -> None:
    """Build the controller from the runtime's parts."""
    config, clock = runtime.config, runtime.clock
    if config.delivery.file.output_dir is not None:
        check_output_dir(config.delivery.file.output_dir)

    credentials = CredentialStore(config.delivery.credentials.dir)
    routing = RoutingTable(credentials)
    await _follow_routing(runtime, routing)
    session = http_session()
    runtime.on_shutdown(session.close, "HTTP session")
    channels = build_registry(config.delivery, credentials, session)
    lanes = _lanes(runtime)
    metrics = NotificationMetrics(runtime.registry, clock.now)
    metrics.follow_breakers(lanes.states)
    metrics.follow_held(lanes.held)

    def routes_changed(router: Router) -> None:
        entries = list(router.entries())
        channels.replace_routed(entries)
        keys = {entry.key for entry in entries}
        lanes.keep(keys)
        metrics.keep_channels(keys)

    routing.follow(routes_changed)
    reporter = Reporter(
        runtime.events(COMPONENT, NOTIFICATION_REQUEST),
        AuditTrail(await open_sink(runtime, SOURCE), clock.now),
        metrics,
    )
    deliverer = Deliverer(channels, clock, concurrent=config.delivery.max_concurrent_channels)
    runtime.add_kind(
        NOTIFICATION_REQUEST,
        lambda store: NotificationReconciler(
            store,
            StatusWriter(
                runtime.status_manager(store, phases=PHASES, identities=ATTEMPT_IDENTITY),
                clock.now,
            ),
            lambda nr: routing.router.resolve(nr),
            Sender(store, lanes, deliverer, reporter, runtime.fence),
            reporter,
            clock,
            acting_since=lambda: runtime.acting_since,
            random=random.random,
        ),
        priority=urgency_of,
    )


def _lanes(runtime: Runtime[NotificationConfig]) -> Lanes:
    """Return the lanes before the receivers; who is at the front of a line is queued."""
    delivery = runtime.config.delivery
    return Lanes(
        delivery.circuit_breaker.settings,
        delivery.max_calls_per_channel,
        runtime.clock,
        wake=lambda key: runtime.queue(NOTIFICATION_REQUEST).add(key),
    )


async def _follow_routing(runtime: Runtime[NotificationConfig], routing: RoutingTable) -> None:
    """Load the routing file and follow it. Without one at the default path, everything goes to the console."""
    path = find_routing_file()
    if path is None:
        logger.warning(
            "no routing file at %s: everything goes to the console; set %s", DEFAULT_ROUTING_PATH, ROUTING_PATH_ENV
        )
        return

    def load(content: bytes) -> None:
        routing.load(content, str(path))

    try:
        routing_file = await runtime.watch_file(path, load)
    except OSError as error:
        raise RoutingError([unreadable(path, error)]) from None

    def credentials_changed(_: bytes) -> None:
        if routing.credentials_changed():
            routing_file.accepted()

    if (folder := runtime.config.delivery.credentials.dir).is_dir():
        await runtime.watch_file(folder, credentials_changed)


def facts(config: NotificationConfig) -> list[Fact]:
    """Return what was looked at."""
    return [watches(NOTIFICATION_REQUEST), *routing_facts(config)]


OPERATOR = Operator(
    name="notification",
    version=__version__,
    config=NotificationConfig,
    default_config=DEFAULT_CONFIG_PATH,
    setup=setup,
    check=check_routing,
    facts=facts,
    description="Delivers NotificationRequests to Slack, PagerDuty, Teams, webhooks, email, console, log and file.",
)


def main() -> None:
    """Run the operator; the console script."""
    sys.exit(run_operator(OPERATOR))

"""Makes a service's `rules.yaml`: the shared groups, then its own, as they are written in the sources."""

from __future__ import annotations

from .services import SHARED, Service
from .text import filled_in

_HEAD = """\
# Alerts of the <Kind> controller, made by `make charts` from monitoring/. Those of every controller are explained
# in docs/operations/runbook.md, its own in docs/operations/runbook-<name>.md.
#
# They hold however the process is scraped. What tells the service apart is its own metrics and its kind's name, never
# a `service` label, which service discovery may set for its own use; figures of the whole process are joined by job and
# instance. A process that does not lead keeps the gauges of the time when it did: `unless ... == 0` leaves them out. A
# counter that is born with its first event has no increase then: `unless ... offset` finds it.
# `increase` stretches what it counted to the whole of its time, so that two become 2.1: where a number of events
# matters it is rounded.
#
# severity: critical = <idle> or recorded now; warning = it will be, or it costs too much.
"""

_GROUPS = "groups:\n"


def rules(service: Service) -> str:
    """Return the whole file."""
    sources = (SHARED / "rules.yaml", service.sources / "rules.yaml")
    whole = _HEAD + _GROUPS + "".join(path.read_text().removeprefix(_GROUPS) for path in sources)
    return filled_in(whole, service.words, "rules.yaml")

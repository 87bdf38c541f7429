"""The services that are measured, one module each, and their loads. A further service is one more of both."""

from __future__ import annotations

from benchmarks.loads import Load
from benchmarks.service import Service
from benchmarks.services.notification import NOTIFICATION
from benchmarks.services.signalprocessing import SIGNAL_PROCESSING

SERVICES = (NOTIFICATION, SIGNAL_PROCESSING)
"""In the order of the report."""

LOADS: tuple[Load, ...] = tuple(load for service in SERVICES for load in service.loads)
"""All loads, in the order of the report; their names differ."""


def service_of(load: str) -> Service:
    """The service whose load has this name; KeyError if none has."""
    for service in SERVICES:
        if any(each.name == load for each in service.loads):
            return service
    raise KeyError(load)

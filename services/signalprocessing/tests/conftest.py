"""Fixtures: a control plane with the CRD, operators, and the controller in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenarios.fixtures import crds, desk, make_desk, make_site, site, site_options
from scenarios.signalprocessing import SignalProcessingSite
from scenarios.signalprocessing_in_process import SignalProcessingDesk

__all__ = ["MakeDesk", "MakeSite", "crds", "desk", "make_desk", "make_site", "site", "site_options"]

MakeDesk = Callable[..., SignalProcessingDesk]
MakeSite = Callable[..., SignalProcessingSite]


@pytest.fixture(scope="session")
def site_type() -> type[SignalProcessingSite]:
    """Where operators run."""
    return SignalProcessingSite


@pytest.fixture(scope="session")
def desk_type() -> type[SignalProcessingDesk]:
    """Where controllers run in this process."""
    return SignalProcessingDesk

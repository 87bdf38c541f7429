"""Fixtures: a widget shop on the real API server, and a way to it through the fault proxy."""

from collections.abc import AsyncIterator

import pytest
from widget_shop import EXAMPLES, Faults, Shop, client_for

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy


@pytest.fixture(scope="session")
def widgets(control_plane: ControlPlane) -> None:
    control_plane.apply(EXAMPLES / "widgets.yaml")


@pytest.fixture
async def shop(
    control_plane: ControlPlane, widgets: None, namespace: str, ledger: RequestLedger
) -> AsyncIterator[Shop]:
    async with client_for(control_plane, control_plane.url, control_plane.ca_file) as client:
        yield Shop(control_plane, namespace, ledger, client)


@pytest.fixture
async def faults(control_plane: ControlPlane, fault_proxy: FaultProxy) -> AsyncIterator[Faults]:
    async with client_for(control_plane, fault_proxy.url, fault_proxy.ca_file) as client:
        yield Faults(fault_proxy, client)

"""Fixtures: a control plane with the CRD, operators, and the controller in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from scenarios.signalprocessing import SignalProcessingSite, install_crds
from scenarios.signalprocessing_in_process import Desk

from kubernaut_testing.controlplane import ControlPlane

MakeDesk = Callable[..., Desk]
MakeSite = Callable[..., SignalProcessingSite]


@pytest.fixture(scope="session")
def site_type() -> type[SignalProcessingSite]:
    """What the scenes of faults are played at."""
    return SignalProcessingSite


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> None:
    install_crds(control_plane)


@pytest.fixture
def make_site(control_plane: ControlPlane, crds: None, namespace: str, tmp_path: Path) -> Iterator[MakeSite]:
    """Makes a site and starts its operator; `start=False` leaves that to the test."""
    home = {"control_plane": control_plane, "namespace": namespace, "folder": tmp_path}
    with ExitStack() as stack:

        def make(*, start: bool = True, **options: Any) -> SignalProcessingSite:
            site = SignalProcessingSite(**(home | options))
            stack.callback(site.deployment.process.close)
            if start:
                site.deployment.process.start()
            return site

        yield make


@pytest.fixture
async def make_desk(control_plane: ControlPlane, crds: None, namespace: str) -> AsyncIterator[MakeDesk]:
    """Makes a running controller in this process, with a clock that is turned by hand."""
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> Desk:
            made = Desk(control_plane, namespace, **options)
            stack.push_async_callback(made.client.close)
            task = asyncio.create_task(made.controller.run())

            async def end() -> None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            stack.push_async_callback(end)
            return made

        yield make


@pytest.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    """A running controller with the default options."""
    return make_desk()

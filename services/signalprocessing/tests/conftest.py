"""Fixtures: a control plane with the CRD, and the controller in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from scenarios.signalprocessing import install_crds
from scenarios.signalprocessing_in_process import Desk

from kubernaut_testing.controlplane import ControlPlane

MakeDesk = Callable[..., Desk]


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> None:
    install_crds(control_plane)


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

"""Fixtures: a control plane with the CRDs; Notification operators, with a receiver in Slack's place; a controller."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from scenarios.in_process import Shop
from scenarios.notification import NotificationSite, install_crds

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.receivers import WebhookReceiver

MakeSite = Callable[..., NotificationSite]


@pytest.fixture(scope="session")
def site_type() -> type[NotificationSite]:
    """What the scenes of faults are played at."""
    return NotificationSite


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> None:
    install_crds(control_plane)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture
def datastorage() -> Iterator[DataStorage]:
    """Data Storage over TLS, as the live chart's config file names it."""
    with DataStorage(https=True) as running:
        yield running


@pytest.fixture
def make_site(
    control_plane: ControlPlane, crds: None, namespace: str, tmp_path: Path, receiver: WebhookReceiver
) -> Iterator[MakeSite]:
    """Makes a site and starts its operator; `start=False` leaves that to the test."""
    home = {"control_plane": control_plane, "namespace": namespace, "folder": tmp_path}
    with ExitStack() as stack:

        def make(*, start: bool = True, **options: Any) -> NotificationSite:
            site = NotificationSite(**(home | {"receiver": receiver} | options))
            stack.callback(site.deployment.process.close)
            if start:
                site.deployment.process.start()
            return site

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> NotificationSite:
    """A running operator with the default options."""
    return make_site()


@pytest.fixture
async def shop(control_plane: ControlPlane, crds: None, namespace: str) -> AsyncIterator[Shop]:
    """A running controller in this process, with a clock that is turned by hand."""
    async with AsyncExitStack() as stack:
        made = Shop(control_plane, namespace)
        stack.push_async_callback(made.client.close)
        task = asyncio.create_task(made.controller.run())
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

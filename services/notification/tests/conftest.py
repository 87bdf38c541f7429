"""Fixtures: a control plane with the CRDs; Notification operators, with a receiver in Slack's place; a controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from scenarios.fixtures import crds, desk, make_desk, make_site, site
from scenarios.notification import NotificationSite
from scenarios.notification_in_process import NotificationDesk

from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.receivers import WebhookReceiver

__all__ = ["MakeSite", "crds", "desk", "make_desk", "make_site", "site"]

MakeSite = Callable[..., NotificationSite]


@pytest.fixture(scope="session")
def site_type() -> type[NotificationSite]:
    """Where operators run."""
    return NotificationSite


@pytest.fixture(scope="session")
def desk_type() -> type[NotificationDesk]:
    """Where controllers run in this process."""
    return NotificationDesk


@pytest.fixture
def site_options(receiver: WebhookReceiver) -> Mapping[str, Any]:
    """Each site has the receiver."""
    return {"receiver": receiver}


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture
def datastorage() -> Iterator[DataStorage]:
    """Data Storage over TLS, as the Go controllers' chart names it."""
    with DataStorage(https=True) as running:
        yield running

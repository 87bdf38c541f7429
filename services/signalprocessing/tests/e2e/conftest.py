"""Fixtures of the end-to-end files: sites that run for a file, and shops that their signals are about."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from scenarios.shop import Shop
from scenarios.signalprocessing import SignalProcessingSite

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.proxy import FaultProxy

OpenSite = Callable[..., SignalProcessingSite]
OpenShop = Callable[..., Shop]


@pytest.fixture(scope="module")
def proxy(control_plane: ControlPlane) -> Iterator[FaultProxy]:
    """A fault proxy for the sites of a file."""
    with FaultProxy(control_plane) as running:
        yield running


@pytest.fixture(scope="module")
def open_site(control_plane: ControlPlane, crds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSite]:
    """Opens sites with Data Storage and a running operator until the end of the file; `policy` is added to its own."""
    with ExitStack() as stack:

        def make(*, policy: str = "", **options: Any) -> SignalProcessingSite:
            namespace = control_plane.create_namespace(f"signalprocessing-{uuid.uuid4().hex[:6]}")
            datastorage = stack.enter_context(DataStorage())
            folder = tmp_path_factory.mktemp("signalprocessing")
            site = SignalProcessingSite(control_plane, namespace, folder, datastorage=datastorage, **options)
            site.write_policy((site.policies / "policy.rego").read_text() + policy)
            stack.enter_context(site.deployment)
            return site

        yield make


@pytest.fixture(scope="module")
def open_shop(control_plane: ControlPlane) -> Iterator[OpenShop]:
    """Opens shops until the end of the file, each in a namespace of its own whose name begins with `name`."""
    with ExitStack() as stack:

        def make(name: str, labels: Mapping[str, str], **options: Any) -> Shop:
            namespace = control_plane.create_namespace(f"{name}-{uuid.uuid4().hex[:6]}")
            shop = Shop(control_plane, namespace, labels, **options)
            stack.callback(shop.close)
            return shop

        yield make

"""Fixtures that the tests of every service have.

A service's conftest imports those that it needs, and says in `site_type` and `desk_type` which service it is; what its
sites need beside a control plane, a namespace and a folder is its `site_options`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing.controlplane import ControlPlane
from scenarios.faults.site import FaultSite
from scenarios.in_process import Desk

__all__ = ["crds", "desk", "make_desk", "make_site", "site", "site_options"]


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane, site_type: type[FaultSite]) -> None:
    """The CRD is there."""
    site_type.install_crds(control_plane)


@pytest.fixture
def site_options() -> Mapping[str, Any]:
    """What a site needs that others do not; none."""
    return {}


@pytest.fixture
def make_site(
    control_plane: ControlPlane,
    crds: None,
    namespace: str,
    tmp_path: Path,
    site_type: type[FaultSite],
    site_options: Mapping[str, Any],
) -> Iterator[Callable[..., FaultSite]]:
    """Makes a site and starts its operator; `start=False` leaves that to the test."""
    home = {"control_plane": control_plane, "namespace": namespace, "folder": tmp_path, **site_options}
    with ExitStack() as stack:

        def make(*, start: bool = True, **options: Any) -> FaultSite:
            made = site_type(**(home | options))
            stack.callback(made.deployment.process.close)
            if start:
                made.deployment.process.start()
            return made

        yield make


@pytest.fixture
def site(make_site: Callable[..., FaultSite]) -> FaultSite:
    """A running operator with the default options."""
    return make_site()


@pytest.fixture
async def make_desk(
    control_plane: ControlPlane, crds: None, namespace: str, desk_type: type[Desk]
) -> AsyncIterator[Callable[..., Desk]]:
    """Makes a desk whose controller runs."""
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> Desk:
            made = desk_type(control_plane, namespace, **options)
            made.start()
            stack.push_async_callback(made.stop)
            return made

        yield make


@pytest.fixture
async def desk(make_desk: Callable[..., Desk]) -> Desk:
    """A running controller with the default options."""
    return make_desk()

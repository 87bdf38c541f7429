"""The pytest plugin: a control plane, namespaces, the ledger and the fault proxy as fixtures.

Loaded into every pytest run of an environment that has this package, therefore it imports nothing heavy
until a fixture is used.

Override ``control_plane_options`` (session scope) in a conftest.py to choose what runs::

    @pytest.fixture(scope="session")
    def control_plane_options():
        return {"controller_manager": True, "record_bodies": ["example.com"]}
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kubernaut_testing.controlplane import ControlPlane
    from kubernaut_testing.ledger import RequestLedger
    from kubernaut_testing.proxy import FaultProxy


@pytest.fixture(scope="session")
def control_plane_options() -> dict[str, Any]:
    """Keyword arguments of the session's ``ControlPlane``; override it to change them."""
    return {}


@pytest.fixture(scope="session")
def control_plane(control_plane_options: dict[str, Any]) -> Iterator[ControlPlane]:
    """One real control plane for the whole session; tests separate themselves by namespaces."""
    from kubernaut_testing.controlplane import ControlPlane

    with ControlPlane(**control_plane_options) as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A fresh namespace, named after the test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))[:50].strip("-")
    return control_plane.create_namespace(f"{name or 'test'}-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def ledger(control_plane: ControlPlane) -> RequestLedger:
    """The requests that the API server gets from the start of this test on."""
    return control_plane.ledger().fresh()


@pytest.fixture
def fault_proxy(control_plane: ControlPlane) -> Iterator[FaultProxy]:
    """A fault proxy before the session's control plane, without rules yet."""
    from kubernaut_testing.proxy import FaultProxy

    with FaultProxy(control_plane) as proxy:
        yield proxy

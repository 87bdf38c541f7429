"""The pytest plugin: a control plane, namespaces, the ledger and the fault proxy as fixtures.

Loaded into every pytest run of an environment that has this package, therefore it imports nothing heavy
until a fixture is used.

Override ``control_plane_options`` (session scope) in the conftest.py of the whole run to choose what runs. There is
one control plane for a run, so folders that are run together must agree; a test whose options are not those of
the running one fails and says so::

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
    from kubernaut_testing.cluster import Cluster
    from kubernaut_testing.controlplane import ControlPlane
    from kubernaut_testing.ledger import RequestLedger
    from kubernaut_testing.proxy import FaultProxy


_OPTIONS = pytest.StashKey[dict[str, Any]]()


@pytest.fixture(scope="session")
def control_plane_options() -> dict[str, Any]:
    """Keyword arguments of the session's ``ControlPlane``; override it to change them."""
    return {"record_bodies": ["kubernaut.ai", "example.com"]}


@pytest.fixture(scope="session")
def control_plane(control_plane_options: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """One real control plane for the whole session; tests separate themselves by namespaces."""
    from kubernaut_testing.controlplane import ControlPlane

    with ControlPlane(**control_plane_options) as running:
        request.config.stash[_OPTIONS] = control_plane_options
        yield running


@pytest.fixture
def _agreed_options(control_plane: ControlPlane, control_plane_options: dict[str, Any], request: Any) -> None:
    # pytest makes a session fixture once, with the options of whichever test came first.
    running = request.config.stash[_OPTIONS]
    if running != control_plane_options:
        pytest.fail(
            f"cannot use the session's control plane: it runs with {running}, this folder's control_plane_options "
            f"ask for {control_plane_options}; run the folder by itself, or start a ControlPlane of its own"
        )


@pytest.fixture
def namespace(control_plane: ControlPlane, _agreed_options: None, request: pytest.FixtureRequest) -> str:
    """A fresh namespace, named after the test."""
    return control_plane.create_namespace(_fresh_name(request))


@pytest.fixture
def ledger(control_plane: ControlPlane, _agreed_options: None) -> RequestLedger:
    """The requests that the API server gets from the start of this test on."""
    return control_plane.ledger().fresh()


@pytest.fixture
def fault_proxy(control_plane: ControlPlane, _agreed_options: None) -> Iterator[FaultProxy]:
    """A fault proxy before the session's control plane, without rules yet."""
    from kubernaut_testing.proxy import FaultProxy

    with FaultProxy(control_plane) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def cluster_options() -> dict[str, Any]:
    """Keyword arguments of the session's ``Cluster``; override it to change them, as ``control_plane_options``."""
    return {}


@pytest.fixture(scope="session")
def cluster(cluster_options: dict[str, Any]) -> Iterator[Cluster]:
    """A control plane of its own with controller manager and local kubelet: pods run, Deployments roll out.

    One for the whole session. Skips where the system cannot isolate containers.
    """
    from kubernaut_testing.cluster import Cluster
    from kubernaut_testing.kubelet import isolation_available

    isolated, reason = isolation_available()
    if not isolated:
        pytest.skip(reason)
    with Cluster(**cluster_options) as running:
        yield running


@pytest.fixture
def cluster_namespace(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A fresh namespace in the cluster, named after the test."""
    return cluster.control_plane.create_namespace(_fresh_name(request))


def _fresh_name(request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))[:50].strip("-")
    return f"{name or 'test'}-{uuid.uuid4().hex[:6]}"

"""Engines for tests, in worker processes: rego-cpp in a process with other native libraries may end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from against_opa import Engine, engines


@pytest.fixture(scope="session")
def engine_of() -> Iterator[Callable[[str], Engine]]:
    """The engine of a name, one process a session."""
    with engines() as get:
        yield get

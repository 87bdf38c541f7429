"""Faults that every operator here must survive: scenes, each written once and played at each service's site.

The functions `test_...` of these rooms are pytest tests of whoever imports them: a service's `test_faults_*.py` names
the scenes that it plays, and its fixtures `site_type` and `make_site` say where. What a scene needs to know of a
service is in `FaultSite`: how an object is made that lives undisturbed, or waits, or takes long, and what the outside
saw of it. What only one service can meet (a receiver that is slow, a policy that hangs) stays in that service's tests.

| room | scenes |
|---|---|
| `site` | what a scene asks of a service |
| `verdicts` | what must hold of objects at the end of a scene |
| `writes` | status writes that are lost, refused or raced |
| `watch` | watches that break, lie or fall silent |
| `slow` | an API server that is slow, or does not know us for a while |
| `leader` | a leader that is cut off, frozen, or told to end |
| `restart` | the API server, etcd and the CRD go and come back |
| `crash` | a standby that ends what a leader was killed at |
| `files` | files that are bad at a reload |
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["FULL", "full"]

FULL = (pytest.mark.faults_full, pytest.mark.timeout(600))
"""Marks of what `make test-faults-full` alone runs."""


def full(scene: Callable[..., None]) -> Callable[..., None]:
    """`scene`, for a service that plays it in `make test-faults-full` alone; for the others it stays as it is."""

    @functools.wraps(scene)
    def played(**fixtures: Any) -> None:
        scene(**fixtures)

    for mark in FULL:
        played = mark(played)
    return played

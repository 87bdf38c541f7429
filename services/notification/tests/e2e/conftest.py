"""Fixtures of the numbered end-to-end files: one operator for a file and a mode of writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from scenarios.journeys import Journey, Tour, tour

from kubernaut_testing.controlplane import ControlPlane

OpenTour = Callable[..., Tour]


@pytest.fixture(scope="module")
def open_tour(
    control_plane: ControlPlane, crds: None, tmp_path_factory: pytest.TempPathFactory, update_mode: str
) -> Iterator[OpenTour]:
    """Opens a tour in the present mode; it runs until the file has been run in that mode."""
    with ExitStack() as stack:

        def make(journeys: Mapping[str, Journey], **options: Any) -> Tour:
            folder = tmp_path_factory.mktemp(f"tour-{update_mode}")
            return stack.enter_context(tour(control_plane, folder, journeys, mode=update_mode, **options))

        yield make

"""Which engines a machine can have: there is no wheel of regorus for Linux on anything but x86-64.

Tests of any package that name an engine ask for it by `engine_here`, or by `against_opa.engines`, which does.
"""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

import pytest


def engine_here(name: str) -> str:
    """Return the engine's name; skips the test on a machine that there is no wheel of it for, unless it was built.

    Where there is a wheel nothing is skipped: without the engine the test fails.
    """
    wheel = name != "regorus" or platform.machine() in ("x86_64", "AMD64") or sys.platform == "darwin"
    if not wheel and find_spec(name) is None:
        pytest.skip(f"there is no wheel of the engine {name} for {sys.platform} on {platform.machine()}")
    return name

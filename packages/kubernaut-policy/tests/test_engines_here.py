from __future__ import annotations

import platform
import sys

import pytest
from engines_here import engine_here

from kubernaut_policy.engines import ENGINES


@pytest.mark.parametrize(("machine", "system"), [("x86_64", "linux"), ("AMD64", "win32"), ("arm64", "darwin")])
@pytest.mark.parametrize("name", sorted(ENGINES))
def test_where_there_is_a_wheel_nothing_is_skipped_though_it_is_missing(
    name: str, machine: str, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setitem(sys.modules, name, None)
    assert engine_here(name) == name


def test_where_there_is_no_wheel_only_what_is_missing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(sys.modules, "regorus", None)
    assert engine_here("regopy") == "regopy"
    with pytest.raises(pytest.skip.Exception, match="no wheel of the engine regorus for linux on aarch64"):
        engine_here("regorus")
    monkeypatch.delitem(sys.modules, "regorus")
    monkeypatch.setattr("engines_here.find_spec", lambda name: name)
    assert engine_here("regorus") == "regorus"

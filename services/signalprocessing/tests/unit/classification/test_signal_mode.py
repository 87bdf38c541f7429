"""The table of proactive signals: what it says, and what a file of it must not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubernaut_signalprocessing.classification.signal_mode import (
    SignalMode,
    SignalModeError,
    SignalModes,
    check_mappings,
    find_mappings,
    parse_mappings,
)

TABLE = b"proactive_signal_mappings:\n  PredictedOOMKill: OOMKilled\n  PredictedDiskPressure: DiskPressure\n"


@pytest.fixture
def modes() -> SignalModes:
    made = SignalModes()
    made.load(TABLE, "mappings.yaml")
    return made


@pytest.mark.behaviour(88)
def test_a_predicted_signal_is_proactive_and_goes_on_under_the_base_name(modes: SignalModes) -> None:
    assert modes.of("PredictedOOMKill") == SignalMode("proactive", "OOMKilled", "PredictedOOMKill")


@pytest.mark.behaviour(89, 90)
@pytest.mark.parametrize("name", ["OOMKilled", "CustomAlertType", "predictedoomkill", "PredictedOOMKill ", ""])
def test_every_other_signal_is_reactive_under_its_own_name(modes: SignalModes, name: str) -> None:
    assert modes.of(name) == SignalMode("reactive", name, "")


@pytest.mark.behaviour(91)
def test_a_second_file_replaces_the_table(modes: SignalModes) -> None:
    modes.load(b"proactive_signal_mappings: {Later: Now}", "mappings.yaml")
    assert modes.of("Later").mode == "proactive"
    assert modes.of("PredictedOOMKill").mode == "reactive"


@pytest.mark.behaviour(91)
@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"{}", b"proactive_signal_mappings:\n"])
def test_an_empty_file_makes_everything_reactive(modes: SignalModes, content: bytes) -> None:
    modes.load(content, "mappings.yaml")
    assert len(modes) == 0


@pytest.mark.behaviour(91)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff", "it is not UTF-8"),
        (b"a: [", "line 1"),
        (b"PredictedOOMKill: OOMKilled\n", "PredictedOOMKill: unknown key; what is mapped stands under proactive_"),
        (b"proactive_signal_mapping: {a: b}\n", "proactive_signal_mapping: unknown key"),
        (b"- a\n", "it must be a map with the key proactive_signal_mappings"),
        (b"proactive_signal_mappings: [a]", "must map the names"),
        (b"proactive_signal_mappings: {a: 1}", "proactive_signal_mappings.a must map a signal's name to another"),
        (b"proactive_signal_mappings: {404: b}", "proactive_signal_mappings.404 must map"),
        (b"proactive_signal_mappings: {a: ''}", "proactive_signal_mappings.a must map"),
        (b"proactive_signal_mappings:\n  a: b\n  a: c\n", "key 'a' is given twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_the_table_stays(
    modes: SignalModes, content: bytes, why: str
) -> None:
    with pytest.raises(SignalModeError) as refused:
        modes.load(content, "mappings.yaml")
    assert str(refused.value).startswith("cannot use the signal mode mappings mappings.yaml: ")
    assert why in str(refused.value)
    assert len(modes) == 2


def test_a_key_beside_the_table_is_ignored_by_the_controller_and_told_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "mappings.yaml"
    path.write_bytes(TABLE + b"version: 1\n")
    assert len(parse_mappings(path.read_bytes(), str(path))) == 2
    (problem,) = check_mappings({"SIGNAL_MODE_CONFIG_PATH": str(path)})
    assert problem.startswith(f"cannot use the signal mode mappings {path}: version: unknown key; ")


@pytest.mark.behaviour(91)
def test_the_environment_names_the_file(tmp_path: Path) -> None:
    assert find_mappings({}) == (Path("/etc/signalprocessing/proactive-signal-mappings.yaml"), False)
    assert find_mappings({"SIGNAL_MODE_CONFIG_PATH": "/x"}) == (Path("/x"), True)
    path = tmp_path / "mappings.yaml"
    environ = {"SIGNAL_MODE_CONFIG_PATH": str(path)}
    (problem,) = check_mappings(environ)
    assert problem == (
        f"cannot read the signal mode mappings {path}: No such file or directory; correct SIGNAL_MODE_CONFIG_PATH"
    )
    path.write_bytes(b"a: [")
    assert "line 1" in check_mappings(environ)[0]
    path.write_bytes(TABLE)
    assert check_mappings(environ) == []
    assert check_mappings({}) == []
    assert len(parse_mappings(TABLE, "x")) == 2

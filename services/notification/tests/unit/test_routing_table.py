from __future__ import annotations

from pathlib import Path

import pytest

from kubernaut_notification.delivery.credentials import CredentialStore
from kubernaut_notification.routing.config import RoutingError
from kubernaut_notification.routing.router import Router
from kubernaut_notification.routing.table import RoutingTable

ONE = "route: {receiver: a}\nreceivers: [{name: a, logConfigs: [{}]}]"
TWO = "route: {receiver: b}\nreceivers: [{name: b, fileConfigs: [{}]}]"
SECRETIVE = """
route: {receiver: a}
receivers: [{name: a, slackConfigs: [{credentialRef: one}, {credentialRef: two}, {credentialRef: three}]}]
"""


def root(table: RoutingTable) -> str:
    return table.router.config.route.receiver


@pytest.mark.behaviour(68)
def test_it_starts_with_the_console() -> None:
    assert root(RoutingTable()) == "console-fallback"


@pytest.mark.behaviour(67)
def test_a_new_file_replaces_the_table_and_is_told() -> None:
    seen: list[Router] = []
    table = RoutingTable()
    table.follow(seen.append)
    assert seen == [table.router], "the one in force is told at once"
    assert table.load(ONE, "f")
    assert table.load(TWO, "f")
    assert root(table) == "b"
    assert seen[-1] is table.router


@pytest.mark.behaviour(68)
@pytest.mark.parametrize("empty", ["", "  \n\n"])
def test_a_file_without_content_changes_nothing(empty: str) -> None:
    table = RoutingTable()
    table.load(ONE, "f")
    assert table.load(empty, "f") is False
    assert root(table) == "a"


@pytest.mark.behaviour(66)
@pytest.mark.parametrize("bad", ["route: [", "route: {receiver: zz}\nreceivers: [{name: a}]", "nonsense"])
def test_a_wrong_file_keeps_the_last_good_table(bad: str) -> None:
    table = RoutingTable()
    table.load(ONE, "f")
    with pytest.raises(RoutingError):
        table.load(bad, "f")
    assert root(table) == "a"


@pytest.mark.behaviour(73)
def test_all_missing_credentials_are_named(tmp_path: Path) -> None:
    (tmp_path / "two").write_text("x")
    table = RoutingTable(CredentialStore(tmp_path))
    with pytest.raises(RoutingError, match=r"credentialRef one, three; add a file"):
        table.load(SECRETIVE, "f")
    (tmp_path / "one").write_text("x")
    (tmp_path / "three").write_text("x")
    assert table.load(SECRETIVE, "f")


def test_the_bytes_of_a_file_are_utf_8_with_or_without_a_mark() -> None:
    table = RoutingTable()
    assert table.load(b"\xef\xbb\xbf" + ONE.encode(), "f")
    assert root(table) == "a"
    with pytest.raises(RoutingError, match="cannot load routing file f: it is not UTF-8"):
        table.load(b"\xff\xfe", "f")


def test_a_file_refused_for_a_credential_is_loaded_when_the_credential_comes(tmp_path: Path) -> None:
    table = RoutingTable(CredentialStore(tmp_path))
    table.load(TWO, "f")
    with pytest.raises(RoutingError, match="no credential"):
        table.load(SECRETIVE, "f")
    for name in ("one", "two"):
        (tmp_path / name).write_text("x")
        table.credentials_changed()
        assert root(table) == "b", "one is still missing"
    (tmp_path / "three").write_text("x")
    table.credentials_changed()
    assert root(table) == "a"


def test_a_refused_file_is_forgotten_when_another_one_came(tmp_path: Path) -> None:
    table = RoutingTable(CredentialStore(tmp_path))
    with pytest.raises(RoutingError):
        table.load(SECRETIVE, "f")
    table.load(TWO, "f")
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text("x")
    table.credentials_changed()
    assert root(table) == "b"

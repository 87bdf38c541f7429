from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubernaut_notification.delivery.credentials import CredentialStore


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    (tmp_path / "slack").write_text("  https://hooks/x \n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "folder").mkdir()
    return CredentialStore(tmp_path)


@pytest.mark.behaviour(73)
def test_a_value_is_the_trimmed_content(store: CredentialStore) -> None:
    assert store.get("slack") == "https://hooks/x"


@pytest.mark.behaviour(73)
def test_hidden_files_and_folders_are_no_credentials(store: CredentialStore) -> None:
    assert store.names() == ["slack"]
    assert store.get(".hidden") == ""
    assert store.get("folder") == ""


@pytest.mark.parametrize("name", ["", "../etc/passwd", "a/b", "a\x00b"])
def test_a_name_cannot_lead_out_of_the_folder(store: CredentialStore, name: str) -> None:
    assert store.get(name) == ""


@pytest.mark.behaviour(73)
def test_a_rotated_credential_is_seen_at_the_next_use(store: CredentialStore) -> None:
    """The Go controller needs a restart for that."""
    assert store.get("slack") == "https://hooks/x"
    (store.folder / "slack").write_text("https://hooks/rotated")
    assert store.get("slack") == "https://hooks/rotated"


def test_a_mounted_secret_that_is_swapped_is_seen(tmp_path: Path) -> None:
    """The layout of the kubelet: files are links into `..data`, which is a link that is replaced."""
    for version in ("one", "two"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "slack").write_text(version)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "slack").symlink_to("..data/slack")
    store = CredentialStore(tmp_path)
    assert (store.get("slack"), store.names()) == ("one", ["slack"])
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert store.get("slack") == "two"


@pytest.mark.behaviour(73)
def test_a_deleted_credential_is_gone(store: CredentialStore) -> None:
    store.get("slack")
    (store.folder / "slack").unlink()
    assert store.get("slack") == ""
    assert store.names() == []


@pytest.mark.parametrize("content", [b"\xff\xfe broken"])
def test_an_unreadable_file_keeps_its_last_value(
    store: CredentialStore, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.get("slack")
    (store.folder / "slack").write_bytes(content)
    assert store.get("slack") == "https://hooks/x"
    assert "hooks/x" not in caplog.text
    assert "cannot read credential file" in caplog.text


@pytest.mark.behaviour(73)
def test_missing_references_are_all_listed_once(store: CredentialStore) -> None:
    assert store.missing(["b", "slack", "a", "b"]) == ["b", "a"]


def test_a_folder_that_does_not_exist_is_empty_until_it_appears(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "later")
    assert (store.names(), store.get("slack")) == ([], "")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "slack").write_text("x")
    assert store.get("slack") == "x"


def test_an_unchanged_file_is_not_read_again(store: CredentialStore) -> None:
    store.get("slack")
    path = store.folder / "slack"
    stat = path.stat()
    with path.open("r+") as file:
        file.write("  https://hooks/y")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.get("slack") == "https://hooks/x"


def test_values_are_in_no_representation(store: CredentialStore) -> None:
    store.get("slack")
    assert "hooks" not in repr(store) + repr(store._known)

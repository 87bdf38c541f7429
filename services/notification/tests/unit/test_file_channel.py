from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery import file as file_module
from kubernaut_notification.delivery.channel import PermanentError, RetryableError
from kubernaut_notification.delivery.file import FileChannel, check_output_dir, write_whole
from kubernaut_notification.delivery.message import Message
from kubernaut_testing.waiting import eventually_async

MakeNR = Callable[..., NotificationRequest]


async def deliver(channel: FileChannel, nr: NotificationRequest, due: datetime) -> None:
    await channel.deliver(Message(nr, "file", 1, due))


async def test_the_name_carries_the_announced_time(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    due = now + timedelta(microseconds=1234)
    await deliver(FileChannel(tmp_path, timezone=UTC), make_nr(), due)
    assert [path.name for path in tmp_path.iterdir()] == ["notification-nr-a-20260301-100000.001234.json"]


@pytest.mark.behaviour(52)
async def test_folders_are_made_and_the_content_is_the_whole_object(
    tmp_path: Path, make_nr: MakeNR, now: datetime
) -> None:
    nr = make_nr(severity="critical", extensions={"team": "sre"}, status={"phase": "Sending"})
    channel = FileChannel(tmp_path / "a" / "b")
    await deliver(channel, nr, now)
    text = channel.path_for("nr-a", now).read_text()
    content = json.loads(text)
    assert content == nr.to_wire()
    assert (content["spec"]["severity"], content["spec"]["extensions"]) == ("critical", {"team": "sre"})
    assert '\n  "kind"' in text


async def test_yaml_is_written_when_asked_for(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    channel = FileChannel(tmp_path, "yaml")
    await deliver(channel, make_nr(body="a: b\n- c 🚨"), now)
    assert yaml.safe_load(channel.path_for("nr-a", now).read_text())["spec"]["body"] == "a: b\n- c 🚨"


@pytest.mark.behaviour(52)
async def test_concurrent_deliveries_write_a_file_each(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    channel = FileChannel(tmp_path)
    await asyncio.gather(*(deliver(channel, make_nr(metadata={"name": f"nr-{n}"}), now) for n in range(3)))
    assert len(list(tmp_path.glob("*.json"))) == 3


async def test_a_disk_that_hangs_fails_attempts_in_time_and_holds_up_no_other_thread(
    tmp_path: Path, make_nr: MakeNR, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = threading.Event()
    sync = os.fsync

    def hang(descriptor: int) -> None:
        assert mended.wait(30)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", hang)
    channel = FileChannel(tmp_path, patience=0.5)
    names = [f"nr-{number}" for number in range(50)]
    attempts = [asyncio.create_task(deliver(channel, make_nr(metadata={"name": name}), now)) for name in names]
    try:
        await eventually_async(lambda: len(list(tmp_path.iterdir())) >= 4)
        assert await asyncio.wait_for(asyncio.to_thread(int), 20) == 0, "host names are resolved in such a thread"
        errors = await asyncio.gather(*attempts, return_exceptions=True)
    finally:
        mended.set()
    assert all(isinstance(error, RetryableError) and error.outcome_unknown for error in errors)
    assert str(errors[0]).startswith("failed to write temporary file: the disk does not answer within 0.5 s")
    await deliver(FileChannel(tmp_path), make_nr(metadata={"name": "later"}), now)
    assert channel.path_for("later", now).exists()
    # What had begun is finished.
    await eventually_async(lambda: not list(tmp_path.glob("*.tmp")) and len(list(tmp_path.glob("*.json"))) >= 5)


async def test_a_replay_overwrites_its_own_file(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    channel = FileChannel(tmp_path)
    await deliver(channel, make_nr(), now)
    await deliver(channel, make_nr(), now)
    assert len(list(tmp_path.iterdir())) == 1


async def test_the_longest_object_name_still_gives_a_file(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    channel = FileChannel(tmp_path)
    await deliver(channel, make_nr(metadata={"name": "n" * 252 + "a"}), now)
    await deliver(channel, make_nr(metadata={"name": "n" * 252 + "b"}), now)
    assert len(list(tmp_path.glob("notification-nnn*-20260301-*.json"))) == 2


async def test_an_unknown_format_is_permanent(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    with pytest.raises(PermanentError, match="must be json or yaml"):
        await deliver(FileChannel(tmp_path, "xml"), make_nr(), now)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.behaviour(53)
async def test_a_place_that_is_no_folder_is_retryable(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RetryableError, match="failed to create output directory"):
        await deliver(FileChannel(tmp_path / "taken" / "x"), make_nr(), now)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
@pytest.mark.behaviour(53)
async def test_a_read_only_folder_is_retryable(tmp_path: Path, make_nr: MakeNR, now: datetime) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RetryableError, match="failed to write temporary file"):
        await deliver(FileChannel(tmp_path), make_nr(), now)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that refuses new files even to root")
@pytest.mark.behaviour(53)
async def test_a_folder_that_takes_no_files_is_retryable(make_nr: MakeNR, now: datetime) -> None:
    with pytest.raises(RetryableError, match="failed to write temporary file"):
        await deliver(FileChannel(Path("/proc/self")), make_nr(), now)


def test_a_full_disk_is_retryable_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_module.os, "fsync", full)
    with pytest.raises(RetryableError, match="failed to write temporary file: No space left on device"):
        write_whole(tmp_path / "a.json", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rename_is_retryable_and_removes_the_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(RetryableError, match="failed to rename temporary file"):
        write_whole(tmp_path / "a.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_flushed_does_not_fail_a_file_that_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may allow writing and not reading; a retry would write a second file."""
    real = os.open

    def unreadable(path: Path, flags: int, mode: int = 0o777) -> int:
        if path == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode)

    monkeypatch.setattr(file_module.os, "open", unreadable)
    write_whole(tmp_path / "a.json", "text")
    assert (tmp_path / "a.json").read_text() == "text"


def test_a_leftover_of_a_crash_does_not_disturb(tmp_path: Path) -> None:
    (tmp_path / "a.json.tmp").write_text("half of a mess")
    write_whole(tmp_path / "a.json", "whole")
    assert (tmp_path / "a.json").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a.json", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_the_start_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output_dir(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_start_check_names_folder_and_key(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match=r"cannot write to .*taken/x \(delivery\.file\.outputDir\)"):
        check_output_dir(tmp_path / "taken" / "x")

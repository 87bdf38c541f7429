"""Hot reload: every way in which a mounted file changes is seen, and bad content never replaces good."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from kubernaut_runtime.reload import FileWatcher, ReloadMetrics
from kubernaut_testing.files import replace_file


class Reader:
    """A callback that keeps what it got, refuses content with `bad` in it, and lets a test wait for a condition."""

    def __init__(self) -> None:
        self.good: list[bytes] = []
        self.failures: list[str] = []

    async def __call__(self, content: bytes) -> None:
        if b"bad" in content:
            raise ValueError("line 1\nline 2")
        self.good.append(content)

    def failed(self, path: Path, reason: str) -> None:
        self.failures.append(reason)

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not done():  # noqa: ASYNC110 (the condition lives in counters)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[tuple[Reader, FileWatcher, CollectorRegistry]]:
    registry, reader = CollectorRegistry(), Reader()
    watcher = FileWatcher(path, reader, metrics=ReloadMetrics(registry), on_failure=reader.failed)
    await watcher.load()
    task = asyncio.create_task(watcher.run())
    try:
        async with asyncio.timeout(30):
            await watcher.watching.wait()
        yield reader, watcher, registry
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def result(registry: CollectorRegistry, path: Path, outcome: str) -> float:
    return registry.get_sample_value("config_reload_total", {"file": str(path), "result": outcome}) or 0


def in_force(registry: CollectorRegistry, path: Path) -> float | None:
    return registry.get_sample_value("config_last_reload_successful", {"file": str(path)})


def mount(tmp_path: Path, content: bytes) -> Path:
    """A ConfigMap volume as kubelet lays it out: file -> ..data/file, ..data -> a dated folder."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "f").write_bytes(content)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "f").symlink_to("..data/f")
    return tmp_path / "f"


def test_reloads_are_counted_from_0_on_so_that_the_first_one_is_seen_as_an_increase(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    FileWatcher(tmp_path, Reader(), metrics=ReloadMetrics(registry))
    for outcome in ("ok", "failed"):
        labels = {"file": str(tmp_path), "result": outcome}
        assert registry.get_sample_value("config_reload_total", labels) == 0


async def test_a_configmap_swap_by_its_data_link_is_seen(tmp_path: Path) -> None:
    path = mount(tmp_path, b"one")
    async with watched(path) as (reader, _, registry):
        (tmp_path / "..2").mkdir()
        (tmp_path / "..2" / "f").write_bytes(b"two")
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await reader.until(lambda: result(registry, path, "ok") == 1)
        assert reader.good == [b"one", b"two"]


async def test_a_file_renamed_into_place_and_an_edit_in_place_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    async with watched(path) as (reader, _, registry):
        (tmp_path / "new").write_bytes(b"two")
        (tmp_path / "new").rename(path)
        await reader.until(lambda: result(registry, path, "ok") == 1)
        path.write_bytes(b"three")
        await reader.until(lambda: reader.good[-1] == b"three")
        assert [content for content in reader.good if content] == [b"one", b"two", b"three"]


async def test_bad_content_keeps_the_last_good_and_is_counted_and_told(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    async with watched(path) as (reader, _, registry):
        replace_file(path, b"bad")
        await reader.until(lambda: bool(reader.failures))
        assert reader.failures == ["line 1; line 2"]
        assert result(registry, path, "failed") == 1
        assert reader.good == [b"one"]
        replace_file(path, b"two")
        await reader.until(lambda: result(registry, path, "ok") == 1)
        assert reader.good == [b"one", b"two"]


async def test_a_touch_without_new_content_calls_nobody(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    async with watched(path) as (reader, watcher, registry):
        os.utime(path)
        replace_file(path, b"one")
        await watcher.check()
        assert reader.good == [b"one"]
        assert result(registry, path, "ok") == 0


async def test_a_change_between_first_load_and_watch_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"two")
    reader = Reader()
    stale = hashlib.sha256(b"one").hexdigest()
    watcher = FileWatcher(path, reader, metrics=ReloadMetrics(CollectorRegistry()), digest=stale)
    task = asyncio.create_task(watcher.run())
    try:
        await reader.until(lambda: reader.good == [b"two"])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_removed_file_is_a_failure_told_once_and_its_return_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    async with watched(path) as (reader, watcher, _):
        path.unlink()
        await reader.until(lambda: len(reader.failures) == 1)
        await watcher.check()
        assert len(reader.failures) == 1
        replace_file(path, b"two")
        await reader.until(lambda: reader.good == [b"one", b"two"])


async def test_it_shows_whether_the_content_on_disk_is_in_force(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    async with watched(path) as (reader, watcher, registry):
        assert in_force(registry, path) == 1
        replace_file(path, b"bad")
        await reader.until(lambda: in_force(registry, path) == 0)
        path.unlink()
        await reader.until(lambda: len(reader.failures) == 2)
        replace_file(path, b"bad")
        await watcher.check()
        assert in_force(registry, path) == 0, "it is back, and still refused"
        replace_file(path, b"one")
        await reader.until(lambda: in_force(registry, path) == 1)


async def test_a_file_that_is_not_required_does_not_end_the_start_and_is_told(tmp_path: Path) -> None:
    path, registry, reader = tmp_path / "settings", CollectorRegistry(), Reader()
    watcher = FileWatcher(path, reader, metrics=ReloadMetrics(registry), on_failure=reader.failed)
    await watcher.load(required=False)
    task = asyncio.create_task(watcher.run())
    async with asyncio.timeout(30):
        await watcher.watching.wait()
    assert (len(reader.failures), in_force(registry, path)) == (1, 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    path.write_bytes(b"good")
    await watcher.check()
    assert (reader.good, result(registry, path, "ok"), in_force(registry, path)) == ([b"good"], 1, 1)


async def test_a_file_that_is_not_required_and_is_bad_is_told_until_it_is_good(tmp_path: Path) -> None:
    path, registry, reader = tmp_path / "settings", CollectorRegistry(), Reader()
    path.write_bytes(b"bad")
    watcher = FileWatcher(path, reader, metrics=ReloadMetrics(registry), on_failure=reader.failed)
    await watcher.load(required=False)
    await watcher.check()
    assert (reader.failures, in_force(registry, path)) == (["line 1; line 2"], 0)
    path.write_bytes(b"good")
    await watcher.check()
    assert (reader.good, in_force(registry, path)) == ([b"good"], 1)


async def test_the_first_load_of_a_file_that_is_not_required_is_no_reload(tmp_path: Path) -> None:
    path, registry, reader = tmp_path / "settings", CollectorRegistry(), Reader()
    path.write_bytes(b"good")
    await FileWatcher(path, reader, metrics=ReloadMetrics(registry)).load(required=False)
    assert (reader.good, result(registry, path, "ok"), in_force(registry, path)) == ([b"good"], 0, 1)


async def test_a_file_that_is_back_unchanged_is_in_force_again(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    async with watched(path) as (reader, watcher, registry):
        path.unlink()
        await reader.until(lambda: in_force(registry, path) == 0)
        replace_file(path, b"one")
        await watcher.check()
        assert in_force(registry, path) == 1
        assert reader.good == [b"one"]


class BusyError(Exception):
    """What says nothing about the content."""

    retryable = True


async def test_content_that_could_not_be_taken_for_now_is_tried_again_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "policy.rego"
    path.write_bytes(b"v1")
    errors: list[Exception] = []
    taken: list[bytes] = []

    def take(content: bytes) -> None:
        taken.append(content)
        if errors:
            raise errors.pop(0)

    watcher = FileWatcher(path, take, metrics=ReloadMetrics(CollectorRegistry()))
    await watcher.load()
    errors = [BusyError("no time"), BusyError("no time")]
    path.write_bytes(b"v2")
    for _ in range(4):
        await watcher.check()
    assert taken == [b"v1", b"v2", b"v2", b"v2"]
    errors = [ValueError("bad")]
    path.write_bytes(b"v3")
    for _ in range(3):
        await watcher.check()
    assert taken[4:] == [b"v3"], "bad content stays bad"


async def test_refused_content_that_is_accepted_later_is_shown_as_in_force(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    async with watched(path) as (reader, watcher, registry):
        replace_file(path, b"bad")
        await reader.until(lambda: in_force(registry, path) == 0)
        watcher.accepted()
        assert in_force(registry, path) == 1


async def test_a_folder_is_news_when_any_file_in_it_changes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    async with watched(tmp_path) as (reader, _, registry):
        replace_file(tmp_path / "b", b"2")
        await reader.until(lambda: result(registry, tmp_path, "ok") == 1)
        (tmp_path / "a").unlink()
        await reader.until(lambda: result(registry, tmp_path, "ok") == 2)


WITHOUT_INOTIFY = """
import asyncio, logging, os, resource, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from kubernaut_runtime import reload

reload._LOOK_EVERY_MS = 200
told = []

class Told(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("cannot watch a folder"):
            told.append(record.error)

logging.getLogger("kubernaut_runtime").addHandler(Told())

async def main():
    path, seen = Path(sys.argv[1]), asyncio.Queue()
    watcher = reload.FileWatcher(path, seen.put, metrics=reload.ReloadMetrics(CollectorRegistry()))
    await watcher.load()
    await seen.get()
    async for _ in reload.awatch(path.parent, rust_timeout=10, yield_on_timeout=True):
        break  # so that no module is left to be opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    running = asyncio.create_task(watcher.run())
    while not (told or running.done()):
        await asyncio.sleep(0.01)
    for descriptor in held:
        os.close(descriptor)
    path.write_bytes(b"two")
    change = asyncio.create_task(seen.get())
    await asyncio.wait({change, running}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    print(running.exception() if running.done() else (told, change.result()))

asyncio.run(main())
"""


def test_a_node_without_free_inotify_instances_ends_nothing_and_changes_are_found_by_looking(tmp_path: Path) -> None:
    """Their number is a limit per user and node, which other pods can use up."""
    (tmp_path / "f").write_bytes(b"one")
    command = [sys.executable, "-c", WITHOUT_INOTIFY, str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Too many open files" in done.stdout
    assert done.stdout.endswith("b'two')\n")

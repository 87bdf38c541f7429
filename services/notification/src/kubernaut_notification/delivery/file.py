"""The file channel: the whole notification as one file, there completely or not at all.

The name carries the time at which the attempt was *announced*, not the time at which it runs. An attempt that is made
again after a crash thus overwrites its own file: the receiver of this channel never sees a notification twice. Content
goes to a temporary name, is flushed to the disk and renamed into place; the folder is flushed too.

A disk that hangs (NFS whose server is away) holds up nobody else: writes have threads of their own, and after
`PATIENCE` seconds the attempt fails and is tried again. The write itself is never abandoned half-way; when the disk
comes back, both files may appear.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import yaml

from kubernaut_notification.delivery.channel import PermanentError, RetryableError
from kubernaut_notification.delivery.message import Message
from kubernaut_runtime.text import encodable

REASON = "file"

PATIENCE = 60.0
"""Seconds that an attempt waits for the disk."""

_THREADS = 4
_MAX_FILE_NAME = 255
_OVERHEAD = "notification-" + ".tmp"


def _to_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _to_yaml(content: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {"json": _to_json, "yaml": _to_yaml}


class FileChannel:
    """Writes `notification-{name}-{YYYYMMDD-HHMMSS.ffffff}.{format}` into `output_dir`.

    The time in the name is local (`timezone` None) as in the Go controller. Disk errors are retryable, an unknown
    format and content that cannot be written as text are permanent.
    """

    def __init__(
        self,
        output_dir: Path,
        file_format: str = "json",
        *,
        timezone: tzinfo | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._dir = output_dir
        self._patience = patience
        self._threads = ThreadPoolExecutor(_THREADS, "file-channel")  # not asyncio's, which resolves host names
        self._format = file_format
        self._timezone = timezone

    def path_for(self, name: str, due: datetime) -> Path:
        """Return the path of the file for the notification `name` and the attempt announced for `due`."""
        stamp = due.astimezone(self._timezone).strftime("%Y%m%d-%H%M%S.%f")
        rest = f"-{stamp}.{self._format}"
        return self._dir / f"notification-{_shortened(name, _MAX_FILE_NAME - len(_OVERHEAD) - len(rest))}{rest}"

    async def deliver(self, message: Message) -> None:
        """Write the file; a thread does it, because a disk may be slow."""
        writer = FORMATS.get(self._format)
        if writer is None:
            raise PermanentError(
                f"cannot write format {self._format!r}: delivery.file.format must be json or yaml", reason=REASON
            )
        try:
            text = encodable(writer(message.nr.to_wire()))
        except (TypeError, ValueError, yaml.YAMLError) as error:
            raise PermanentError(f"failed to marshal notification: {type(error).__name__}", reason=REASON) from None
        path = self.path_for(message.nr.metadata.name, message.due)
        # Shielded by its own thread: a cancelled pass leaves a whole file or none.
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.get_running_loop().run_in_executor(self._threads, write_whole, path, text)
        except TimeoutError:
            raise RetryableError(
                f"failed to write temporary file: the disk does not answer within {self._patience:g} s; "
                "the file may appear all the same",
                reason=REASON,
                outcome_unknown=True,
            ) from None


def _shortened(name: str, limit: int) -> str:
    """An object's name may be longer than a file's may; a long one is cut and told apart by a digest of the whole."""
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: limit - len(digest) - 1]}-{digest}"


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader, or a crash, finds all of it or nothing.

    Raises `RetryableError` with the step that failed; no temporary file is left behind.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise _retryable("create output directory", error) from None
    temporary = path.with_name(path.name + ".tmp")
    try:
        _write_and_sync(temporary, text)
    except OSError as error:
        _remove(temporary)
        raise _retryable("write temporary file", error) from None
    try:
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        raise _retryable("rename temporary file", error) from None


def check_output_dir(output_dir: Path) -> None:
    """Create `output_dir` and prove at start that it can be written.

    Raises OSError with the folder, the key and what to do.
    """
    probe = output_dir / ".write-test"
    try:
        output_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to {output_dir} (delivery.file.outputDir): {error.strerror}; "
            "mount a writable folder there or remove the key"
        ) from None


def _write_and_sync(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Not every folder can be opened or flushed; the file is in place, and a retry would write a second one.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _retryable(step: str, error: OSError) -> RetryableError:
    return RetryableError(f"failed to {step}: {error.strerror or type(error).__name__}", reason=REASON)

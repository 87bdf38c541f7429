"""Files that are bad at a reload: the last good ones stay in force, and it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from kubernaut_testing.files import replace_file
from kubernaut_testing.waiting import eventually
from scenarios.faults.site import FaultSite

__all__ = ["BadFile", "assert_bad_files_are_told", "reloads"]

BadFile = tuple[Path, str | bytes, str]
"""A file, its bad content, and what is said about it."""


def reloads(site: FaultSite, path: Path, result: str) -> float:
    """How often the operator has read the file again with this result: ok or failed."""
    return site.deployment.metric("config_reload_total", file=str(path), result=result)


def assert_bad_files_are_told(site: FaultSite, bad: Sequence[BadFile], works: Callable[[int], object]) -> None:
    """Put each in place in turn: it is counted, and told by an Event on the own Pod, and `works` still holds."""

    def told() -> list[str]:
        events = site.events("operator", "ConfigReloadFailed")
        assert all(event["involvedObject"]["kind"] == "Pod" for event in events)
        return [event["message"] for event in events]

    failures: Counter[Path] = Counter()
    for number, (path, content, reason) in enumerate(bad):
        failures[path] += 1
        replace_file(path, content)
        eventually(lambda path=path: reloads(site, path, "failed") == failures[path])  # type: ignore[misc]
        eventually(
            lambda path=path, reason=reason: any(str(path) in text and reason in text for text in told()),  # type: ignore[misc]
            message=f"{path.name}: {reason}",
        )
        works(number)

"""Many writers at once, and the standard's own examples, counted."""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from widget_shop import Shop, attempt, set_status

from kubernaut_status import ConflictRetry, Outcome

FOREIGN_WRITER = """
import json, os, ssl, sys, time, urllib.request
context = ssl.create_default_context(cafile=os.environ["API_CA_FILE"])
n = 0
print("ready", flush=True)
while True:
    n += 1
    patch = json.dumps({"status": {"reason": f"r{n}"}}).encode()
    request = urllib.request.Request(
        os.environ["API_SERVER"] + sys.argv[1], method="PATCH", data=patch,
        headers={"Content-Type": "application/merge-patch+json", "User-Agent": "foreign",
                 "Authorization": "Bearer " + os.environ["API_TOKEN"]})
    urllib.request.urlopen(request, context=context).read()
    time.sleep(0.02)
"""


async def test_1000_increments_beside_a_foreign_process_lose_nothing(shop: Shop) -> None:
    """20 tasks, 50 increments each, on one object, while another process writes up to 50 times a second."""
    widget = shop.create("w", coats=0)
    manager = shop.manager(retry=ConflictRetry(steps=100))

    def one_more_coat(fresh: dict[str, Any]) -> None:
        fresh["status"]["coats"] += 1

    async def paint() -> None:
        for _ in range(50):
            await manager.atomic_status_update(widget, one_more_coat)

    foreign = subprocess.Popen(
        [sys.executable, "-c", FOREIGN_WRITER, shop.status_path("w")],
        env={**os.environ, **shop.environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert foreign.stdout is not None
        assert await asyncio.to_thread(foreign.stdout.readline) == "ready\n"
        await asyncio.gather(*(paint() for _ in range(20)))
        assert foreign.poll() is None, "the foreign writer must have been there all the time"
    finally:
        foreign.send_signal(signal.SIGKILL)
        foreign.wait()
    status = shop.get("w")["status"]
    assert status["coats"] == 1000
    assert status["reason"].startswith("r")
    requests = shop.requests("w")
    assert requests.count("patch 200") == 1000
    assert requests.count("get 200") == requests.count("patch 409")


@pytest.mark.parametrize(
    ("attempts", "final", "sequential", "saved"),
    [
        pytest.param(3, "Done", 4, 75, id="3 channels"),
        pytest.param(6, "Done", 7, 86, id="partial with retries"),
        pytest.param(9, "Failed", 10, 90, id="all failed"),
    ],
)
async def test_the_standard_s_examples_per_commit_and_per_lifecycle(
    shop: Shop, attempts: int, final: str, sequential: int, saved: int
) -> None:
    """DD-PERF-001: one commit instead of one per attempt and one for the phase."""
    counted = {}
    for mode in ("sequential", "atomic"):
        manager = shop.manager(mode=mode)
        widget = shop.create(mode)
        for phase in ("Pending", "Painting"):
            widget = (await manager.atomic_status_update(widget, set_status(phase=phase))).object
        before = len(shop.requests(mode))
        changes = [attempt("slack", number) for number in range(1, attempts + 1)]
        commit = await manager.atomic_status_update(widget, *changes, set_status(phase=final))
        assert commit.outcome is Outcome.WRITTEN
        everything = shop.requests(mode)
        assert set(everything) == {"patch 200"}
        counted[mode] = (len(everything) - before, len(everything))
    assert counted["sequential"] == (sequential, sequential + 2)
    assert counted["atomic"] == (1, 3)
    assert round(100 * (1 - counted["atomic"][0] / counted["sequential"][0])) == saved
    assert shop.get("atomic")["status"] == shop.get("sequential")["status"]

"""Pattern 1, callback: hand the manager a function that changes the status, get one conditional write.

Run: `python pattern_1_callback.py NAMESPACE WIDGET` with a widget that has no phase yet.
"""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

from cluster import PHASES, WIDGETS, connect

from kubernaut_status import ObjectKey, StatusManager, fetch, new_condition, set_condition


async def main(namespace: str, name: str) -> None:
    async with connect() as client:
        manager = StatusManager(client, WIDGETS, phases=PHASES, field_manager="widget-painter")
        widget: dict[str, Any] = await fetch(client, WIDGETS, ObjectKey(namespace, name))
        now = datetime.now(UTC)  # before the mutation: it may run again

        def start(widget: dict[str, Any]) -> None:
            status = widget.setdefault("status", {})
            status["phase"] = "Pending"
            accepted = new_condition(
                "Accepted", "True", "Valid", observed_generation=widget["metadata"]["generation"], now=now
            )
            set_condition(status.setdefault("conditions", []), accepted)

        commit = await manager.atomic_status_update(widget, start)
        print(f"{name}: {commit.outcome} with {commit.changes} changes in {commit.writes} write")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

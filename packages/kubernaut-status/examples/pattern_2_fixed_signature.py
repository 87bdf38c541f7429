"""Pattern 2, fixed signature: a domain method takes phase, reason, message, attempts and conditions.

The conditions were built in memory before the write. They are passed in and put onto whatever object the
write finally lands on, so that they survive a refetch, and conditions of other writers survive them.

Run: `python pattern_2_fixed_signature.py NAMESPACE WIDGET` with a widget in phase Painting.
"""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cluster import PHASES, WIDGETS, connect

from kubernaut_status import (
    Commit,
    Condition,
    ObjectKey,
    StatusClient,
    StatusManager,
    fetch,
    merge_conditions,
    new_condition,
)

Widget = dict[str, Any]


class WidgetStatus:
    """The one writer of a widget's status."""

    def __init__(self, client: StatusClient, **options: Any) -> None:
        self._manager = StatusManager(
            client, WIDGETS, phases=PHASES, identities={"attempts": ("channel", "attempt")}, **options
        )

    async def atomic_status_update(
        self,
        widget: Widget,
        phase: str,
        reason: str,
        message: str,
        attempts: Sequence[dict[str, Any]],
        conditions: Sequence[Condition],
    ) -> Commit[Widget]:
        """Everything that a pass found out, in one write; in sequential mode one write per attempt, then the rest."""
        base = (widget.get("status") or {}).get("conditions") or []

        def record(attempt: dict[str, Any]) -> Any:
            def append(fresh: Widget) -> None:
                status = fresh.setdefault("status", {})
                known = status.setdefault("attempts", [])
                if not any((a["channel"], a["attempt"]) == (attempt["channel"], attempt["attempt"]) for a in known):
                    known.append(attempt)
                status["totalAttempts"] = len(known)

            return append

        def finish(fresh: Widget) -> None:
            status = fresh.setdefault("status", {})
            status.update(phase=phase, reason=reason, message=message)
            status["conditions"] = merge_conditions(base, conditions, status.get("conditions") or [], owned={"Ready"})

        return await self._manager.atomic_status_update(widget, *map(record, attempts), finish)


async def main(namespace: str, name: str) -> None:
    async with connect() as client:
        widget = await fetch(client, WIDGETS, ObjectKey(namespace, name))
        generation = widget["metadata"]["generation"]
        ready = new_condition("Ready", "True", "Painted", observed_generation=generation, now=datetime.now(UTC))
        attempts = [{"channel": channel, "attempt": 1, "status": "success"} for channel in ("brush", "roller", "spray")]
        commit = await WidgetStatus(client).atomic_status_update(
            widget, "Done", "AllPainted", "3 coats", attempts, [ready]
        )
        print(f"{name}: {commit.outcome} with {commit.changes} changes in {commit.writes} write")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

"""Pattern 3, direct retry loop: no manager; read, build in memory, write once, again on conflict.

Run: `python pattern_3_direct_retry.py NAMESPACE WIDGET`: adds one coat to the widget.
"""

import asyncio
import sys
from typing import Any

from cluster import WIDGETS, connect

from kubernaut_status import DEFAULT_RETRY, Object, ObjectKey, fetch, retry_on_conflict, write_status


async def main(namespace: str, name: str) -> None:
    async with connect() as client:

        async def attempt() -> Object:
            widget: dict[str, Any] = await fetch(client, WIDGETS, ObjectKey(namespace, name))
            status = dict(widget.get("status") or {})
            status["coats"] = status.get("coats", 0) + 1
            return await write_status(client, WIDGETS, widget, status)

        stored = await retry_on_conflict(DEFAULT_RETRY, attempt, what=f"widget {name}")
        print(f"{name}: {stored['status']['coats']} coats")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

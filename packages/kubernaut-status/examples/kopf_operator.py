"""A whole operator on kopf: one status write per phase, no reads, no annotations, never woken by itself.

Run: `kopf run --standalone --namespace NAMESPACE kopf_operator.py`
"""

import asyncio
from typing import Any

import kopf
from cluster import PHASES, WIDGETS, connect

from kubernaut_status import StatusError, StatusManager

NEXT = {"": "Pending", "Pending": "Painting"}


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    settings.posting.enabled = False
    memo.client = connect()
    memo.manager = StatusManager(memo.client, WIDGETS, phases=PHASES, field_manager="widget-painter")


@kopf.on.cleanup()
async def cleanup(memo: kopf.Memo, **_: Any) -> None:
    await memo.client.close()


@kopf.on.event("paint.example.com", "v1", "widgets")
async def widget_changed(type: str | None, body: kopf.Body, memo: kopf.Memo, logger: Any, **_: Any) -> None:  # noqa: A002
    widget = dict(body)
    done = type == "DELETED" or memo.manager.is_echo(widget)
    if type == "DELETED":
        memo.manager.forget(widget)
    while not done:
        try:
            await advance(memo.manager, widget)
            done = True
        except StatusError as error:  # kopf calls no event handler a second time
            logger.warning("cannot write the status, again in 5 s: %s", error)
            await asyncio.sleep(5)


async def advance(manager: StatusManager, widget: dict[str, Any]) -> None:
    while phase := NEXT.get((widget.get("status") or {}).get("phase", "")):

        def enter(fresh: dict[str, Any], phase: str = phase) -> None:
            fresh.setdefault("status", {})["phase"] = phase

        commit = await manager.atomic_status_update(widget, enter)
        if not commit.ok:  # gone, or ended by somebody else
            return
        widget = commit.object

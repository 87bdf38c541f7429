"""A whole operator on kopf: two status writes per widget, no reads, no annotations, never woken by itself.

Run: `kopf run --standalone --namespace NAMESPACE kopf_operator.py`
"""

from typing import Any

import kopf
from cluster import PHASES, WIDGETS, connect

from kubernaut_status import StatusManager

manager: StatusManager


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    global manager
    settings.posting.enabled = False
    memo.client = connect()
    manager = StatusManager(memo.client, WIDGETS, phases=PHASES, field_manager="widget-painter")


@kopf.on.cleanup()
async def cleanup(memo: kopf.Memo, **_: Any) -> None:
    await memo.client.close()


@kopf.on.event("example.com", "v1", "widgets")
async def widget_changed(type: str, body: kopf.Body, **_: Any) -> None:  # noqa: A002
    widget = dict(body)
    if type == "DELETED" or manager.is_echo(widget):
        return
    for phase in ("Pending", "Painting"):
        if (widget.get("status") or {}).get("phase", "") == ("" if phase == "Pending" else "Pending"):
            commit = await manager.atomic_status_update(widget, lambda fresh, phase=phase: set_phase(fresh, phase))
            widget = dict(commit.raw)


def set_phase(widget: dict[str, Any], phase: str) -> None:
    widget.setdefault("status", {})["phase"] = phase

"""Fixtures: events of a made-up service, and a sink that talks to a stand-in over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime.audit import Accounts, DataStorageClient, DataStorageSink, Event, EventSource, SendTimes
from kubernaut_runtime.audit.jsonlines import LineTarget
from kubernaut_runtime.backoff import Backoff
from kubernaut_runtime.clock import Clock, SystemClock
from kubernaut_runtime.connection import TokenFile
from kubernaut_runtime.sections import DataStorageBuffer
from kubernaut_testing.datastorage import DataStorage

SOURCE = EventSource(
    "sample", "signalprocessing", "sample-controller", {"signalprocessing.tested": ("phase", "signal")}
)

MakeEvent = Callable[..., Event]


@pytest.fixture
def make_event() -> MakeEvent:
    """Return a function that makes an event; keywords are payload members, `correlation_id` and `at`."""

    def make(correlation_id: str = "rr-1", at: datetime | None = None, **data: Any) -> Event:
        return SOURCE.event(
            "signalprocessing.tested",
            "tested",
            "success",
            at=at or datetime.now(UTC),
            correlation_id=correlation_id,
            resource_type="Sample",
            resource_id="one",
            namespace="default",
            data={"phase": "Testing", "signal": "none", **data},
        )

    return make


@pytest.fixture
def storage() -> Iterator[DataStorage]:
    with DataStorage() as running:
        yield running


class Site:
    """A sink with its parts, towards one Data Storage; `samples` reads its metrics."""

    def __init__(
        self,
        client: DataStorageClient,
        buffer: DataStorageBuffer,
        clock: Clock,
        retry: Backoff,
        spare: LineTarget | None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.accounts = Accounts("sample", self.registry)
        self.client = client
        self.sink = DataStorageSink(
            client,
            buffer,
            self.accounts,
            payloads=SOURCE.payloads,
            spare=spare,
            clock=clock,
            times=SendTimes(retry, lambda: 0.0),
        )
        self.task = asyncio.create_task(self.sink.run())

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"service": "sample", **labels}) or 0.0

    def results(self) -> dict[str, float]:
        """Events by result, without those that have none."""
        found = {
            sample.labels["result"]: sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "audit_events_total"
        }
        return {result: value for result, value in found.items() if value}


MakeSink = Callable[..., Awaitable[Site]]


@pytest.fixture
async def make_sink(storage: DataStorage, tmp_path: Path) -> AsyncIterator[MakeSink]:
    """Makes a running sink. Keywords are those of `datastorage.buffer`, of the client, `clock`, `retry`, `spare`."""
    made: list[Site] = []

    async def make(
        *,
        url: str = "",
        clock: Clock | None = None,
        retry: Backoff = Backoff(0.01, 0.05),  # noqa: B008
        spare: LineTarget | None = None,
        token: Path | None = None,
        client: dict[str, Any] | None = None,
        **buffer: Any,
    ) -> Site:
        base = url or storage.url
        sender = DataStorageClient(
            base,
            base + "/readyz",
            user_agent="kubernaut-sample/1",
            token=TokenFile(token) if token else None,
            **(client or {}),
        )
        settings = DataStorageBuffer(**{"flush_interval": 0.01, **buffer})
        made.append(Site(sender, settings, clock or SystemClock(), retry, spare))
        await asyncio.sleep(0)
        return made[-1]

    yield make
    for site in made:
        site.task.cancel()
        await asyncio.gather(site.task, return_exceptions=True)
        await site.client.close()

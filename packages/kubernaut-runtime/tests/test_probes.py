"""Probes: answered by their own thread, so that a blocked main loop is told instead of hidden."""

from __future__ import annotations

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kubernaut_runtime.addresses import BindAddress
from kubernaut_runtime.metrics import new_registry
from kubernaut_runtime.probes import Checks, LoopMonitor, ProbeServer
from kubernaut_testing.ports import free_port
from kubernaut_testing.waiting import eventually_async

LOCAL = BindAddress("127.0.0.1", 0)


def get(port: int | None, path: str, accept: str = "*/*") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
async def server() -> AsyncIterator[ProbeServer]:
    registry = new_registry("sample", "1.2.3")
    async with ProbeServer(registry=registry, health=LOCAL, metrics=LOCAL) as server:
        yield server


def test_the_creation_times_of_counters_and_histograms_are_left_out() -> None:
    """They would be a third of all series; of a registry of anybody else's nothing changes."""
    ours, other = new_registry("sample", "1.2.3"), CollectorRegistry()
    for registry in (ours, other):
        Counter("done", "Things.", registry=registry).inc()
        Histogram("took", "Times.", registry=registry).observe(1)
        Gauge("was_created", "One of that name.", registry=registry).set(1)
    names = lambda registry: {sample.name for family in registry.collect() for sample in family.samples}  # noqa: E731
    assert {name for name in names(ours) if name.endswith("_created")} == {"was_created"}
    assert {"done_total", "took_bucket", "took_sum", "took_count"} <= names(ours)
    assert {"done_created", "took_created"} <= names(other)


async def test_each_check_has_its_line_and_one_failure_makes_503(server: ProbeServer) -> None:
    server.readiness.add("synced", lambda: None)
    assert await asyncio.to_thread(get, server.health_port, "/readyz") == (
        200,
        "[+]synced ok\nreadyz check passed\n",
    )
    server.readiness.add("datastorage", lambda: "no answer\nfrom there")
    assert await asyncio.to_thread(get, server.health_port, "/readyz") == (
        503,
        "[+]synced ok\n[-]datastorage: no answer from there\nreadyz check failed\n",
    )
    assert (await asyncio.to_thread(get, server.health_port, "/healthz"))[0] == 200


def test_a_check_that_raises_is_a_check_that_fails() -> None:
    checks = Checks()
    checks.add("broken", lambda: str(1 // 0))
    assert checks.report("healthz") == (
        False,
        "[-]broken: the check itself failed: ZeroDivisionError\nhealthz check failed\n",
    )


def test_a_note_is_told_and_fails_nothing() -> None:
    checks = Checks()
    checks.add("one", lambda: None)
    checks.note("fleet", "is not supported")
    assert checks.report("readyz") == (True, "[+]one ok\n[ ]fleet: is not supported\nreadyz check passed\n")


async def test_metrics_are_served_on_their_own_port_only(server: ProbeServer) -> None:
    code, text = await asyncio.to_thread(get, server.metrics_port, "/metrics")
    assert code == 200
    assert 'kubernaut_build_info{service="sample",version="1.2.3"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert (await asyncio.to_thread(get, server.health_port, "/metrics"))[0] == 404
    open_text = await asyncio.to_thread(get, server.metrics_port, "/metrics", "application/openmetrics-text")
    assert open_text[1].endswith("# EOF\n")


async def test_a_blocked_main_loop_is_told_by_healthz_while_it_is_blocked(server: ProbeServer) -> None:
    monitor = LoopMonitor(limit=1.5, interval=0.02)  # a busy machine holds the loop up, too
    server.liveness.add("loop", monitor.check)
    monitor.start()
    assert (await asyncio.to_thread(get, server.health_port, "/healthz"))[0] == 200

    answers: list[tuple[int, str]] = []
    blocked = threading.Event()

    def ask() -> None:
        while not answers or answers[-1][0] == 200:
            answers.append(get(server.health_port, "/healthz"))
        blocked.set()

    asker = threading.Thread(target=ask)
    asker.start()
    told = blocked.wait(30)  # this blocks the main loop until /healthz says so
    asker.join()
    assert told
    assert "[-]loop: the main loop has been blocked for" in answers[-1][1]
    await eventually_async(lambda: asyncio.to_thread(lambda: get(server.health_port, "/healthz")[0] == 200))
    monitor.stop()
    assert monitor.lag() == 0.0


async def test_a_taken_port_is_an_error_with_the_address(server: ProbeServer) -> None:
    assert server.health_port is not None
    other = ProbeServer(registry=new_registry("x", "1"), health=BindAddress("127.0.0.1", server.health_port))
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.health_port}: "):
        await other.start()


async def test_stop_frees_the_port_and_ends_the_thread() -> None:
    port = free_port()
    server = ProbeServer(registry=new_registry("x", "1"), health=BindAddress("127.0.0.1", port))
    await server.start()
    await server.stop()
    await server.stop()
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(get, port, "/healthz")
    assert "probes" not in {thread.name for thread in threading.enumerate()}


async def test_equal_addresses_share_one_server() -> None:
    address = BindAddress("127.0.0.1", free_port())
    async with ProbeServer(registry=new_registry("x", "1"), health=address, metrics=address) as both:
        assert both.health_port == both.metrics_port
        assert (await asyncio.to_thread(get, both.metrics_port, "/metrics"))[0] == 200
        assert (await asyncio.to_thread(get, both.metrics_port, "/readyz"))[0] == 200


def test_the_lag_counts_from_the_missed_beat() -> None:
    now = [100.0]
    monitor = LoopMonitor(limit=5, interval=0.25, monotonic=lambda: now[0])
    loop = asyncio.new_event_loop()
    loop.call_soon(monitor.start)
    loop.call_soon(loop.stop)
    loop.run_forever()
    now[0] += 5.2
    assert monitor.check() is None
    now[0] += 0.1
    assert monitor.check() is not None
    loop.close()
